"""The JSON schema of a search file: what an editor completes, explains and underlines.

It says less than `space check`: what two settings mean to each other, and bounds, only that knows.
"""

from __future__ import annotations

import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from metasearch.registry import Table, comments, settings, table_of, to_data
from metasearch.search.config import ALIKE, SearchConfig
from metasearch.space import Path

Node = dict[str, Any]

_PLAIN: Mapping[Any, str] = {
    int: "integer",
    float: "number",
    bool: "boolean",
    str: "string",
    None: "null",
    type(None): "null",
}
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "integer": ("integers", "log_integers"),
    "number": ("uniform", "log_uniform"),
}


def json_schema() -> Node:
    """The schema of a whole search file, JSON Schema draft 7."""
    from metasearch.trial.config import TrialConfig

    search, trial = _Writer(), _Writer(drawn=True)
    sections = {
        "search": search.component(SearchConfig, ()),
        "trial": trial.component(TrialConfig, ()),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "a search file of metasearch",
        "type": "object",
        "properties": sections,
        "required": ["trial"],
        "additionalProperties": False,
        "definitions": search.members | trial.members | _draws(),
    }


def _draws() -> dict[str, Node]:
    """The four words that draw a number."""
    found = {}
    for kind, words in _NUMBERS.items():
        bound = {"type": kind}
        for word in words:
            found[word] = _only(
                word, {"type": "array", "items": bound, "minItems": 2, "maxItems": 2}
            )
    return found


def _only(word: str, value: Node) -> Node:
    return {
        "type": "object",
        "properties": {word: value},
        "required": [word],
        "additionalProperties": False,
    }


@dataclasses.dataclass
class _Writer:
    """Writes annotations as schemas; members of tables are written once, and referred to."""

    drawn: bool = False  # whether what is written may be drawn
    members: dict[str, Node] = dataclasses.field(default_factory=dict)

    def component(self, cls: type, path: Path) -> Node:
        """A mapping with the settings of a component."""
        hints, said = typing.get_type_hints(cls, include_extras=True), comments(cls)
        properties, required = {}, []
        for setting in settings(cls):
            node = self.setting(hints[setting.name], (*path, setting.name))
            if setting.name in said:
                node = {**node, "description": said[setting.name]}
            if setting.required:
                required.append(setting.name)
            elif setting.default is not None:
                node = {**node, "default": to_data(setting.default)}
            properties[setting.name] = node
        if self.drawn and path:  # an option of a choice
            properties.setdefault("label", {"type": "string"})
        return {
            "type": "object",
            "description": (cls.__doc__ or "").strip().partition("\n")[0],
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def setting(self, kind: Any, path: Path) -> Node:
        """What may stand for a setting: its value, or a draw of it."""
        if not self.drawn or "seed" in path or any(path[: len(place)] == place for place in ALIKE):
            return _Writer(members=self.members).value(kind, path)
        plain = self.value(kind, path)
        if any(place[: len(path)] == path for place in ALIKE):  # a part of it may not be drawn
            return plain
        ways = [plain, _only("choice", {"type": "array", "items": plain, "minItems": 1})]
        kinds = {arm.get("type") for arm in plain.get("anyOf", [plain])}
        for number in sorted(kinds & _NUMBERS.keys(), key=str):
            ways += [{"$ref": f"#/definitions/{word}"} for word in _NUMBERS[str(number)]]
        return {"anyOf": ways}

    def value(self, kind: Any, path: Path) -> Node:
        """What an annotation allows."""
        table, origin, inner = table_of(kind), typing.get_origin(kind), typing.get_args(kind)
        if table is not None:
            return self.member(table)
        if origin is typing.Annotated:
            return self.value(inner[0], path)
        if origin in {typing.Union, types.UnionType}:
            return {"anyOf": [self.value(arm, path) for arm in inner]}
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return self.component(kind, path)
        return self.items(kind, path) if origin in {tuple, list, Sequence} else _leaf(kind)

    def items(self, kind: Any, path: Path) -> Node:
        """A list, or a tuple of so many."""
        inner = typing.get_args(kind)
        if typing.get_origin(kind) is tuple and Ellipsis not in inner:
            each = [self.setting(arm, (*path, i)) for i, arm in enumerate(inner)]
            return {"type": "array", "items": each, "minItems": len(each), "maxItems": len(each)}
        return {"type": "array", "items": self.setting(inner[0], (*path, 0))}

    def member(self, table: Table) -> Node:
        """A member of a table: its name alone, or a mapping with it."""
        ways: list[Node] = [{"enum": sorted(table)}]
        for name, cls in table.items():
            key = f"{table.kind} {name}" + " drawn" * self.drawn
            if key not in self.members:
                self.members[key] = {}  # it may hold another of its own table
                node = self.component(cls, ("member",))
                node["properties"]["name"] = {"const": name, "description": node["description"]}
                self.members[key] = {**node, "required": [*node["required"], "name"]}
            ways.append({"$ref": f"#/definitions/{key}".replace(" ", "%20")})
        return {"anyOf": ways}


def _leaf(kind: Any) -> Node:
    """A plain value."""
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return {"enum": list(typing.get_args(kind))}
    if (origin or kind) in {dict, Mapping}:
        return {"type": "object"}
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        return {"type": "string"}
    return {"type": _PLAIN[kind]} if kind in _PLAIN else {}
