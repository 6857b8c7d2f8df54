"""Drawing from a bundle where nothing is installed but torch, NumPy, Pillow and safetensors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]

DRAW = """\
import json, sys

# torch brings these along itself.
OF_TORCH = {"torch", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx",
            "jinja2", "markupsafe", "filelock", "fsspec", "setuptools"}
MAY = {*sys.stdlib_module_names, *OF_TORCH, "numpy", "PIL", "safetensors", "metasearch", "__main__"}
missed = set()

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in MAY:
            missed.add(name.partition(".")[0])
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
bundle, images, out = sys.argv[1:]
for name in ("pydantic", "yaml", "typer", "rich", "ray", "optuna", "matplotlib", "scipy",
             "tensorboard"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} is not blocked")
missed.clear()

from PIL import Image
import metasearch

adapted = metasearch.load_bundle(bundle).adapt(images)
drawn = adapted.sample(16, seed=0)
pixels = (drawn[0, 0] * 255).byte().numpy()
Image.fromarray(pixels).save(out + "/one.png")
from metasearch.bundle.adapted import picture, save_images
picture(adapted, drawn).save(out + "/all.png")
save_images(drawn, __import__("pathlib").Path(out) / "each")
print(json.dumps(list(drawn.shape)))
"""


def test_loading_adapting_and_drawing_need_no_other_package(written, images, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DRAW, written, images, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [16, 1, 8, 8]
    assert len(list((tmp_path / "each").iterdir())) == 16
    with Image.open(tmp_path / "all.png") as sheet:
        assert sheet.width > 4 * 56
        assert len(np.unique(np.asarray(sheet))) > 2
