"""The tables of all rooms that a trial is made of, and what in them came from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metasearch.algorithms import ALGORITHMS
from metasearch.engine import ENGINES
from metasearch.models import MODELS
from metasearch.registry import Table
from metasearch.scores import SCORES
from metasearch.selectors import SELECTORS
from metasearch.tasks import SOURCES

ROOMS: Mapping[str, Table] = {
    "tasks": SOURCES,
    "models": MODELS,
    "algorithms": ALGORITHMS,
    "selectors": SELECTORS,
    "scores": SCORES,
    "engine": ENGINES,
}


def plugins_in(data: Any) -> dict[str, str]:
    """The members from outside that a config names, as `room/name` -> where they come from.

    `data` is plain, with or without draws.
    """
    named = set(_names(data))
    return {
        f"{room}/{name}": source
        for room, table in ROOMS.items()
        for name, source in table.guests().items()
        if name in named
    }


def missing(plugins: Mapping[str, str]) -> dict[str, str]:
    """Those of `plugins_in` that are not here."""
    apart = {key: key.partition("/") for key in plugins}
    return {
        key: plugins[key]
        for key, (room, _, name) in apart.items()
        if room not in ROOMS or name not in ROOMS[room]
    }


def _names(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _names(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _names(value)
