"""The code in the guides does what the guides say."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

GUIDES = Path(__file__).parents[1] / "docs" / "guides"

CHECK = """
import logging
from metasearch.algorithms import MAML
from metasearch.algorithms.base import MetaStep
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from tests.games import Blobs

logging.basicConfig(format="%(message)s")
data = Blobs(size=8)
episodes = data.episodes(data.tasks("train")[:3], shot=3, query=3, rng=Stream(0))
family = MODELS["attention_vae"](latent=4, net=Mlp(hidden=8))
learner = Learner.create(family, data.shape, Stream(0))
noise = noise_per_task(family, Stream(1), episodes.tasks)
found = [
    MAML(inner=InnerLoop(steps=2)).meta_gradient(MetaStep(engine, learner), episodes, noise)
    for engine in (Loop(), Batched())
]
assert all(torch.equal(found[0].values[k], found[1].values[k]) for k in found[0].values)
assert found[0].values["encoder.query"].abs().sum() > 0
"""


def test_a_network_of_ones_own_meta_trains_with_the_notice_that_the_guide_shows():
    page = (GUIDES / "your-own-network.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + CHECK],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (notice,) = re.findall(r"^attention_vae runs on the loop.*$", page, re.MULTILINE)
    assert done.stderr.splitlines().count(notice) == 1
