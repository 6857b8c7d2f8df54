"""The shape of the code: its sizes, its names, its documents, and who may import whom."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import FAMILIES, PACKAGE, ROOT, members_in, modules_of, tables_of

MODULES = sorted(PACKAGE.rglob("*.py"))

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def public(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, Definition]]:
    """Public classes and functions, and the public methods of the classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield inside + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{inside}{node.name}.")


def test_no_module_is_longer_than_300_lines():
    lines = {short(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: n for name, n in lines.items() if n > 300} == {}


def test_no_function_is_longer_than_50_lines():
    lengths = {
        f"{short(path)}: {node.name}": length(node)
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n > 50} == {}


def test_no_module_is_called_utils():
    assert [short(p) for p in MODULES if re.fullmatch(r"_?(utils?|helpers?|misc)", p.stem)] == []


def test_every_public_thing_has_a_docstring():
    bare = [
        f"{short(path)}: {name}"
        for path in MODULES
        for name, node in public(parsed(path).body)
        if not ast.get_docstring(node)
    ]
    bare += [short(path) for path in MODULES if not ast.get_docstring(parsed(path))]
    assert bare == []


@pytest.mark.parametrize("room", FAMILIES)
def test_every_named_component_of_a_room_is_in_a_table(room):
    tables = tables_of(room)
    assert any(table.room == room for table in tables), f"{room} has no table of its own"
    lost = [
        f"{name}: {cls.__qualname__} ({module})"
        for module, found in modules_of(room).items()
        for name, cls in members_in(found).items()
        if not any(table.get(name) is cls for table in tables)
    ]
    assert lost == [], "add them to the table of the room, in its __init__.py"


def imported_by(path: Path) -> set[str]:
    """Every module that a file imports from, wherever the import stands."""
    nodes = list(ast.walk(parsed(path)))
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return froms | {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}


@pytest.mark.parametrize("room", FAMILIES)
def test_members_of_a_room_do_not_import_each_other(room):
    registered = {cls for table in tables_of(room) if table.room for cls in table.values()}
    members = {
        module.__name__: Path(module.__file__ or "")
        for module in modules_of(room).values()
        if registered & set(members_in(module).values())
    }
    assert members
    others = set(members) - {"metasearch.engine.loop"}  # the reference, on which engines fall back
    leaning = {name: imported_by(path) & others for name, path in members.items()}
    assert {name: found for name, found in leaning.items() if found} == {}


def test_no_text_points_to_one_machine():
    texts = [
        path
        for folder in ("metasearch", "search_spaces", "cluster", "docs", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".yaml", ".md", ".json", ".toml", ".sh"}
    ]
    texts += [*ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    place = re.compile(r"(?<![\w.~:/-])/(?:home|root|Users|work|mnt|tmp|scratch)/\w")
    found = [
        f"{short(path)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if place.search(line)
    ]
    assert found == []


def test_imports_keep_to_the_contracts():
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ray_optuna_and_tensorboard_are_each_imported_in_a_few_named_files():
    """The contracts say so; this says that the contracts are there."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    forbidding = [c for c in contracts if "forbidden_modules" in c]
    alone = {c["forbidden_modules"][0]: c for c in forbidding if c.get("ignore_imports")}
    most = {"ray": 3, "optuna": 5, "tensorboard": 3}
    assert set(alone) >= set(most)
    for package, contract in alone.items():
        homes = {line.partition(" -> ")[0] for line in contract["ignore_imports"]}
        assert len(homes) == most.get(package, 1)
        assert all(importlib.util.find_spec(home) is not None for home in homes)


def test_every_decision_says_why_what_and_what_follows():
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text("utf-8")
        parts = re.findall(r"^(?:## |\*\*)(Context|Decision|Consequence)s?\b", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequence"], short(path)
        assert text.startswith(f"# {int(path.name[:4])}. "), short(path)
