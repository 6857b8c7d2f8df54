"""Components, the tables that name them, and fields that hold one member of a table."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

from metasearch.errors import ConfigError, EnvironmentFault

T = TypeVar("T")
PLUGINS = "METASEARCH_PLUGINS"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def component(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that refuses unknown keys in a file."""
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    made.__pydantic_config__ = {"extra": "forbid", "validate_default": True}  # type: ignore[attr-defined]
    return made


def at_least(made: object, **least: float) -> None:
    """Refuse settings below what they mean something from: for a component's `__post_init__`.

    Raises:
        ValueError: one is, or is not a number.
    """
    for name, bound in least.items():
        if not getattr(made, name) >= bound:
            raise ValueError(f"{name} must be at least {bound}, got {getattr(made, name)!r}")


def at_most(made: object, **most: float) -> None:
    """Refuse settings that no machine could build: for a component's `__post_init__`.

    Raises:
        ValueError: one is above its bound.
    """
    for name, bound in most.items():
        if getattr(made, name) > bound:
            raise ValueError(f"{name} must be at most {bound}, got {getattr(made, name)!r}")


def nearest(name: object, known: Collection[str]) -> str:
    """The hint ``" Did you mean 'fig'?"``, or nothing if no known name is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class Table(Mapping[str, type]):
    """The members of one room, by name; plug-ins join by the entry point `metasearch.<room>`.

    >>> Table("fruit", {"fig": int}).lookup("fgi")
    Traceback (most recent call last):
    ...
    metasearch.errors.ConfigError: no fruit is called 'fgi'; known: fig. Did you mean 'fig'?
    """

    def __init__(
        self,
        kind: str,
        members: Mapping[str, type],
        room: str = "",
        ambiguous: Mapping[str, str] | None = None,
    ) -> None:
        """Hold members; `ambiguous` says of a name that may mean several of them which, and why."""
        self.kind = kind
        self.room = room
        self.ambiguous = dict(ambiguous or {})
        self._own = dict(members)
        self._guests: dict[str, str] = {}
        self._plugins: dict[str, type] | None = None

    @property
    def a_kind(self) -> str:
        """The kind with its article, for sentences."""
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"

    def _all(self) -> dict[str, type]:
        if self._plugins is None:
            self._plugins = {}  # a plug-in that is being loaded may look in here
            if self.room:
                self._plugins = self._load_plugins()
                _import_named()
        return self._own | self._plugins

    def _load_plugins(self) -> dict[str, type]:
        loaded = {}
        for point in importlib.metadata.entry_points(group=f"metasearch.{self.room}"):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            if point.name in self._own:
                raise EnvironmentFault(
                    f"the plug-in {package} brings {self.a_kind} called {point.name!r}, "
                    f"which exists already. Uninstall it, or have it take another name."
                )
            try:
                loaded[point.name] = point.load()
            except Exception as error:
                raise EnvironmentFault(
                    f"the plug-in {package} could not bring its {self.kind} {point.name!r}: "
                    f"{type(error).__name__}: {error}. Repair or uninstall it."
                ) from error
            self._guests[point.name] = package
        return loaded

    def guests(self) -> dict[str, str]:
        """The members from outside the package, and where each comes from."""
        self._all()
        return dict(self._guests)

    def add(self, name: str, cls: type) -> None:
        """Register a member of one's own for this process.

        Raises:
            ConfigError: `name` is taken by another class.
        """
        known = self._all().get(name, cls)
        # A cell of a notebook that is run again brings the same class anew.
        again = (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
        if known is not cls and not (again and name in self._guests):
            raise ConfigError(f"{self.a_kind} called {name!r} exists already; pick another name.")
        self._own[name] = cls
        if not cls.__module__.startswith("metasearch."):
            self._guests[name] = f"the module {cls.__module__}"

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
        if isinstance(name, str) and name in self.ambiguous:
            return f"{name!r} may mean several: {self.ambiguous[name]}"
        known = ", ".join(sorted(self))
        return f"no {self.kind} is called {name!r}; known: {known}.{nearest(name, self)}"

    def __getitem__(self, name: str) -> type:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _import_named() -> None:
    """Import the modules in the variable METASEARCH_PLUGINS, which register what they bring.

    Raises:
        EnvironmentFault: one cannot be imported.
    """
    for name in filter(None, os.environ.get(PLUGINS, "").split(",")):
        try:
            importlib.import_module(name.strip())
        except Exception as error:
            raise EnvironmentFault(
                f"{PLUGINS} names {name.strip()!r}, which cannot be imported "
                f"({type(error).__name__}: {error}). Repair it, or take it out."
            ) from error


class OneOf:
    """Marks a field as a member of a table, by its `name`: ``Annotated[Score, OneOf(SCORES)]``.

    A bare string counts as a mapping with that name, so `tasks: random` works in a file. A member
    that holds another of its own table, which does not exist yet where the member is written,
    gives a function that returns the table.
    """

    def __init__(self, table: Table | Callable[[], Table]) -> None:
        self._table = table

    @property
    def table(self) -> Table:
        """The table itself."""
        return self._table if isinstance(self._table, Table) else self._table()

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """A union told apart by `name`, so that errors point inside the right member."""
        from pydantic_core import core_schema

        choices = {}
        for name, cls in self.table.items():
            member = handler.generate_schema(cls)
            choices[name] = member
            choices[_bare(name)] = core_schema.no_info_before_validator_function(_named, member)
        return core_schema.tagged_union_schema(
            choices=choices,
            discriminator=_tag,
            custom_error_type="unknown_name",
            custom_error_message="no {kind} is called so",
            custom_error_context={"kind": self.table.kind},
        )

    def wrong_name(self, data: Any) -> str:
        """The sentence that says why `data` names no member of the table."""
        name = data if isinstance(data, str) else name_of(data)
        if name is not None:
            return self.table.unknown(name)
        known = ", ".join(sorted(self.table))
        return f"needs a `name` that says which {self.table.kind}; known: {known}."


def name_of(data: Any) -> str | None:
    """The name that plain data or a component carries, if any."""
    name = data.get("name") if isinstance(data, Mapping) else getattr(data, "name", None)
    return name if isinstance(name, str) else None


def _bare(name: str) -> str:
    return f"{name} by name alone"


def _named(name: str) -> dict[str, str]:
    return {"name": name}


def _tag(data: Any) -> str | None:
    return _bare(data) if isinstance(data, str) else name_of(data)
