"""Trees with draws, held against a schema before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Protocol

import pytest

from metasearch import space
from metasearch.registry import OneOf, Schema, Table, component
from metasearch.search.check import check_tree


class Engine(Protocol):
    name: str


@component
class Steam:
    name: Literal["steam"] = "steam"
    pressure: float = 2.0
    cylinders: int = 2
    fuel: Literal["coal", "wood"] = "coal"

    def __post_init__(self) -> None:
        if self.pressure <= 0:
            raise ValueError("pressure must be above 0")


@component
class Diesel:
    name: Literal["diesel"] = "diesel"
    cylinders: int
    turbo: bool = False


ENGINES = Table("engine", {"steam": Steam, "diesel": Diesel})


@component
class Wheels:
    count: int = 4
    radius: float = 0.5


@component
class Train:
    seed: int = 0
    engine: Annotated[Engine, OneOf(ENGINES)] = Steam()
    wagons: tuple[Annotated[Engine, OneOf(ENGINES)], ...] = ()
    wheels: Wheels = Wheels()
    rail: Literal["wide", "narrow"] = "wide"


TRAIN = Schema(Train)


def problems(train: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if train.rail == "narrow" and train.engine.name == "diesel":
        yield ("engine",), "diesel needs a wide rail."


def faults(text: str) -> list[str]:
    """All faults of a tree as "line:column path: message"."""
    document = space.parse("train:\n" + text, "s.yaml")
    found = check_tree(TRAIN, document.tree["train"], "train", problems)
    lines = str(document.error(found)).splitlines()[::3] if found else []
    return [line.removeprefix("s.yaml:") for line in lines]


@pytest.mark.parametrize(
    "text",
    [
        "  engine: steam\n",
        "  engine: {choice: [steam, {name: diesel, cylinders: {integers: [1, 4]}}]}\n",
        "  wheels: {radius: {uniform: [1, 2]}, count: {choice: [4, 6]}}\n  rail: narrow\n",
        "  wheels: {radius: {integers: [1, 2]}}\n",
        "  wheels: {choice: [{label: few, count: 2}, {label: many, count: 8}]}\n",
        "  seed: 3\n",
    ],
)
def test_a_tree_whose_every_branch_fits_has_no_fault(text):
    assert faults(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  sed: 1\n", "2:3: train.sed: no setting is called so here; known: seed, engine"),
        ("  engine: stem\n", "2:11: train.engine: no engine is called 'stem'; known: diesel, st"),
        ("  engine: {name: stem}\n", "2:18: train.engine.name: no engine is called 'stem'"),
        ("  engine: diesel\n", "2:3: train.engine.cylinders: is missing; it is an integer."),
        (
            "  engine:\n    choice:\n      - steam\n      - {name: diesel}\n",
            "5:9: train.engine.diesel.cylinders: is missing",
        ),
        (
            "  engine:\n    choice:\n      - steam\n      - {name: diesel, cylinders: 4, turb: 1}\n",
            "5:38: train.engine.diesel.turb: no setting is called so here; known: name, cylinders",
        ),
        (
            "  wagons:\n    - steam\n    - {name: steam, pressure: high}\n",
            "4:31: train.wagons[1].pressure: expected a number, got 'high'.",
        ),
        (
            "  wheels: {count: {uniform: [1, 4]}}\n",
            "2:19: train.wheels.count: expected an integer, but 'uniform' draws any number. Use 'int",
        ),
        ("  wheels: {count: {log_uniform: [1, 4]}}\n", "Use 'log_integers'."),
        (
            "  engine: {name: steam, pressure: {uniform: [-1, 1]}}\n",
            "2:35: train.engine.pressure: pressure must be above 0. It may be drawn as -1.0.",
        ),
        (
            "  engine: {name: steam, fuel: {choice: [coal, peat]}}\n",
            "2:47: train.engine.fuel: expected one of 'coal', 'wood', got 'peat'.",
        ),
        (
            "  wheels: {radius: {unifrom: [1, 2]}}\n",
            "got a mapping with 'unifrom'. Did you mean the draw 'uniform'?",
        ),
        ("  wheels: {choise: [a, b]}\n", "Did you mean the draw 'choice'?"),
        ("  engine: {integers: [1, 2]}\n", "2:11: train.engine: expected an engine"),
        (
            "  rail: {choice: [wide, {name: narrow}]}\n",
            "expected one of 'wide', 'narrow', got a ma",
        ),
        (
            "  engine: {choice: [steam, {name: diesel, cylinders: 1}]}\n"
            "  rail: {choice: [wide, narrow]}\n",
            "2:28: train.engine.diesel: diesel needs a wide rail.",
        ),
        ("  engine: {name: diesel, cylinders: {choice: [1, 1]}}\n", "are the same option"),
        ("  {uniform: [0, 1]}\n", "a whole tree cannot be one 'uniform'"),
        ("  3\n", "2:3: train: expected a mapping with some of seed, engine"),
    ],
)
def test_a_fault_in_any_branch_is_told_where_it_is_written(text, said):
    found = faults(text)
    assert len(found) == 1
    assert said in found[0]


def test_all_faults_of_grammar_and_schema_are_told_at_once():
    found = faults(
        "  engine:\n"
        "    choice:\n"
        "      - {name: steam, pressure: {uniform: [2, 1]}, cylinders: two}\n"
        "      - {name: diesel, turbo: yes}\n"
        "  rail: tall\n"
    )
    assert [line.split(" ")[1] for line in found] == [
        "train.engine.steam.pressure:",
        "train.engine.steam.cylinders:",
        "train.engine.diesel.cylinders:",
        "train.engine.diesel.turbo:",
        "train.rail:",
    ]


def test_a_draw_that_breaks_the_grammar_hides_only_what_is_in_it():
    assert len(faults("  wheels: {count: {integers: [4, 1]}, radius: x}\n")) == 2
    assert len(faults("  wheels: {choice: [{label: a, count: x}, {label: a}]}\n  rail: 1\n")) == 2


def test_a_draw_is_complained_of_once():
    assert len(faults("  engine: {name: steam, pressure: {uniform: [-2, -1]}}\n")) == 1


def test_each_faulty_option_is_complained_of():
    assert len(faults("  rail: {choice: [tall, small, wide]}\n")) == 2


def test_a_problem_of_two_parts_is_found_when_both_are_drawn_in_other_branches():
    text = (
        "  engine: {choice: [steam, {name: diesel, cylinders: {choice: [1, 2]}}]}\n"
        "  wheels: {choice: [{label: a, count: {choice: [1, 2]}}, {label: b}]}\n"
        "  rail: {choice: [wide, narrow]}\n"
    )
    assert len(faults(text)) == 1
