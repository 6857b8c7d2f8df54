"""Whether all that a tree can draw, another can draw as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metasearch.space.faults import check
from metasearch.space.grammar import body_of, children, extend, label_of, word_of


def narrowed(old: Any, new: Any) -> list[str]:
    """Why `new` is not as wide as `old`; empty if each recipe of `old` is one of `new`.

    Bounds may move apart, and options may be added; all else must be as it was, for what was
    constant in old recipes has no value under the name of a new draw.

    Raises:
        ConfigError: a tree breaks the grammar.
    """
    check(old)
    check(new)
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, name: str) -> Iterator[str]:
    word = word_of(old)
    if word != word_of(new):
        yield f"{name}: was {_short(old)} and is {_short(new)}."
    elif word == "choice":
        yield from _options(old[word], new[word], name)
    elif word:
        (low, high), (lower, higher) = old[word], new[word]
        if lower > low or higher < high:
            yield f"{name}: was drawn from [{low}, {high}], and is from [{lower}, {higher}] only."
    elif isinstance(old, Mapping | list | tuple) and type(old) is type(new):
        yield from _parts(dict(children(old)), dict(children(new)), name)
    elif old != new:
        yield f"{name}: was {_short(old)} and is {_short(new)}."


def _parts(old: Mapping[Any, Any], new: Mapping[Any, Any], name: str) -> Iterator[str]:
    for key in {**old, **new}:
        if key in old and key in new:
            yield from _differences(old[key], new[key], extend(name, key))
        else:
            yield f"{extend(name, key)}: was {'' if key in old else 'not '}there."


def _options(old: Any, new: Any, name: str) -> Iterator[str]:
    there = {repr(label_of(option)): option for option in new}
    for option in old:
        label = label_of(option)
        other = there.get(repr(label))
        if other is None or isinstance(option, Mapping) != isinstance(other, Mapping):
            yield f"{name}: {label!r} was an option and is none."
        elif isinstance(option, Mapping):
            yield from _differences(body_of(option), body_of(other), extend(name, str(label)))


def _short(node: Any) -> str:
    text = repr(node)
    return text if len(text) < 60 else text[:57] + "..."
