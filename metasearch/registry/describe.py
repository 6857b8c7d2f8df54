"""What settings a component takes, in words: for errors, tables and reference pages."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import pathlib
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from metasearch.registry.table import OneOf, Table, name_of

_WORDS: Mapping[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    pathlib.Path: "a path",
    Any: "anything",
    None: "null",
    type(None): "null",
    dict: "a mapping",
    Mapping: "a mapping",
}
_LISTS = {tuple, list, Sequence}
_UNIONS = {typing.Union, types.UnionType}


@functools.cache
def hints_of(cls: type) -> Mapping[str, Any]:
    """The annotations of a class, resolved; asked for at every value that is checked."""
    return typing.get_type_hints(cls, include_extras=True)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a component, as a search file may set it."""

    name: str
    kind: Any  # its annotation
    allowed: str  # in words
    required: bool
    default: Any = None  # a value or a component; None if there is none


def settings(cls: type) -> list[Setting]:
    """The settings of a component class, in the order of its fields."""
    hints = hints_of(cls)
    found = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        kind = hints[field.name]
        value = None if required else default
        found.append(Setting(field.name, kind, describe(kind), required, value))
    return found


@cache  # finding the source of a class means reading its whole module
def comments(cls: type) -> Mapping[str, str]:
    """What is written behind the fields of a component class, in its source: what they mean.

    Empty where there is no source, as in a program that was packed.
    """
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = lines[(node.end_lineno or node.lineno) - 1]
            _, mark, said = last.partition("  # ")
            if mark and not said.startswith(("noqa", "type:")):
                found[node.target.id] = said.strip()
    return found


def describe(kind: Any) -> str:
    """What values an annotation allows.

    >>> from typing import Literal
    >>> describe(Literal["sgd", "adam"] | None)
    "one of 'sgd', 'adam' or null"
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        return " or ".join(describe(arm) for arm in inner)
    if origin is typing.Annotated:
        table = table_of(kind)
        return describe(inner[0]) if table is None else _member(table)
    if origin is typing.Literal:
        return ("one of " if len(inner) > 1 else "") + ", ".join(map(repr, inner))
    if dataclasses.is_dataclass(kind):
        return f"a mapping with some of {', '.join(f.name for f in dataclasses.fields(kind))}"
    if origin in _LISTS and inner:
        return f"a list, each item {describe(inner[0])}"
    return _WORDS.get(origin or kind) or getattr(kind, "__name__", str(kind)).lower()


def _member(table: Table) -> str:
    return f"{table.a_kind}: {', '.join(sorted(table))}"


def table_of(kind: Any) -> Table | None:
    """The table whose members a field takes, if its annotation says `OneOf`."""
    marks = getattr(kind, "__metadata__", ())
    return next((mark.table for mark in marks if isinstance(mark, OneOf)), None)


def below(kind: Any, data: Any, part: str | int) -> Any:
    """The annotation of what stands at `part` below a field of this kind; None if unknown."""
    for arm in arms(kind):
        cls = class_of(arm, data)
        if cls is not None and isinstance(part, str):
            hint = hints_of(cls).get(part)
            if hint is not None:
                return hint
        origin, inner = typing.get_origin(arm), typing.get_args(arm)
        if origin in _LISTS and isinstance(part, int) and inner:
            fixed = origin is tuple and Ellipsis not in inner
            return inner[min(part, len(inner) - 1)] if fixed else inner[0]
        if origin in {dict, Mapping} and isinstance(part, str):
            return inner[1]
    return None


def arms(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one kind it is; what marks a table stays marked."""
    while typing.get_origin(kind) is typing.Annotated and table_of(kind) is None:
        kind = typing.get_args(kind)[0]
    return typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)


def class_of(kind: Any, data: Any) -> type | None:
    """The component class that `data` is meant for, where the annotation and its name tell."""
    table = table_of(kind)
    if table is not None:
        name = data if isinstance(data, str) else name_of(data)
        return table.get(name or "")
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None
