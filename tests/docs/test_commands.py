"""What README and guides tell people to type is typed, page after page: `make docs-test`."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.docs.desk import SMALL, furnish, surroundings, typed, visited
from tests.docs.pages import LEFT_OUT, PAGES, REHEARSED, SAID_ONLY, blocks, lines, quoted
from tests.house import ROOT

GUIDES = ROOT / "docs" / "guides"
README = (ROOT / "README.md", ROOT / "cluster" / "README.md", GUIDES / "terms.md")
FOLLOWED = tuple(
    GUIDES / f"{page}.md" for page in ("first-search", "read-a-report", "reproduce-a-trial")
)
"""Pages of which one goes on where another ends."""
SHORTER = {
    r"\S*metasearch quickstart$": f"--trials 2 --backend local {SMALL} -s search.confirm.top=1",
    r"metasearch search search_spaces/": f"--trials 1 --backend local {SMALL}",
    r"metasearch tensorboard ": "--port 16161",
}
"""What is typed behind a line that begins so, lest it take minutes or a port that is in use."""
FILLED = {"RUN": "leaves", "TRIAL": "0", "FILE": "leaves.yaml", "NAME": "vae", "KIND": "slurm",
          "FOLDER": "cluster-slurm", "200": "4"}  # fmt: skip
"""What stands for a word in capitals, or a large number, in the folder of the README."""


def follow(place: Path, pages: tuple[Path, ...]) -> None:
    """Type all lines of some pages in one folder, but those that nobody can type there."""
    for page in pages:
        for line in lines(page):
            more = next((add for how, add in SHORTER.items() if re.match(how, line.text)), "")
            if line.reason or line.text.startswith(REHEARSED):
                continue
            if " tensorboard " in line.text:
                visited(place, f"{line.text} {more}")
            else:
                typed(place, f"{line.text} {more}")
            if " init leaves.yaml" in line.text and page == README[0]:
                (place / "leaves.yaml").write_text(shown_small(page))


def shown_small(page: Path) -> str:
    """The search file that a page shows, with less to do."""
    (text,) = blocks(page, "yaml")
    for much, little in {
        "{trials: 40, time: 2h}": "{trials: 2, time: 2h, confirm: {top: 1}}",
        "{gradients: 2_000_000, reports: 8}": "{gradients: 1500, reports: 2}\n"
        "  judging: {tasks: 4, samples: 8}",
    }.items():
        assert much in text
        text = text.replace(much, little)
    return text


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder that the guides are followed in."""
    return furnish(tmp_path_factory.mktemp("desk"), each=12)


@pytest.mark.slow
@pytest.mark.ray
def test_the_readme_can_be_followed(tmp_path):
    desk = furnish(tmp_path, each=20)
    follow(desk, README)
    code = "\n".join(blocks(README[0], "python"))
    assert "trials=20" in code
    (desk / "notebook.py").write_text(code.replace("trials=20", "trials=3"))
    typed(desk, f"{sys.executable} notebook.py")
    (card,) = blocks(desk / "leaves-best" / "README.md", "python")
    (desk / "card.py").write_text(card.replace("folder/with/a/few/images", "my-new-class"))
    typed(desk, f"{sys.executable} card.py")
    for made in ("sheet.png", "samples.png", "runs/leaves/report.html", "cluster-slurm"):
        assert (desk / made).exists()
    for line in sentences():
        typed(desk, line)


@pytest.mark.slow
def test_the_guides_can_be_followed(desk):
    follow(desk, FOLLOWED)
    for made in ("sheet.png", "leaves.yaml", "samples.png", "report.html", "leaves-best/README.md"):
        assert (desk / made).is_file()
    (desk / "notebook.py").write_text("\n".join(blocks(GUIDES / "from-python.md", "python")))
    typed(desk, f"{sys.executable} notebook.py")


def test_every_line_for_a_shell_is_typed_or_has_a_reason():
    told = [line for page in PAGES for line in lines(page)]
    followed = {page.relative_to(ROOT).as_posix() for page in (*README, *FOLLOWED)}
    for line in told:
        makes = line.text.startswith(REHEARSED)
        assert makes or line.reason or line.page in followed, line
    for how in LEFT_OUT:
        assert any(re.match(how, line.text) for line in told), f"no page says {how!r} any more"


def test_targets_of_make_say_what_they_would_do():
    for line in {line.text for page in PAGES for line in lines(page)}:
        if line.startswith(REHEARSED):
            assert typed(ROOT, line.replace("make", "make -n", 1))


def sentences() -> list[str]:
    """Commands within sentences, with something put for the words in capitals."""
    found = []
    for line in dict.fromkeys(line.text for page in PAGES for line in quoted(page)):
        command, words = verb(line)
        bare = not words and any(param.required for param in command.params)
        if line not in SAID_ONLY and not bare:
            found.append(" ".join(FILLED.get(word, word) for word in line.split()))
    return found


def test_options_that_are_shown_exist():
    commands = [
        line
        for page in PAGES
        for line in (*lines(page), *quoted(page))
        if re.match(r"(?:\S*/)?metasearch ", line.text)
    ]
    assert len(commands) > 60
    for line in commands:
        command, words = verb(line.text)
        assert not getattr(command, "commands", {}), f"{line.page}: {line.text} is no verb"
        known = {option for one in command.params for option in one.opts} | {"--help"}
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{line.page}: {line.text}"


def verb(line: str):
    """The verb of a command, and the words behind it."""
    command, words = the_program(), line.split()[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    return command, words


@cache
def the_program():
    from typer.main import get_command

    from metasearch.cli.app import build

    return get_command(build())


@pytest.mark.slow
def test_benchmarks_that_are_shown_know_their_options(tmp_path):
    told = [line for page in PAGES for line in lines(page) if "-m benchmarks." in line.text]
    for line in {line.text.partition(" -m ")[2]: line for line in told}.values():
        module, *words = line.text.partition(" -m ")[2].split()
        text = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            cwd=ROOT,
            env=surroundings(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        given = {word for word in words if word.startswith("--")}
        assert given <= set(re.findall(r"--[a-z-]+", text)), line


def test_the_class_of_the_guide_to_plug_ins_registers_itself(desk):
    (code,) = blocks(GUIDES / "plug-ins.md", "python")
    (desk / "my_module.py").write_text(code)
    told = typed(
        desk, f"METASEARCH_PLUGINS=my_module PYTHONPATH={ROOT}:. metasearch components mine"
    )
    assert "(from the module my_module)" in told
