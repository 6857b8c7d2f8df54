"""Plain data checked against a component class by pydantic, with faults told in our words.

Values must be of the right type, as in JSON: a whole number is a number, but "5" is no integer and
"yes" is not true.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from metasearch.errors import ConfigError
from metasearch.registry.describe import arms, below, class_of, describe, table_of
from metasearch.registry.plain import to_data
from metasearch.registry.table import OneOf, name_of, nearest

Path = tuple[str | int, ...]

_MISSING = "missing"
_UNKNOWN_KEY = "unexpected_keyword_argument"
_WRONG_TYPE = re.compile(
    r"(int|float|bool|string|tuple|list|dataclass|dict|mapping|path)_type|int_from_float|"
    r"literal_error|none_required|unknown_name|too_long"
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with plain data."""

    path: Path
    message: str
    at_key: bool = False  # the key is wrong, not its value


class Schema:
    """What plain data must look like to become a component of one kind."""

    def __init__(self, kind: Any) -> None:
        from pydantic import TypeAdapter

        self.kind = kind
        self._adapter = TypeAdapter(kind)

    def parse(self, data: Any) -> tuple[Any, list[Problem]]:
        """The component that `data` describes, or None and all that is wrong."""
        from pydantic import ValidationError

        plain = to_data(data)
        try:
            return self._adapter.validate_json(json.dumps(plain), strict=True), []
        except ValidationError as error:
            found = (_tell(self.kind, plain, e) for e in error.errors(include_url=False))
            return None, list(dict.fromkeys(found))

    def build(self, data: Any, where: str = "") -> Any:
        """The component that `data` describes.

        Raises:
            ConfigError: it describes none; all faults are listed, each with its path below `where`.
        """
        made, problems = self.parse(data)
        if problems:
            lines = [f"{_join(where, p.path)}: {p.message}" for p in problems]
            raise ConfigError("\n".join(lines))
        return made


def _join(where: str, path: Path) -> str:
    for part in path:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else part
    return where


def _tell(kind: Any, data: Any, error: Mapping[str, Any]) -> Problem:
    """One pydantic error in our words, at its path in the data."""
    what, loc = error["type"], error["loc"]
    if what in {_MISSING, _UNKNOWN_KEY}:
        path, kind, data = _follow(kind, data, loc[:-1])
        key = loc[-1]
        if what == _MISSING:
            return Problem((*path, key), f"is missing; it is {describe(below(kind, data, key))}.")
        return Problem((*path, key), _unknown_key(kind, data, key), at_key=True)
    path, kind, data = _follow(kind, data, loc)
    if what == "unknown_name" and isinstance(data, str | Mapping):
        table = next(t for arm in arms(kind) if (t := table_of(arm)) is not None)
        named = isinstance(data, Mapping) and "name" in data
        return Problem((*path, "name") if named else path, OneOf(table).wrong_name(data))
    if what == "value_error":
        message = str(error["ctx"]["error"]).rstrip(".")
        return Problem(path + _culprit(data, message), f"{message}.")
    if _WRONG_TYPE.fullmatch(what) and kind is not None:
        return Problem(path, f"expected {describe(kind)}, got {_show(data)}.{_advice(kind, data)}")
    return Problem(path, f"{error['msg']}; got {_show(data)}.")


def _follow(kind: Any, data: Any, loc: Iterable[Any]) -> tuple[Path, Any, Any]:
    """Where `loc` leads: the path in the data, and what is there, as annotation and as value.

    Pydantic puts the tags of unions between the keys; they are left out.
    """
    path: Path = ()
    tagged = False  # a tag comes once for each place, and may equal a key there
    for part in loc:
        tag = (
            not tagged
            and part == name_of(data)
            and any(table_of(a) is not None for a in arms(kind))
        )
        if _holds(data, part) and not tag:
            kind, data, path = below(kind, data, part), data[part], (*path, part)
            tagged = False
        else:
            tagged = True
    return path, kind, data


def _holds(data: Any, part: Any) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _unknown_key(kind: Any, data: Any, key: Any) -> str:
    cls = next((c for arm in arms(kind) if (c := class_of(arm, data))), None)
    known = [f.name for f in fields(cls) if f.init] if cls else []
    return f"no setting is called so here; known: {', '.join(known)}.{nearest(key, known)}"


def _culprit(data: Any, message: str) -> Path:
    """The setting a component complains of, if its message names exactly one that was given."""
    words = set(re.findall(r"\w+", message))
    named = [key for key in data if key in words] if isinstance(data, Mapping) else []
    return tuple(named) if len(named) == 1 else ()


def _show(data: Any) -> str:
    if isinstance(data, Mapping):
        return f"a mapping with {', '.join(map(repr, data))}"[:80] if data else "an empty mapping"
    if isinstance(data, list):
        return f"a list of {len(data)}"
    text = json.dumps(data) if data is None or isinstance(data, bool) else repr(data)
    return text if len(text) <= 60 else text[:57] + "..."


def _advice(kind: Any, data: Any) -> str:
    kinds = [arm for arm in arms(kind) if arm is not type(None)]
    if isinstance(data, float) and data.is_integer() and int in kinds:
        return f" Write {int(data)}."
    if not isinstance(data, str):
        return ""
    if bool in kinds and data.lower() in {"yes", "on", "no", "off"}:
        return f" Write {'true' if data.lower() in {'yes', 'on'} else 'false'}."
    if {int, float} & set(kinds) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", data.lower()):
        return " Remove the quotes."
    words = [w for arm in kinds for w in typing.get_args(arm) if isinstance(w, str)]
    return nearest(data, words)
