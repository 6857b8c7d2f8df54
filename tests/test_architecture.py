"""docs/architecture.md tells the truth: rooms, doors, files, contracts, exit codes."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from metasearch import errors
from tests.house import FAMILIES, PACKAGE, ROOT, members_in, modules_of, tables_of

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n# metasearch/(\S+)\n(.*?)```", PAGE, re.DOTALL)


def section(heading: str) -> str:
    """The text below a heading, up to the next of its level."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def listing() -> dict[str, list[str]]:
    """Room -> the modules listed in it; modules outside of rooms are under the empty name."""
    block = re.search(r"```text\nmetasearch/\n(.*?)```", section("Rooms and files"), re.DOTALL)
    assert block is not None
    rooms: dict[str, list[str]] = {"": []}
    room = ""
    for line in filter(None, block[1].splitlines()):
        name = line.split()[0]
        if name.endswith("/"):
            room = name.rstrip("/")
            rooms[room] = []
        else:
            rooms[room if line.startswith("    ") else ""].append(name)
    return rooms


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")} - {"__init__"}


def rooms() -> list[str]:
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_every_room_is_named_and_no_other():
    listed = listing()
    assert sorted(set(listed) - {""}) == rooms()
    assert set(listed[""]) == names(PACKAGE)


@pytest.mark.parametrize("room", rooms())
def test_every_file_of_a_room_is_listed_or_holds_members_of_its_table(room):
    listed = listing()[room]
    assert len(set(listed)) == len(listed)
    members: set[str] = set()
    if room in FAMILIES:
        registered = {cls for table in tables_of(room) if table.room for cls in table.values()}
        members = {
            name
            for name, module in modules_of(room).items()
            if registered & set(members_in(module).values())
        }
    assert set(listed) == names(PACKAGE / room) - members, f"see docs/architecture.md, {room}/"


def test_the_doors_are_those_of_the_import_contract():
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    block = re.search(r"```text\n(.*?)```", section("Doors"), re.DOTALL)
    assert block is not None
    assert block[1].splitlines() == layers


def signature(node: ast.FunctionDef) -> str:
    returns = ast.unparse(node.returns) if node.returns else ""
    kept = [ast.unparse(d) for d in node.decorator_list if ast.unparse(d) != "property"]
    return f"{kept} ({ast.unparse(node.args)}) -> {returns}"


def field(node: ast.AnnAssign) -> str:
    default = f" = {ast.unparse(node.value)}" if node.value else ""
    return ast.unparse(node.annotation) + default


def inside(node: ast.ClassDef) -> dict[str, str]:
    """What a class offers: name -> field or signature; a property counts as a field."""
    found = {}
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            found[part.target.id] = field(part)
        elif isinstance(part, ast.FunctionDef):
            is_property = any(ast.unparse(d) == "property" for d in part.decorator_list)
            told = ast.unparse(part.returns) if is_property and part.returns else signature(part)
            found[part.name] = told
    return {k: v for k, v in found.items() if not k.startswith("_") or k == "__call__"}


def definitions(code: str) -> dict[str, str | dict[str, str]]:
    """Name -> what it is, for the classes, functions and aliases of a text."""
    found: dict[str, str | dict[str, str]] = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = inside(node)
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = signature(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.unparse(node.value)
    return found


def protocols(code: str) -> set[str]:
    return {
        node.name
        for node in ast.parse(code).body
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(b) for b in node.bases)
    }


def test_the_page_shows_the_contract_of_every_family_room():
    shown = {name for name, _ in BLOCKS}
    assert {f"{room}/base.py" for room in FAMILIES} <= shown


@pytest.mark.parametrize(("file", "shown"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_contracts_are_shown_as_they_are(file, shown):
    code = (PACKAGE / file).read_text("utf-8")
    real = definitions(code)
    for name, told in definitions(shown).items():
        assert name in real, f"{file} has no {name}"
        is_ = real[name]
        if isinstance(told, dict) and isinstance(is_, dict) and name not in protocols(code):
            is_ = {key: value for key, value in is_.items() if key in told}  # a part may be shown
        assert told == is_, f"{name} of {file} is told otherwise in docs/architecture.md"


def test_every_exit_code_that_an_error_carries_is_explained():
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MetasearchError)
    }
    told = re.findall(r"^\| ([\d, ]+) \|", section("Exit codes"), re.MULTILINE)
    assert codes | {0, 130, 143} == {int(n) for cell in told for n in cell.split(",")}


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_links_of_the_documents_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", prose(page))
        if not (page.parent / target).exists()
    ]
    assert broken == []
