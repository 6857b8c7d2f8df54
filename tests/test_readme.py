"""README.md tells the truth: its verbs exist, its search file can be searched."""

from __future__ import annotations

import re

import pytest

from metasearch.search.config import SearchFile
from tests.house import ROOT

PAGE = (ROOT / "README.md").read_text("utf-8")


def verbs() -> set[str]:
    from metasearch.cli.app import build

    app = build()
    named = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    return named | {group.name for group in app.registered_groups}


def test_the_table_names_every_verb():
    assert verbs() == set(re.findall(r"^\| `([a-z]+)", PAGE, re.MULTILINE))


def test_commands_that_are_shown_exist():
    shown = re.findall(r"^(?:\S*/)?metasearch ([a-z]+)", PAGE, re.MULTILINE)
    assert len(shown) > 5
    assert set(shown) <= verbs()


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_search_files_that_are_shown_can_be_searched(text):
    file = SearchFile.from_yaml(text, "README.md")
    assert file.draws


def test_targets_of_make_that_are_shown_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z-]+)", PAGE, re.MULTILINE)) <= set(targets)


def test_what_is_shown_of_constraints_is_in_them():
    pin = re.search(r"`(torch==[^`]+)`", PAGE)
    assert pin is not None
    assert pin[1] in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
