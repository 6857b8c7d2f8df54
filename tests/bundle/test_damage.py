"""A bundle from a stranger is read, and never run."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metasearch.bundle.base import checksum
from metasearch.bundle.load import load_bundle
from metasearch.errors import BundleError
from tests.bundle.conftest import rewrite

ROOT = Path(__file__).parents[2]


def reseal(bundle: Path) -> None:
    """Make the checksum right again, as somebody who means it would."""
    sums = {"model.safetensors": checksum(bundle / "model.safetensors")}
    rewrite(bundle / "adaptation.json", lambda plan: plan.update(sha256=sums))


@pytest.mark.parametrize("name", ["adaptation.json", "report.json", "model.safetensors"])
def test_a_missing_part_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}.*missing") as told:
        load_bundle(bundle)
    assert "\n" not in str(told.value)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere: not a bundle .*`metasearch export RUN`"):
        load_bundle(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="not a bundle"):
        load_bundle(tmp_path / "file")


def test_changed_weights_are_refused(bundle):
    path = bundle / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"model.safetensors: changed since it was exported"):
        load_bundle(bundle)


def test_changed_features_are_refused(bundle):
    (bundle / "features.safetensors").write_bytes(b"some")
    sums = {"features.safetensors": "0" * 64}
    rewrite(bundle / "adaptation.json", lambda plan: plan["sha256"].update(sums))
    with pytest.raises(BundleError, match=r"features.safetensors: changed since"):
        load_bundle(bundle)


def test_an_unknown_format_names_what_can_be_read(bundle):
    rewrite(bundle / "adaptation.json", lambda plan: plan.update(format=2))
    with pytest.raises(BundleError, match=r"bundle format 2; this version reads 1\. Load it with"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["parts"][0]["model"].update(name="vea"),
         r"parts\[0\]\.model: no model is called 'vea'; known: .*Did you mean 'vae'\?"),
        (lambda p: p["parts"][0]["model"].update(latnet=3),
         r"parts\[0\]\.model: no setting is called 'latnet'.*Did you mean 'latent'\?"),
        (lambda p: p["parts"][0]["model"].update(latent="4"),
         r"parts\[0\]\.model\.latent: expected an integer, got '4'"),
        (lambda p: p["parts"][0]["model"].update(latent=-4), r"parts\[0\]\.model: .*latent"),
        (lambda p: p["parts"][0]["inner"].update(steps=-1), r"parts\[0\]\.inner: .*steps"),
        (lambda p: p["parts"][0].update(weight=0.4), "weights that sum to 1"),
        (lambda p: p["parts"][0].update(code="import os"), "no setting is called 'code'"),
        (lambda p: p["parts"][0].pop("inner"), r"parts\[0\]: 'inner' is missing"),
        (lambda p: p.update(parts=[]), "weights that sum to 1"),
        (lambda p: p.update(parts={}), "adaptation.json.parts: expected"),
        (lambda p: p.update(shape=[8, 8]), "shape: expected 3 values, got 2"),
        (lambda p: p.update(shape=[1, 0, 8]), "channels, height and width"),
        (lambda p: p.update(border="dark"), "border: expected a number, got 'dark'"),
        (lambda p: p.update(sha256={}), "sha256 must name model.safetensors"),
        (lambda p: p.pop("border"), "'border' is missing"),
        # What fits the schema and not the weights:
        (lambda p: p["parts"][0]["model"].update(latent=5), "do not fit adaptation.json"),
        (lambda p: p["parts"][0]["model"].update(latent=1), "do not fit adaptation.json"),
        (lambda p: p["parts"][0].update(model={"name": "gan"}), "do not fit adaptation.json"),
        (lambda p: p["parts"][0]["inner"].update(rates="per_tensor"), "do not fit adaptation"),
        (lambda p: p.update(shape=[1, 9, 9]), "do not fit adaptation.json"),
    ],
)  # fmt: skip
def test_wrong_fields_are_told_with_their_place(bundle, change, message):
    rewrite(bundle / "adaptation.json", change)
    with pytest.raises(BundleError, match=message) as told:
        load_bundle(bundle)
    assert str(told.value).startswith(str(bundle))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\x00"])
@pytest.mark.parametrize("name", ["adaptation.json", "report.json"])
def test_what_is_no_json_mapping_is_refused(bundle, name, text):
    (bundle / name).write_text(text)
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle)


def test_weights_of_another_network_are_refused(bundle):
    weights = load_file(bundle / "model.safetensors")
    weights["0.encoder.strange"] = torch.zeros(1)
    save_file(weights, bundle / "model.safetensors")
    reseal(bundle)
    with pytest.raises(BundleError, match=r"do not fit .*strange"):
        load_bundle(bundle)


@pytest.mark.parametrize("content", [b"", b"{}", bytes(100), pickle.dumps({"a": 1})])
def test_what_are_no_safetensors_are_refused(bundle, content):
    (bundle / "model.safetensors").write_bytes(content)
    reseal(bundle)
    with pytest.raises(BundleError, match=r"model.safetensors: cannot be read"):
        load_bundle(bundle)


def test_a_checksum_cannot_lead_out_of_the_folder(bundle, tmp_path):
    (tmp_path / "secret").write_text("secret")
    sums = {"../secret": checksum(tmp_path / "secret")}
    rewrite(bundle / "adaptation.json", lambda plan: plan["sha256"].update(sums))
    with pytest.raises(BundleError, match="bundle/secret: missing"):
        load_bundle(bundle)


AUDITED = """\
import json, sys
from pathlib import Path
from metasearch.bundle.load import load_bundle
from metasearch.errors import MetasearchError
import metasearch.trial.rooms  # what says which plug-in a bundle lacks

