"""Components: frozen dataclasses found by name, checked by pydantic, rebuilt from plain data.

A room lists its members in one literal table, ``MODELS = Table("model", {"vae": VAE, ...})``.
A member's fields are the settings a search file may give it; `name` is how a file asks for it.
"""

from metasearch.registry.describe import (
    Setting,
    arms,
    below,
    class_of,
    comments,
    describe,
    settings,
    table_of,
)
from metasearch.registry.plain import revive, to_data
from metasearch.registry.schema import Problem, Schema
from metasearch.registry.table import OneOf, Table, at_least, at_most, component, nearest

__all__ = [
    "OneOf",
    "Problem",
    "Schema",
    "Setting",
    "Table",
    "arms",
    "at_least",
    "at_most",
    "below",
    "class_of",
    "comments",
    "component",
    "describe",
    "nearest",
    "revive",
    "settings",
    "table_of",
    "to_data",
]
