"""Components: frozen dataclasses found by name, checked by pydantic, rebuilt from plain data.

A room lists its members in one literal table, ``MODELS = Table("model", {"vae": VAE, ...})``.
A member's fields are the settings a search file may give it; `name` is how a file asks for it.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

from metasearch.errors import ConfigError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def component(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that refuses unknown keys in a file."""
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    made.__pydantic_config__ = {"extra": "forbid", "validate_default": True}  # type: ignore[attr-defined]
    return made


class Table(Mapping[str, type]):
    """The members of one room, by name; plug-ins join by the entry point `metasearch.<room>`.

    >>> Table("fruit", {"fig": int}).lookup("fgi")
    Traceback (most recent call last):
    ...
    metasearch.errors.ConfigError: no fruit is called 'fgi'; known: fig. Did you mean 'fig'?
    """

    def __init__(self, kind: str, members: Mapping[str, type], room: str = "") -> None:
        self.kind = kind
        self.room = room
        self._own = dict(members)
        self._plugins: dict[str, type] | None = None

    def _all(self) -> dict[str, type]:
        if self._plugins is None:
            points = importlib.metadata.entry_points(group=f"metasearch.{self.room}")
            self._plugins = {p.name: p.load() for p in points} if self.room else {}
        return self._own | self._plugins

    def add(self, name: str, cls: type) -> None:
        """Register a member of one's own for this process.

        Raises:
            ConfigError: `name` is taken by another class.
        """
        if self._all().get(name, cls) is not cls:
            raise ConfigError(f"a {self.kind} called {name!r} exists already; pick another name.")
        self._own[name] = cls

    def lookup(self, name: object) -> type:
        """The class called `name`.

        Raises:
            ConfigError: there is none; the message names the nearest.
        """
        members = self._all()
        if isinstance(name, str) and name in members:
            return members[name]
        raise ConfigError(self.unknown(name))

    def unknown(self, name: object) -> str:
        """The sentence that says `name` is not a member, what is, and what is near."""
        known = ", ".join(sorted(self))
        near = difflib.get_close_matches(str(name), list(self), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"no {self.kind} is called {name!r}; known: {known}.{hint}"

    def __getitem__(self, name: str) -> type:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class OneOf:
    """Marks a field as "one member of this table, by its `name`": `Annotated[Score, OneOf(SCORES)]`.

    A bare string counts as a mapping with that name, so `tasks: random` works in a file.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """A union told apart by `name`, so that errors point inside the right member."""
        from pydantic_core import core_schema

        choices = {name: handler.generate_schema(cls) for name, cls in self.table.items()}
        union = core_schema.tagged_union_schema(
            choices=choices,
            discriminator=lambda data: _name_of(data),
            custom_error_type="unknown_name",
            custom_error_message="{unknown}",
            custom_error_context={"unknown": "{unknown}"},
        )
        return core_schema.no_info_before_validator_function(self._prepare, union)

    def _prepare(self, data: Any) -> Any:
        from pydantic_core import PydanticCustomError

        data = {"name": data} if isinstance(data, str) else data
        name = _name_of(data)
        if name is None:
            allowed = ", ".join(sorted(self.table))
            raise PydanticCustomError(
                "no_name", "needs a `name`: one of {allowed}", {"allowed": allowed}
            )
        if name not in self.table:
            raise PydanticCustomError("unknown_name", "{text}", {"text": self.table.unknown(name)})
        return data


def _name_of(data: Any) -> str | None:
    name = data.get("name") if isinstance(data, Mapping) else getattr(data, "name", None)
    return name if isinstance(name, str) else None


def to_data(value: Any) -> Any:
    """A component as plain JSON-like data that `revive` and a search file accept."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_data(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_data(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_data(v) for v in value]
    return value


def revive(kind: Any, data: Any, where: str) -> Any:
    """Rebuild what `to_data` made, by the type hints, without pydantic (for bundles).

    `kind` is a component class, an annotation, or a `Table`.

    Raises:
        ConfigError: `data` does not fit; the message starts with `where` and the path below it.
    """
    if isinstance(kind, Table):
        return _revive_member(kind, data, where)
    if typing.get_origin(kind) is typing.Annotated:
        inner, *marks = typing.get_args(kind)
        table = next((m.table for m in marks if isinstance(m, OneOf)), None)
        return revive(table or inner, data, where)
    if dataclasses.is_dataclass(kind):
        return _revive_fields(kind, data, where)
    if typing.get_origin(kind) in {tuple, list} and isinstance(data, list | tuple):
        inner = typing.get_args(kind)[0]
        return tuple(revive(inner, item, f"{where}[{i}]") for i, item in enumerate(data))
    if not _fits(data, kind):
        raise ConfigError(f"{where}: {data!r} is not {kind}.")
    return data


def _revive_member(table: Table, data: Any, where: str) -> Any:
    name = _name_of(data)
    if name not in table:
        raise ConfigError(f"{where}: {table.unknown(name)}")
    return _revive_fields(table[name], data, where)


def _revive_fields(cls: Any, data: Any, where: str) -> Any:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {f.name for f in dataclasses.fields(cls) if f.init}
    if not isinstance(data, Mapping) or not set(data) <= fields:
        raise ConfigError(f"{where}: expected some of {sorted(fields)}, got {data!r}.")
    return cls(**{k: revive(hints[k], v, f"{where}.{k}") for k, v in data.items()})


def _fits(data: Any, kind: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        return any(_fits(data, arm) for arm in typing.get_args(kind))
    if origin is typing.Literal:
        return data in typing.get_args(kind)
    if kind is float:
        return isinstance(data, int | float) and not isinstance(data, bool)
    if kind is int:
        return isinstance(data, int) and not isinstance(data, bool)
    if kind is Any:
        return True
    if kind is None or kind is type(None):
        return data is None
    return isinstance(data, kind) if isinstance(kind, type) else True
