"""From a tree with draws to trees without: by a sampler, from given values, or covering all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from metasearch.errors import ConfigError
from metasearch.space.document import Path
from metasearch.space.faults import check, draws
from metasearch.space.grammar import Draw, Label, body_of, extend, label_of, word_of

if TYPE_CHECKING:
    from metasearch.rng import Stream  # loads NumPy, which reading a file does not need


class Suggester(Protocol):
    """Whoever decides on draws; an `optuna.Trial` is one."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number in [low, high]."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        """One of `choices`, which are different."""
        ...


@dataclass(frozen=True)
class Traced:
    """A tree without draws, and where in the searched tree each of its values comes from."""

    tree: Any
    origins: Mapping[Path, Path]

    def origin(self, path: Path) -> Path:
        """The searched tree's path for a path of this tree, which need not exist."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]] + path[end:]
        return path


def sample(tree: Any, suggest: Suggester) -> Any:
    """The tree with every draw decided; what is in a branch is drawn only if it is picked.

    Raises:
        ConfigError: the tree breaks the grammar.
    """
    check(tree)
    return trace(tree, suggest).tree


def resolve(tree: Any, params: Mapping[str, Any]) -> Any:
    """The tree with every draw decided by `params`: path -> number, or label of an option.

    Raises:
        ConfigError: the tree breaks the grammar; or a value is missing, out of bounds, or belongs
            to nothing in the branches picked. All such faults are listed.
    """
    check(tree)
    given = _Given(params)
    made = trace(tree, given).tree
    stray = [f"{name}: nothing is drawn by this name here." for name in params.keys() - given.used]
    if wrong := [*given.wrong, *sorted(stray)]:
        raise ConfigError("\n".join(wrong))
    return made


def trace(tree: Any, suggest: Suggester) -> Traced:
    """As `sample`, for a tree that was checked, and with the origin of each value."""
    tracer = _Tracer(suggest)
    return Traced(tracer.visit(tree, "", (), ()), tracer.origins)


class _Tracer:
    def __init__(self, suggest: Suggester) -> None:
        self.origins: dict[Path, Path] = {}
        self._suggest = suggest

    def visit(self, node: Any, name: str, raw: Path, at: Path) -> Any:
        self.origins[at] = raw
        word = word_of(node)
        if word == "choice":
            return self._pick(node[word], name, (*raw, word), at)
        if word:
            low, high = node[word]
            log = word.startswith("log")
            if word.endswith("integers"):
                return self._suggest.suggest_int(name, low, high, log=log)
            return self._suggest.suggest_float(name, float(low), float(high), log=log)
        if isinstance(node, Mapping):
            return {
                key: self.visit(child, extend(name, key), (*raw, key), (*at, key))
                for key, child in node.items()
            }
        if isinstance(node, list | tuple):
            return [
                self.visit(child, extend(name, i), (*raw, i), (*at, i))
                for i, child in enumerate(node)
            ]
        return node

    def _pick(self, options: Sequence[Any], name: str, raw: Path, at: Path) -> Any:
        labels = [label_of(option) for option in options]
        i = labels.index(self._suggest.suggest_categorical(name, labels))
        self.origins[at] = (*raw, i)
        if isinstance(options[i], Mapping):
            return self.visit(body_of(options[i]), extend(name, str(labels[i])), (*raw, i), at)
        return options[i]


class _Given:
    """Takes values from a mapping, and keeps account of what is wrong with them."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.used: set[str] = set()
        self.wrong: list[str] = []
        self._params = params

    def _number(self, name: str, low: Any, high: Any, kinds: tuple[type, ...]) -> Any:
        self.used.add(name)
        value = self._params.get(name)
        if name not in self._params:
            self.wrong.append(f"{name}: no value was given; it is drawn from [{low}, {high}].")
        elif isinstance(value, bool) or not isinstance(value, kinds):
            self.wrong.append(f"{name}: {value!r} is not a {kinds[0].__name__}.")
        elif not low <= value <= high:
            self.wrong.append(f"{name}: {value!r} is not within [{low}, {high}].")
        else:
            return value
        return low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002
        return float(self._number(name, low, high, (float, int)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:  # noqa: ARG002
        return int(self._number(name, low, high, (int,)))

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        self.used.add(name)
        value = self._params.get(name)
        if name in self._params and value in choices:
            return value
        came = f"{value!r} is none of" if name in self._params else "no value was given; it is of"
        self.wrong.append(f"{name}: {came} {', '.join(map(repr, choices))}.")
        return choices[0]


@dataclass(frozen=True)
class _Random:
    stream: Stream

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        u = self.stream.at(name).numpy().random()
        if log:
            exponent = math.log(low) + u * (math.log(high) - math.log(low))
            return min(max(math.exp(exponent), low), high)
        return min(max(low + u * (high - low), low), high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        if log:  # half a step around each number, so that the ends are as likely as they should be
            value = round(self.suggest_float(name, low - 0.5, high + 0.5, log=True))
            return min(max(value, low), high)
        return int(self.stream.at(name).numpy().integers(low, high, endpoint=True))

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        return choices[int(self.stream.at(name).numpy().integers(len(choices)))]


def random_suggester(stream: Stream) -> Suggester:
    """Decides at random; what a draw gets depends on `stream` and its name alone."""
    return _Random(stream)


@dataclass(frozen=True)
class _Upper(_Random):
    """Numbers at their upper bound; words at random."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002
        return high

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:  # noqa: ARG002
        return high

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        numbers = all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)
        return max(choices) if numbers else super().suggest_categorical(name, choices)  # type: ignore[type-var]


def upper_suggester(stream: Stream) -> Suggester:
    """Decides for the upper bound of numbers, and at random between words, as `stream` has it."""
    return _Upper(stream)


@dataclass(frozen=True)
class _Forced:
    """Decides as told, else for the low bound or the first option."""

    params: Mapping[str, Any]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002
        return float(self.params.get(name, low))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:  # noqa: ARG002
        return int(self.params.get(name, low))

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        label: Label = self.params.get(name, choices[0])
        return label


def told(params: Mapping[str, Any]) -> Suggester:
    """Decides as told; where nothing is told, the low bound or the first option."""
    return _Forced(params)


class _Used:
    """Decides as told, and keeps what was asked for."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.found: dict[str, Any] = {}
        self._params = params

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002
        return float(self._take(name))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:  # noqa: ARG002
        return int(self._take(name))

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:  # noqa: ARG002
        label: Label = self._take(name)
        return label

    def _take(self, name: str) -> Any:
        self.found[name] = self._params[name]
        return self.found[name]


def used(tree: Any, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which of `params` decide on a draw that is there; None if they leave one open."""
    suggest = _Used(params)
    try:
        trace(tree, suggest)
    except KeyError:
        return None
    return suggest.found


def covering(tree: Any, pairs: int = 5000) -> Iterator[Traced]:
    """Resolved trees in which every bound and every option occurs, and every two options that can.

    Args:
        tree: was checked.
        pairs: at most so many trees for pairs of options; a space with more is covered in part.

    Raises:
        ConfigError: the tree breaks the grammar.
    """
    found = draws(tree)
    for draw in found:
        for value in _probes(draw):
            yield trace(tree, _Forced({**dict(draw.only_if), draw.path: value}))
    if not found:
        yield trace(tree, _Forced({}))
    picks = [
        (not isinstance(value, str), {**dict(draw.only_if), draw.path: value})
        for draw in found
        if draw.kind == "choice"
        for value in _probes(draw)
    ]
    # Words before numbers, for parts that do not fit together have names.
    both = sorted(itertools.combinations(picks, 2), key=lambda pair: pair[0][0] + pair[1][0])
    fitting = (
        {**a, **b}
        for (_, a), (_, b) in both
        if all(a[path] == b[path] for path in a.keys() & b.keys())
    )
    for params in itertools.islice(fitting, pairs):
        yield trace(tree, _Forced(params))


def _probes(draw: Draw) -> Sequence[Any]:
    if draw.kind == "choice":
        return draw.options
    assert draw.low is not None, "draws other than choices have bounds"
    assert draw.high is not None, "draws other than choices have bounds"
    if draw.kind.endswith("integers"):
        return (draw.low, draw.high)
    within = draw.low + (draw.high - draw.low) / math.e  # whole numbers may fit where this does not
    return (draw.low, within, draw.high)