good, images, *bad = sys.argv[1:]
load_bundle(good).adapt(images).sample(2)  # now everything lazy is loaded
RUNS = ("exec", "compile", "import", "marshal.", "pickle.", "os.system", "os.exec", "os.spawn",
        "subprocess.", "ctypes.", "code.")
OURS = {path.read_text() for path in Path("metasearch").rglob("*.py")}
seen = []

def hook(event, args):
    if not event.startswith(RUNS):
        return
    # Annotations of our own classes are strings that typing evaluates.
    source = args[0] if event == "compile" else b""
    text = source.decode().replace("'", '"') if isinstance(source, bytes) else str(source)
    if event == "exec" and args[0].co_filename == "<string>":  # was compiled before
        return
    if event == "compile" and any(text in ours for ours in OURS):
        return
    seen.append(f"{event} {args}")

sys.addaudithook(hook)
load_bundle(good).adapt(images).sample(2)
refused = 0
for folder in bad:
    try:
        load_bundle(folder)
    except MetasearchError:
        refused += 1
calm = list(seen)
import pickle; pickle.loads(sys.stdin.buffer.read())  # the hook does see it
print(json.dumps({"calm": calm, "refused": refused, "seen": bool(set(seen) - set(calm))}))
"""


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return eval, ("__import__('sys').exit('the pickle was run')",)


def test_nothing_is_executed_and_nothing_unpickled(written, tmp_path, images):
    """Watched by Python's own audit hook, over a sound bundle and over hostile ones."""

    def hostile(name: str) -> Path:
        return shutil.copytree(written, tmp_path / name)

    weights = hostile("weights")
    (weights / "model.safetensors").write_bytes(pickle.dumps(Evil()))
    reseal(weights)
    named, setting, text = (hostile(name) for name in ("named", "setting", "text"))
    model = {"name": "os:system"}
    rewrite(named / "adaptation.json", lambda plan: plan["parts"][0].update(model=model))
    bad = {"__class__": "subprocess.Popen", "name": "vae"}
    rewrite(setting / "adaptation.json", lambda plan: plan["parts"][0].update(model=bad))
    (text / "adaptation.json").write_text("!!python/object/apply:os.system ['true']")
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, written, images, weights, named, setting, text],
        input=pickle.dumps({Path}),
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"calm": [], "refused": 4, "seen": True}
