"""The grammar: which mappings are draws, what they are called, and how many recipes they make.

A mapping whose only key is one of five words is a draw; everything else is constant. An option of
a `choice` that is a mapping is a branch: what it contains exists only when it is picked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from metasearch.space.document import Path

Kind = Literal["choice", "uniform", "log_uniform", "integers", "log_integers"]
WORDS: tuple[Kind, ...] = get_args(Kind)

Label = str | int | float | bool | None
"""What names an option of a choice: itself if it is a scalar, else its `label` or its `name`."""


@dataclass(frozen=True)
class Draw:
    """One thing that is searched: what a sampler, a column or an axis needs to know of it."""

    path: str  # "models[0]", "models[0].gan.latent": below the tree that is searched
    kind: Kind
    options: tuple[Any, ...] = ()  # labels of a choice
    low: float | None = None  # both bounds can be drawn
    high: float | None = None
    only_if: tuple[tuple[str, Any], ...] = ()  # (path of a choice, label) for each branch above it


@dataclass(frozen=True)
class Size:
    """How large a search space is."""

    draws: int
    configurations: int | None  # None if something continuous is drawn
    branches: int  # ways to pick the branches, numbers and words aside

    def __str__(self) -> str:
        """In words, for people."""
        many = "continuous" if self.configurations is None else f"{self.configurations:,} recipes"
        draws = "1 draw" if self.draws == 1 else f"{self.draws} draws"
        ways = "1 way" if self.branches == 1 else f"{self.branches:,} ways"
        return f"{draws}, {many}, {ways} to pick the branches"


def word_of(node: Any) -> Kind | None:
    """Which draw this is, if it is one."""
    if isinstance(node, Mapping) and len(node) == 1:
        word = next(iter(node))
        return cast("Kind", word) if word in WORDS else None
    return None


def places(tree: Any, path: Path = ()) -> Iterator[Path]:
    """Where in a tree its draws stand, without those in branches of others."""
    if word_of(tree):
        yield path
    else:
        for part, child in children(tree):
            yield from places(child, (*path, part))


def label_of(option: Any) -> Label:
    """What an option of a checked choice is called."""
    if isinstance(option, Mapping):
        return option.get("label", option.get("name"))
    return option


def body_of(option: Mapping[str, Any]) -> dict[str, Any]:
    """A branch without its label."""
    return {key: value for key, value in option.items() if key != "label"}


def extend(name: str, part: str | int) -> str:
    """The name of what stands at `part` below `name`; different paths have different names."""
    if isinstance(part, int):
        return f"{name}[{part}]"
    if not re.fullmatch(r"[A-Za-z_][\w-]*", part):
        return f"{name}[{json.dumps(part)}]"
    return f"{name}.{part}" if name else part


def readable(tree: Any, path: Path) -> str:
    """A path as people read it: ``("models", 0, "choice", 1, "latent")`` is "models[0].gan.latent".

    Labels stand for options; bounds of a draw go by the name of the draw.
    """
    name, node, parts = "", tree, list(path)
    while parts:
        word = word_of(node)
        if word == "choice" and len(parts) > 1 and isinstance(parts[1], int):
            i, parts = parts[1], parts[2:]
            node = _at(_at(node, "choice"), i)
            label = label_of(node)
            if isinstance(node, Mapping):
                name = extend(name, label) if isinstance(label, str) else f"{name}.choice[{i}]"
        elif word:
            return name
        else:
            name, node = extend(name, parts[0]), _at(node, parts[0])
            parts = parts[1:]
    return name


def _at(node: Any, part: str | int) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None


def children(node: Any) -> Iterator[tuple[str | int, Any]]:
    """The parts of a mapping or a list, with their key or index; a scalar has none."""
    if isinstance(node, Mapping):
        yield from node.items()
    elif isinstance(node, list | tuple):
        yield from enumerate(node)


def walk(node: Any, name: str = "", above: tuple[tuple[str, Any], ...] = ()) -> Iterator[Draw]:
    """The draws of a tree that was checked, in the order of the file."""
    word = word_of(node)
    if word == "choice":
        options = node[word]
        yield Draw(name, word, tuple(label_of(o) for o in options), only_if=above)
        for option in options:
            if isinstance(option, Mapping):
                label = str(label_of(option))
                yield from walk(body_of(option), extend(name, label), (*above, (name, label)))
    elif word:
        low, high = node[word]
        yield Draw(name, word, low=low, high=high, only_if=above)
    else:
        for part, child in children(node):
            yield from walk(child, extend(name, part), above)


def size(tree: Any) -> Size:
    """How many recipes a checked tree holds."""
    found = list(walk(tree))
    continuous = any(draw.kind.endswith("uniform") for draw in found)
    recipes, branches = _count(tree)
    return Size(len(found), None if continuous else recipes, branches)


def _count(node: Any) -> tuple[int, int]:
    word = word_of(node)
    if word == "choice":
        options = node[word]
        below = [_count(body_of(o)) for o in options if isinstance(o, Mapping)]
        plain = len(options) - len(below)
        return plain + sum(n for n, _ in below), sum(b for _, b in below) + bool(plain)
    if word:
        low, high = node[word]
        return (high - low + 1 if word.endswith("integers") else 1), 1
    recipes, branches = 1, 1
    for _, child in children(node):
        n, b = _count(child)
        recipes, branches = recipes * n, branches * b
    return recipes, branches
