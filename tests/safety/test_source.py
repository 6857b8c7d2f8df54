"""No line of the package unpickles, evaluates, or asks Ray to restore."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import PACKAGE, ROOT

FORBIDDEN_IMPORTS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_NAMES = {
    "ExperimentAnalysis", "ResultGrid", "Tuner", "Unpickler", "unsafe_load", "full_load",
    "UnsafeLoader", "FullLoader", "extractall", "mktemp",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def faults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a module does what none may do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            roots = {(getattr(node, "module", None) or name).partition(".")[0] for name in names}
            for name in FORBIDDEN_IMPORTS & (roots | set(names)):
                yield node.lineno, f"imports {name}"
        name = getattr(node, "id", None) or getattr(node, "attr", None)
        if name in FORBIDDEN_NAMES:
            yield node.lineno, f"uses {name}"
        if isinstance(node, ast.Call):
            yield from _calls(node)


def _calls(call: ast.Call) -> Iterator[tuple[int, str]]:
    words = {word.arg: word.value for word in call.keywords}
    if isinstance(call.func, ast.Name) and call.func.id in FORBIDDEN_CALLS:
        yield call.lineno, f"calls {call.func.id}"
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        place = f"{call.func.value.id}.{call.func.attr}"
        safe = isinstance(words.get("weights_only"), ast.Constant) and words["weights_only"].value
        if place == "torch.load" and not safe:
            yield call.lineno, "torch.load without weights_only=True"
        loader = words.get("Loader", call.args[1] if len(call.args) > 1 else None)
        if place in {"yaml.load", "yaml.load_all"} and "Safe" not in ast.dump(loader or ast.Pass()):
            yield call.lineno, f"{place} without a safe loader"
        if place in {"np.load", "numpy.load"}:
            allows = words.get("allow_pickle")
            if isinstance(allows, ast.Constant) and allows.value:
                yield call.lineno, "numpy.load with pickles"
    shell = words.get("shell")
    if isinstance(shell, ast.Constant) and shell.value:
        yield call.lineno, "a shell"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_runs_nothing_that_was_handed_over(path: Path):
    assert list(faults(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import yaml\nyaml.load('x', Loader=yaml.UnsafeLoader)",
        "import yaml\nyaml.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "eval('1')",
        "from ray.tune import Tuner\nTuner.restore('x')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import zipfile\nzipfile.ZipFile('x').extractall()",
    ],
)
def test_what_none_may_do_would_be_found(line):
    assert list(faults(ast.parse(line)))
