"""Components to plain data and back, without pydantic: bundles are read where it is not."""

from __future__ import annotations

import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from metasearch.errors import ConfigError
from metasearch.registry.describe import describe, hints_of, table_of
from metasearch.registry.table import OneOf, Table, name_of, nearest

_LARGEST = 2**1023  # that a float can hold


def to_data(value: Any) -> Any:
    """A component as plain JSON-like data that `revive` and a search file accept."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if f.init]
        return {f.name: to_data(getattr(value, f.name)) for f in fields}
    if isinstance(value, Mapping):
        return {str(k): to_data(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_data(v) for v in value]
    return str(value) if isinstance(value, pathlib.PurePath) else value


def revive(kind: Any, data: Any, where: str) -> Any:
    """Rebuild what `to_data` made, by the type hints.

    `kind` is a component class, an annotation, or a `Table`.

    Raises:
        ConfigError: `data` does not fit; the message starts with `where` and the path below it.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    table = kind if isinstance(kind, Table) else table_of(kind)
    if table is not None:
        return _revive_member(table, data, where)
    if origin is typing.Annotated:
        return revive(inner[0], data, where)
    if origin in {typing.Union, types.UnionType}:
        return _revive_union(inner, data, where)
    if dataclasses.is_dataclass(kind):
        return _revive_fields(kind, data, where)
    return _revive_plain(kind, data, where)


def _revive_plain(kind: Any, data: Any, where: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {tuple, list, Sequence} and isinstance(data, list | tuple):
        return _revive_items(origin, inner, data, where)
    if origin in {dict, Mapping} and isinstance(data, Mapping):
        return {k: revive(inner[1], v, f"{where}.{k}") for k, v in data.items()}
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath) and isinstance(data, str):
        return kind(data)
    if not _fits(data, kind):
        raise ConfigError(f"{where}: expected {describe(kind)}, got {_brief(data)}.")
    return data


def _brief(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "..."


def _revive_member(table: Table, data: Any, where: str) -> Any:
    data = {"name": data} if isinstance(data, str) else data
    name = name_of(data)
    if name is None or name not in table:
        raise ConfigError(f"{where}: {OneOf(table).wrong_name(data)}")
    return _revive_fields(table[name], data, where)


def _revive_fields(cls: Any, data: Any, where: str) -> Any:
    hints = hints_of(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected a mapping of settings, got {_brief(data)}.")
    for key in data.keys() - fields.keys():
        known = ", ".join(fields)
        hint = nearest(key, fields)
        raise ConfigError(f"{where}: no setting is called {key!r}; known: {known}.{hint}")
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise ConfigError(f"{where}: {name!r} is missing; it is {describe(hints[name])}.")
    values = {key: revive(hints[key], value, f"{where}.{key}") for key, value in data.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _revive_union(arms: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in arms:
        return None
    wrong = []
    for arm in arms:
        try:
            return revive(arm, data, where)
        except ConfigError as error:
            wrong.append((arm is type(None), str(error)))
    raise ConfigError(min(wrong)[1])


def _revive_items(origin: Any, inner: tuple[Any, ...], data: Sequence[Any], where: str) -> Any:
    if origin is tuple and Ellipsis not in inner:
        if len(data) != len(inner):
            raise ConfigError(f"{where}: expected {len(inner)} values, got {len(data)}.")
        kinds: Sequence[Any] = inner
    else:
        kinds = [inner[0]] * len(data)
    both = enumerate(zip(kinds, data, strict=True))
    made = (revive(kind, value, f"{where}[{i}]") for i, (kind, value) in both)
    return list(made) if origin is list else tuple(made)


def _fits(data: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is typing.Literal:
        return any(
            data == allowed and type(data) is type(allowed) for allowed in typing.get_args(kind)
        )
    if kind is float:
        return isinstance(data, float) or (_is_int(data) and abs(data) <= _LARGEST)
    if kind is int:
        return _is_int(data) and abs(data) < 2**63
    if kind is None or kind is type(None):
        return data is None
    if kind is Any:
        return True
    plain = typing.get_origin(kind) or kind
    return isinstance(data, plain) if isinstance(plain, type) else True


def _is_int(data: Any) -> bool:
    return isinstance(data, int) and not isinstance(data, bool)
