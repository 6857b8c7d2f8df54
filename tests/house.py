"""The package as tests of its shape see it: rooms, their modules, their tables."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import metasearch
from metasearch.registry import Table

PACKAGE = Path(metasearch.__file__).parent
ROOT = PACKAGE.parent
FAMILIES = ("algorithms", "engine", "models", "scores", "selectors", "tasks")
"""Rooms with a table: one file per member."""


def modules_of(room: str) -> dict[str, ModuleType]:
    """The imported modules of a room, by their name in it."""
    package = importlib.import_module(f"metasearch.{room}")
    names = [found.name for found in pkgutil.iter_modules(package.__path__)]
    return {name: importlib.import_module(f"metasearch.{room}.{name}") for name in names}


def tables_of(room: str) -> list[Table]:
    """Every table that stands in a room or in one of its modules."""
    package = importlib.import_module(f"metasearch.{room}")
    spaces = [vars(package), *(vars(module) for module in modules_of(room).values())]
    return [value for space in spaces for value in space.values() if isinstance(value, Table)]


def members_in(module: ModuleType) -> dict[str, type]:
    """The components that a module defines and a file asks for by name."""
    return {
        field.default: cls
        for cls in vars(module).values()
        if isinstance(cls, type)
        and cls.__module__ == module.__name__
        and dataclasses.is_dataclass(cls)
        for field in dataclasses.fields(cls)
        if field.name == "name" and isinstance(field.default, str)
    }
