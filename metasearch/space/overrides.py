"""Settings given by a flag, ``-s trial.tasks.shot=5``, laid over a file."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from metasearch.errors import ConfigError
from metasearch.space.document import Document, Path, parse
from metasearch.space.mark import Mark

FLAG = "-s"
_PART = re.compile(r"\.?([^.\[\]=\s]+)|\[(\d+)\]")


def apply_overrides(document: Document, assignments: Iterable[str]) -> Document:
    """The document with ``path=value`` assignments made, the later ones over the earlier.

    A value is YAML, so ``-s trial.outer.lr={log_uniform: [1e-4, 1e-2]}`` searches. Keys that are
    missing are created; where a bare name stands, such as ``tasks: glyphs``, settings join it.

    Raises:
        ConfigError: an assignment has no ``=``, its value is not YAML, or its path leads nowhere.
    """
    state = _State(copy.deepcopy(document.tree), dict(document.values), dict(document.keys))
    wrong = []
    for text in assignments:
        try:
            _assign(state, text)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return replace(document, tree=state.tree, values=state.values, keys=state.keys)


def under(document: Document, key: str) -> Document:
    """The document whose tree is that of another below a key."""
    values = {(): document.mark(()), **{(key, *p): mark for p, mark in document.values.items()}}
    keys = {(key, *p): mark for p, mark in document.keys.items()}
    return replace(document, tree={key: document.tree}, values=values, keys=keys)


@dataclass
class _State:
    tree: dict[str, Any]
    values: dict[Path, Mark]
    keys: dict[Path, Mark]


def _assign(state: _State, text: str) -> None:
    left, equals, right = text.partition("=")
    mark = Mark(FLAG, 0, 1, text)
    parts = _split(left.strip())
    if not equals or not parts:
        raise ConfigError(mark.show("an assignment is path=value, such as trial.tasks.shot=5."))
    value = parse(right, FLAG, lines=False)
    parent, path = _descend(state.tree, parts[:-1], mark)
    last = _step(parent, parts[-1], path, mark)
    parent[last] = value.tree
    path = (*path, last)
    for places in (state.values, state.keys):
        for old in [p for p in places if p[: len(path)] == path]:
            del places[old]

    def moved(found: Mark) -> Mark:
        return Mark(FLAG, 0, len(left) + 1 + found.column, text)

    state.keys[path] = mark
    state.values[path] = moved(Mark(FLAG, 0, 1, right))
    state.values.update({path + p: moved(found) for p, found in value.values.items()})
    state.keys.update({path + p: moved(found) for p, found in value.keys.items()})


def _split(path: str) -> list[str]:
    parts, at = [], 0
    while at < len(path):
        match = _PART.match(path, at)
        if not match or (at == 0 and path[0] in ".["):
            return []
        parts.append(match[1] or match[2])
        at = match.end()
    return parts


def _descend(tree: Any, parts: list[str], mark: Mark) -> tuple[Any, Path]:
    node: Any = tree
    path: Path = ()
    for part in parts:
        step = _step(node, part, path, mark)
        if isinstance(node, dict):
            below = node.get(part)
            if below is None:
                node[part] = {}
            elif isinstance(below, str):
                node[part] = {"name": below}
        elif isinstance(node[step], str):
            node[step] = {"name": node[step]}
        node, path = node[step], (*path, step)
    return node, path


def _step(node: Any, part: str, path: Path, mark: Mark) -> Any:
    where = ".".join(map(str, path)) or "the file"
    if isinstance(node, Mapping):
        return part
    if not isinstance(node, list):
        raise ConfigError(mark.show(f"{where} is {node!r}, which has no {part!r} in it."))
    if not part.isdecimal() or int(part) >= len(node):
        last = len(node) - 1
        allowed = f"an index from 0 to {last}" if node else "nothing, for it is empty"
        raise ConfigError(mark.show(f"{where} is a list and takes {allowed}, got {part!r}."))
    return int(part)
