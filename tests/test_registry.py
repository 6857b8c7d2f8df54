"""Components, tables, and the words for what does not fit them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest

from metasearch.errors import ConfigError, EnvironmentFault
from metasearch.registry import (
    OneOf,
    Problem,
    Schema,
    Table,
    component,
    describe,
    revive,
    settings,
    to_data,
)


class Fruit(Protocol):
    name: str


@component
class Skin:
    thickness: float = 0.5
    color: Literal["red", "green"] = "green"

    def __post_init__(self) -> None:
        if self.thickness < 0:
            raise ValueError("thickness must not be negative")


@component
class Fig:
    name: Literal["fig"] = "fig"
    seeds: int = 100
    skin: Skin = Skin()
    ripe: bool = False
    spots: tuple[int, ...] = ()
    box: tuple[int, float] = (1, 2.0)
    origin: Path | None = None
    weight: float | str | None = None


@component
class Plum:
    name: Literal["plum"] = "plum"
    stone: float


@component
class Apple:
    """A member with a setting called like itself."""

    name: Literal["apple"] = "apple"
    apple: float = 0.0


FRUITS = Table("fruit", {"fig": Fig, "plum": Plum, "apple": Apple})


@component
class Basket:
    first: Annotated[Fruit, OneOf(FRUITS)] = Fig()
    rest: tuple[Annotated[Fruit, OneOf(FRUITS)], ...] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    gift: Annotated[Fruit, OneOf(FRUITS)] | None = None


BASKET = Schema(Basket)


def faults(data: Any) -> dict[str, str]:
    made, problems = BASKET.parse(data)
    assert (made is None) == bool(problems)
    return {".".join(map(str, p.path)): p.message for p in problems}


FULL = Basket(
    first=Plum(stone=1),
    rest=(Fig(skin=Skin(color="red"), spots=(1, 2), origin=Path("a/b"), weight="much"), Apple()),
    prices={"fig": 2.5},
    gift=Fig(ripe=True),
)


def test_data_of_a_component_makes_the_same_component_again():
    data = json.loads(json.dumps(to_data(FULL)))
    assert BASKET.build(data) == FULL
    assert revive(Basket, data, "") == FULL


def test_a_bare_name_is_a_member_with_its_defaults():
    made = BASKET.build({"first": "apple", "rest": ["fig"], "gift": "fig"})
    assert made == Basket(first=Apple(), rest=(Fig(),), gift=Fig())
    assert revive(FRUITS, "fig", "") == Fig()


def test_a_whole_number_is_a_number():
    assert BASKET.build({"first": {"name": "plum", "stone": 3}}).first == Plum(stone=3.0)


@pytest.mark.parametrize(
    ("data", "path", "said"),
    [
        ({"frist": "fig"}, "frist", "known: first, rest, prices, gift. Did you mean 'first'?"),
        ({"first": "fgi"}, "first", "no fruit is called 'fgi'; known: apple, fig, plum. Did you"),
        ({"first": {"name": "fgi"}}, "first.name", "Did you mean 'fig'?"),
        ({"first": {"seeds": 3}}, "first", "needs a `name` that says which fruit"),
        ({"first": 3}, "first", "expected a fruit: apple, fig, plum, got 3."),
        ({"first": None}, "first", "got null"),
        ({"gift": 3}, "gift", "expected a fruit: apple, fig, plum or null, got 3."),
        ({"rest": "fig"}, "rest", "expected a list, each item a fruit"),
        ({"rest": ["fig", "plum"]}, "rest.1.stone", "is missing; it is a number."),
        ({"rest": [{"name": "plum"}]}, "rest.0.stone", "is missing; it is a number."),
        ({"first": {"name": "fig", "seed": 3}}, "first.seed", "Did you mean 'seeds'?"),
        ({"first": {"name": "fig", "seeds": 3.0}}, "first.seeds", "an integer, got 3.0. Write 3."),
        ({"first": {"name": "fig", "seeds": 3.5}}, "first.seeds", "expected an integer, got 3.5."),
        ({"first": {"name": "fig", "seeds": "3"}}, "first.seeds", "got '3'. Remove the quotes."),
        ({"first": {"name": "fig", "seeds": True}}, "first.seeds", "an integer, got true."),
        ({"first": {"name": "fig", "ripe": "yes"}}, "first.ripe", "got 'yes'. Write true."),
        ({"first": {"name": "fig", "ripe": 1}}, "first.ripe", "expected true or false, got 1."),
        ({"first": {"name": "fig", "skin": 1}}, "first.skin", "some of thickness, color, got 1."),
        (
            {"first": {"name": "fig", "skin": {"thickness": -1}}},
            "first.skin.thickness",
            "thickness must not be negative.",
        ),
        (
            {"first": {"name": "fig", "skin": {"color": "gren"}}},
            "first.skin.color",
            "expected one of 'red', 'green', got 'gren'. Did you mean 'green'?",
        ),
        ({"first": {"name": "fig", "spots": [1, "x"]}}, "first.spots.1", "integer, got 'x'."),
        ({"first": {"name": "fig", "box": [1]}}, "first.box.1", "is missing; it is a number."),
        ({"first": {"name": "fig", "box": [1, 2, 3]}}, "first.box", "got a list of 3"),
        ({"first": {"name": "fig", "weight": [1]}}, "first.weight", "a number or a text or null"),
        ({"first": {"name": "fig", "origin": 4}}, "first.origin", "expected a path or null, got 4"),
        ({"first": {"name": "apple", "apple": "x"}}, "first.apple", "expected a number, got 'x'."),
        ({"prices": {"fig": "dear"}}, "prices.fig", "expected a number, got 'dear'."),
        ([], "", "expected a mapping with some of first, rest, prices, gift, got a list of 0."),
    ],
)
def test_a_fault_is_told_in_words_at_its_path(data, path, said):
    found = faults(data)
    assert list(found) == [path]
    assert said in found[path]


def test_all_faults_are_told_at_once():
    found = faults({"first": {"name": "fig", "seeds": "x", "ripe": 2}, "rest": [1], "zest": 1})
    assert set(found) == {"first.seeds", "first.ripe", "rest.0", "zest"}


def test_an_unknown_key_is_told_apart_from_a_wrong_value():
    _, problems = BASKET.parse({"frist": 1, "gift": 1})
    assert {p.path[0]: p.at_key for p in problems} == {"frist": True, "gift": False}
    assert all(isinstance(p, Problem) for p in problems)


def test_build_tells_paths_below_where():
    with pytest.raises(ConfigError, match=r"^trial\.first\.seeds: expected an integer"):
        BASKET.build({"first": {"name": "fig", "seeds": "x"}}, "trial")
    with pytest.raises(ConfigError, match=r"^rest\[0\]: no fruit"):
        BASKET.build({"rest": ["zz"]})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"first": "fgi"}, "bundle.first: no fruit is called 'fgi'"),
        ({"first": {"name": "plum"}}, "bundle.first: 'stone' is missing; it is a number."),
        ({"first": {"name": "fig", "seed": 1}}, "called 'seed'; known: .* Did you mean 'seeds'"),
        ({"first": {"name": "fig", "seeds": 1.5}}, r"first\.seeds: expected an integer, got 1\.5"),
        ({"first": {"name": "fig", "seeds": True}}, "expected an integer, got True"),
        ({"first": {"name": "fig", "skin": {"thickness": -1}}}, "must not be negative"),
        ({"first": {"name": "fig", "skin": {"color": 1}}}, "expected one of 'red', 'green', got 1"),
        ({"first": {"name": "fig", "box": [1]}}, "expected 2 values, got 1"),
        ({"first": {"name": "fig", "weight": []}}, "bundle.first.weight: expected"),
        ({"gift": 7}, "bundle.gift: needs a `name`"),
        ({"rest": 7}, "bundle.rest: expected a list"),
        (7, "bundle: expected a mapping"),
    ],
)
def test_revive_refuses_what_does_not_fit(data, said):
    with pytest.raises(ConfigError, match=said):
        revive(Basket, data, "bundle")


def test_a_component_cannot_be_changed():
    with pytest.raises(AttributeError):
        Fig().seeds = 3


def test_a_name_is_registered_once():
    table = Table("fruit", {"fig": Fig})
    table.add("plum", Plum)
    table.add("plum", Plum)
    assert table.lookup("plum") is Plum
    with pytest.raises(ConfigError, match="a fruit called 'fig' exists already"):
        table.add("fig", Plum)


class _Point:
    dist = None
    value = "orchard.quince:Quince"

    def __init__(self, name: str, target: Any) -> None:
        self.name, self._target = name, target

    def load(self) -> Any:
        if isinstance(self._target, Exception):
            raise self._target
        return self._target


@pytest.fixture
def plugins(monkeypatch):
    points: list[_Point] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: points)
    return points


def test_a_plugin_joins_its_room(plugins):
    plugins.append(_Point("plum", Plum))
    assert Table("fruit", {"fig": Fig}, room="fruits").lookup("plum") is Plum


def test_a_plugin_is_not_looked_for_without_a_room(plugins):
    plugins.append(_Point("plum", Plum))
    assert "plum" not in Table("fruit", {"fig": Fig})


def test_a_plugin_cannot_take_a_name_that_exists(plugins):
    plugins.append(_Point("fig", Plum))
    with pytest.raises(EnvironmentFault, match="'fig', which exists already"):
        Table("fruit", {"fig": Fig}, room="fruits").lookup("fig")


def test_a_broken_plugin_is_named(plugins):
    plugins.append(_Point("quince", ImportError("no module named pips")))
    with pytest.raises(EnvironmentFault, match=r"orchard\.quince:Quince.*'quince'.*pips"):
        list(Table("fruit", {"fig": Fig}, room="fruits"))


def test_settings_tell_what_each_field_allows():
    found = {s.name: s for s in settings(Fig)}
    assert found["seeds"].default == 100
    assert not found["seeds"].required
    assert found["skin"].default == Skin()
    assert found["weight"].allowed == "a number or a text or null"
    assert [s.name for s in settings(Plum) if s.required] == ["stone"]
    assert settings(Basket)[2].default == {}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Literal["a"], "'a'"),
        (tuple[int, ...], "a list, each item an integer"),
        (dict[str, float], "a mapping"),
        (Annotated[int, "an ordinary note"], "an integer"),
        (Any, "anything"),
        (bytes, "bytes"),
    ],
)
def test_kinds_are_described_in_words(kind, words):
    assert describe(kind) == words


def test_reviving_needs_no_pydantic(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    monkeypatch.setitem(sys.modules, "pydantic_core", None)
    assert revive(Basket, to_data(FULL), "") == FULL


def test_a_name_that_may_mean_several_members_says_which():
    table = Table(
        "fruit", {"fig": Fig, "plum": Plum}, ambiguous={"drupe": "plum, or not yet here."}
    )
    with pytest.raises(ConfigError, match=r"^'drupe' may mean several: plum, or not yet here\.$"):
        table.lookup("drupe")
    assert "drupe" not in table
