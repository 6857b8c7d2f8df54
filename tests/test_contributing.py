"""The example in CONTRIBUTING.md, followed to the letter, passes what it says it passes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import metasearch

ROOT = Path(metasearch.__file__).parents[1]
NEEDED = ("pyproject.toml", "tests/__init__.py", "tests/games.py", "tests/contracts")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the project in which somebody did what the page says."""
    place = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("metasearch", *NEEDED):
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=ignore)
        else:
            shutil.copyfile(ROOT / name, target)
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    family, registration = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (place / "metasearch/models/denoiser.py").write_text(family, "utf-8")
    line, entry = registration.strip().split("\n\n")
    table = place / "metasearch/models/__init__.py"
    after = "from metasearch.registry"
    text = table.read_text("utf-8").replace(after, f"{line}\n{after}", 1)
    text, entered = re.subn(r'(MODELS = Table\(\s*"model",\s*\{)', rf"\g<1>{entry}, ", text)
    assert entered == 1
    table.write_text(text, "utf-8")
    return place


def run(checkout: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_model_passes_every_contract_test(checkout):
    tests = "tests/contracts/test_models.py"
    told = run(checkout, "pytest", "-q", "-p", "no:cacheprovider", tests, "-k", "denoiser")
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None and int(passed[1]) > 0


def test_the_example_model_is_written_as_the_linter_wants_it(checkout):
    run(checkout, "ruff", "check", "metasearch/models/denoiser.py")
    run(checkout, "ruff", "format", "--check", "metasearch/models/denoiser.py")


def test_the_example_model_is_listed_with_its_settings(checkout):
    code = (
        "from metasearch.models import MODELS\n"
        "from metasearch.registry import revive, settings\n"
        "made = revive(MODELS, {'name': 'denoiser', 'level': 0.3}, 'here')\n"
        "print(made.level, *(setting.name for setting in settings(type(made))))\n"
    )
    (checkout / "look.py").write_text(code, "utf-8")
    assert run(checkout, "look").split() == ["0.3", "name", "code", "net", "level", "rounds"]
