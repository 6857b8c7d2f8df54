"""One's own members of a room, registered from outside the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from metasearch.errors import ConfigError
from metasearch.registry import nearest

T = TypeVar("T", bound=type)


def register(room: str) -> Callable[[T], T]:
    """Enter a component into a room for the life of this process: a decorator.

        @metasearch.register("models")
        @metasearch.component
        class Mine:
            name: Literal["mine"] = "mine"

    Rooms are `tasks`, `models`, `algorithms`, `selectors`, `scores` and `engine`. Workers of Ray
    are other processes: there a package with the entry point `metasearch.<room>` brings the member,
    or a module named in the variable METASEARCH_PLUGINS, which every process imports.

    Raises:
        ConfigError: there is no such room, the class has no `name`, or the name is taken.
    """
    from metasearch.trial.rooms import ROOMS

    if room not in ROOMS:
        known = ", ".join(ROOMS)
        raise ConfigError(f"no room is called {room!r}; known: {known}.{nearest(room, ROOMS)}")

    def enter(cls: T) -> T:
        name = getattr(cls, "name", None)
        if not isinstance(name, str):
            raise ConfigError(
                f"{cls.__name__} has no name. Give it one, as "
                'name: Literal["mine"] = "mine", and put @metasearch.component above it.'
            )
        ROOMS[room].add(name, cls)
        return cls

    return enter
