"""What a tree of plain data may look like: which keys, which values. For files that others read.

A shape is a type, a set of allowed values, a pattern, `ANYTHING`, a list with the shape of its
items, or a mapping of keys to shapes. A key ending in ``!`` must be there; ``*`` stands for any
other key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from metasearch.registry import nearest
from metasearch.space import Fault, Path

ANYTHING = object()
COUNT = re.compile(r"[0-9]+")
"""A whole number; as a pattern it also allows the number as a text, as Ray's parameters want it."""

_KINDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "a mapping"}


def faults(tree: Any, shape: Any, path: Path = ()) -> Iterator[Fault]:
    """Where `tree` is not of this shape."""
    if shape is ANYTHING:
        return
    if isinstance(shape, dict):
        yield from _mapping(tree, shape, path)
    elif isinstance(shape, list):
        yield from _list(tree, shape[0], path)
    elif isinstance(shape, set):
        if isinstance(tree, dict | list) or tree not in shape:  # neither can be in a set
            allowed = ", ".join(sorted(map(repr, shape)))
            yield Fault(path, f"{tree!r} may not stand here; allowed: {allowed}.")
    elif isinstance(shape, re.Pattern):
        if not isinstance(tree, str) or not shape.fullmatch(tree):
            yield Fault(path, f"{tree!r} may not stand here; it needs a text like {shape.pattern}.")
    elif not isinstance(tree, shape) or (isinstance(tree, bool) and shape is not bool):
        yield Fault(path, f"{tree!r} is not {_KINDS[shape]}.")


def _mapping(tree: Any, shape: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    if not isinstance(tree, dict):
        yield Fault(path, f"{tree!r} is no mapping.")
        return
    known = {key.rstrip("!"): inner for key, inner in shape.items()}
    for key, value in tree.items():
        inner = known.get(key, known.get("*"))
        if inner is None:
            close = nearest(str(key), [name for name in known if name != "*"])
            allowed = ", ".join(sorted(known))
            yield Fault((*path, key), f"no such field here; known: {allowed}.{close}", at_key=True)
        else:
            yield from faults(value, inner, (*path, key))
    for key in shape:
        if key.endswith("!") and key[:-1] not in tree:
            yield Fault(path, f"{key[:-1]} is missing.")


def _list(tree: Any, inner: Any, path: Path) -> Iterator[Fault]:
    if not isinstance(tree, list):
        yield Fault(path, f"{tree!r} is no list.")
        return
    for i, item in enumerate(tree):
        yield from faults(item, inner, (*path, i))
