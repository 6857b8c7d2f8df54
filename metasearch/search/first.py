"""Points to try first: given ones, defaults, baselines, and the best of earlier searches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metasearch import space
from metasearch.errors import ConfigError
from metasearch.search.home import looked_at
from metasearch.search.ledger import open_run
from metasearch.space import Draw, Label

if TYPE_CHECKING:
    from metasearch.search.config import SearchFile

RANDOM = "random"  # the label of the rule that chooses without looking
_AXES = ("strategy.tasks", "strategy.algorithms", "strategy.models")
REFERENCE = "reference"  # the origin of such points
WORDS = ("defaults", "baselines")
FROM_RUN = {"run", "best"}  # the keys of an entry that names an earlier search


@dataclass(frozen=True)
class Point:
    """Values of draws; those that are not named are left to the sampler."""

    params: Mapping[str, Any]
    origin: str  # "given", "defaults", "baseline joint", "trial 7 of runs/earlier", "reference"
    seed: int = 0  # added to that of the trial: one recipe again, to tell what luck does


def first_points(file: SearchFile) -> list[Point]:
    """What the entries of `search.first` stand for, then references; of equal points, the first.

    Raises:
        ConfigError: an earlier run has no recipe that this space can draw.
        RunError: there is no such run, or it is damaged.
    """
    found: dict[str, Point] = {}
    given = [point for entry in file.search.first for point in _stands_for(entry, file)]
    for point in [*given, *references(file)]:
        found.setdefault(repr((point.seed, sorted(point.params.items(), key=str))), point)
    return list(found.values())


def references(file: SearchFile) -> list[Point]:
    """Random choice on every axis of a strategy that is searched: one recipe, from several seeds.

    All else is as by default, or in the middle of its range. They are what other strategies are
    held against, and their spread is what a seed does. At most a tenth of the trials, but one.
    """
    picked = {
        draw.path: RANDOM
        for draw in file.draws
        if draw.path in _AXES and draw.kind == "choice" and RANDOM in draw.options
    }
    if not picked:
        return []
    middle = _Middle({**_defaults(file, picked), **picked})
    space.trace(file.space, middle)
    count = min(file.search.references, max(1, file.search.trials // 10))
    return [Point(dict(middle.found), REFERENCE, seed) for seed in range(count)]


class _Middle:
    """Decides as told, else for the middle of a range or the first option, and takes it down."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.found: dict[str, Any] = {}
        self._told = told

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._take(name, math.sqrt(low * high) if log else (low + high) / 2))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._take(name, round(math.sqrt(low * high)) if log else (low + high) // 2))

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        label: Label = self._take(name, choices[0])
        return label

    def _take(self, name: str, otherwise: Any) -> Any:
        self.found[name] = self._told.get(name, otherwise)
        return self.found[name]


def entry_fault(entry: Any, draws: Sequence[Draw]) -> str:
    """What is wrong with an entry of `search.first`; of an earlier run, only its form is seen."""
    if isinstance(entry, str):
        return "" if entry in WORDS else f"{entry!r} is none of {', '.join(WORDS)}."
    if not isinstance(entry, Mapping):
        return "is a word, values of draws by their names, or {run: RUN, best: 3}."
    if "run" in entry:
        best = entry.get("best", 1)
        fits = entry.keys() <= FROM_RUN and isinstance(best, int) and best > 0
        return "" if fits else "an earlier run is named as {run: RUN, best: 3}."
    known = {draw.path: draw for draw in draws}
    for path, value in entry.items():
        if path not in known:
            return f"nothing is drawn by the name {path!r}; known: {', '.join(known)}."
        if fault := _value_fault(known[path], value, entry):
            return fault
    return ""


def _value_fault(draw: Draw, value: Any, entry: Mapping[str, Any]) -> str:
    if draw.kind == "choice":
        fits = any(value == option and type(value) is type(option) for option in draw.options)
        allowed = f"one of {', '.join(map(repr, draw.options))}"
    else:
        assert draw.low is not None, "draws other than choices have bounds"
        assert draw.high is not None, "draws other than choices have bounds"
        kinds = (int,) if draw.kind.endswith("integers") else (int, float)
        number = isinstance(value, kinds) and not isinstance(value, bool)
        fits = number and draw.low <= value <= draw.high
        allowed = f"within [{draw.low}, {draw.high}]"
    if not fits:
        return f"{draw.path} must be {allowed}, got {value!r}."
    for path, label in draw.only_if:
        if entry.get(path) != label:
            return f"{draw.path} is drawn only if {path} is {label!r}; say that, too."
    return ""


def _stands_for(entry: Any, file: SearchFile) -> Iterator[Point]:
    if entry == "defaults":
        yield Point(_defaults(file, {}), "defaults")
    elif entry == "baselines":
        for name in file.search.baselines:
            for draw in file.draws:
                if draw.path.startswith("algorithms") and name in draw.options:
                    yield Point(_defaults(file, {draw.path: name}), f"baseline {name}")
    elif "run" in entry:
        yield from _of_run(looked_at(entry["run"]), entry.get("best", 1), file)
    else:
        yield Point(dict(entry), "given")


def _of_run(folder: Path, best: int, file: SearchFile) -> Iterator[Point]:
    run = open_run(folder)
    fitting, fault = [], f"{folder}: no trial of it has finished"
    for record in run.best(len(run.trials)):
        try:
            space.resolve(file.space, record.info.params)
        except ConfigError as error:
            fault = str(error).splitlines()[0]
        else:
            fitting.append(record)
    if not fitting:
        raise ConfigError(
            f"search.first: no recipe of {folder} can be drawn from this space ({fault}). Leave "
            "the run out, or widen the space."
        )
    for record in fitting[:best]:
        yield Point(dict(record.info.params), f"trial {record.number} of {run.info.name}")


def _defaults(file: SearchFile, picked: Mapping[str, Any]) -> dict[str, Any]:
    """The default of each setting that is drawn, where it can be drawn; the first of branches."""
    traced = space.trace(file.space, space.told(picked))
    config = file.trial(traced.tree)
    draws = {draw.path: draw for draw in file.draws}
    params: dict[str, Any] = {}
    for at, raw in traced.origins.items():
        place = raw[:-2] if raw[-2:-1] == ("choice",) else raw
        draw = draws.get(space.readable(file.space, place))
        if draw is None or space.word_of(_walk(file.space, place)) is None:
            continue
        value = picked.get(draw.path, _default(config, at))
        if isinstance(_walk(file.space, raw), Mapping) and raw != place:  # a branch
            value = space.label_of(_walk(file.space, raw))
        if not _value_fault(draw, value, {**params, **dict(draw.only_if)}):
            params[draw.path] = value
    return params


def _walk(node: Any, path: space.Path) -> Any:
    for part in path:
        node = node[part]
    return node


def _default(config: Any, at: space.Path) -> Any:
    """The default of a setting of a resolved config; `MISSING` if it has none."""
    owner = config
    for part in at[:-1]:
        owner = owner[part] if isinstance(part, int) else getattr(owner, part)
    if not dataclasses.is_dataclass(owner):
        return dataclasses.MISSING
    return next(f.default for f in dataclasses.fields(owner) if f.name == at[-1])
