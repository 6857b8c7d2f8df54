"""A YAML file as plain data that remembers where each of its values stands.

What a plain word means follows YAML 1.2: ``1e-3`` is a number and ``on`` a text. Only plain data
is built, from the parser's nodes, so a file cannot name a Python object.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from metasearch.errors import ConfigError
from metasearch.space.mark import Mark, listed

Path = tuple[str | int, ...]
"""Where a value stands in a tree: keys of mappings and indices of lists, from the root."""

MAX_BYTES = 1_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 60

_PLAIN = (  # tag, what a plain word with this meaning looks like, its possible first letters
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+(_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
)
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    # None of YAML 1.1's.
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


for _tag, _looks, _first in _PLAIN:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _tag, re.compile(rf"^(?:{_looks})$"), list(_first))


@dataclass(frozen=True)
class Fault:
    """Something wrong at a path of a tree."""

    path: Path
    message: str
    at_key: bool = False  # point at the key, not at its value
    within: Path | None = None  # the draw that cannot be made because of it


@dataclass(frozen=True)
class Document:
    """A file's tree, and where each key and value of it stands."""

    source: str
    tree: Any  # a mapping, if it was loaded from a file
    values: Mapping[Path, Mark] = field(repr=False)
    keys: Mapping[Path, Mark] = field(repr=False)

    def mark(self, path: Path, *, at_key: bool = False) -> Mark:
        """The place of `path`, or of the nearest thing above it."""
        for end in range(len(path), -1, -1):
            # A path that is missing is best shown by the key of what lacks it.
            found = self.keys if at_key or end < len(path) else self.values
            for places in (found, self.values):
                if path[:end] in places:
                    return places[path[:end]]
        return Mark(self.source, 1, 1, "")

    def error(self, faults: Iterable[Fault]) -> ConfigError:
        """One error that lists all faults in the order of the file, each with its place."""
        from metasearch.space.grammar import readable

        placed = []
        for fault in faults:
            mark = self.mark(fault.path, at_key=fault.at_key)
            name = readable(self.tree, fault.path)
            message = f"{name}: {fault.message}" if name else fault.message
            placed.append((not mark.line, mark.line, mark.column, mark.show(message)))
        shown = list(dict.fromkeys(text for *_, text in sorted(placed, key=lambda p: p[:3])))
        return ConfigError(listed(shown))


def load(path: str | pathlib.Path) -> Document:
    """Read a YAML file whose root is a mapping.

    Raises:
        ConfigError: it cannot be read, is not YAML, is not a mapping, repeats a key, carries a tag,
            or is too large once its aliases are written out. All such faults are told at once.
    """
    file = pathlib.Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text in UTF-8 (byte {error.start}).") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Give the path of a YAML file."
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes; is this a search file?")
    document = parse(text, str(path))
    if not isinstance(document.tree, dict):
        came = "nothing" if document.tree is None else "no mapping"
        raise ConfigError(f"{path}: the file holds {came}; it needs `key: value` lines.")
    return document


def parse(text: str, source: str, *, lines: bool = True) -> Document:
    """Any YAML value as a document; `lines` is False for what came by a flag.

    Raises:
        ConfigError: as `load`.
    """
    node = _compose(text, source, lines=lines)
    builder = _Builder(source, text.splitlines(), lines=lines)
    tree = None if node is None else builder.build(node, ())
    if builder.wrong:
        raise ConfigError(listed([mark.show(message) for mark, message in builder.wrong]))
    return Document(source, tree, builder.values, builder.keys)


def dump(tree: Any) -> str:
    """Plain data as YAML that `load` reads back as the same data; keys keep their order."""
    return yaml.dump(
        tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


def inline(value: Any) -> str:
    """Plain data as one line of YAML."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=1e9)
    return text.removesuffix("\n").removesuffix("\n...")


def _compose(text: str, source: str, *, lines: bool) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply to be read.") from error
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        row, column = (place.line, place.column) if place else (0, 0)
        rows = text.splitlines() or [""]
        row = min(row, len(rows) - 1)
        mark = Mark(source, row + 1 if lines else 0, column + 1, rows[row])
        came = f"{error.problem}"
        if came.startswith("but ") and error.context:
            came = f"{error.context}, {came}"
        raise ConfigError(mark.show(_explain(came))) from error
    except yaml.YAMLError as error:  # a character that no YAML file may hold
        raise ConfigError(f"{source}: not a YAML text ({error}).".replace("\n", " ")) from error


def _explain(problem: str) -> str:
    hints = {
        "'\\t'": "Indent with spaces.",
        "mapping values are not allowed": "Quote a text that holds a colon.",
        "cannot start any token": "Quote a text that starts so.",
        "undefined alias": "Name it with `&` further up, or quote a text that starts with `*`.",
        "expected a single document": "Keep one; `---` starts another.",
        "expected <block end>": "Check the indentation.",
    }
    hint = next((h for part, h in hints.items() if part in problem), "Check brackets and quotes.")
    return f"not YAML: {problem}. {hint}"


class _Builder:
    """Builds plain data from the parser's nodes; an alias becomes a copy of what it stands for."""

    def __init__(self, source: str, rows: list[str], *, lines: bool) -> None:
        self.values: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}
        self.wrong: list[tuple[Mark, str]] = []
        self._source, self._rows, self._lines = source, rows, lines
        self._open: set[int] = set()

    def _mark(self, node: yaml.Node) -> Mark:
        row, column = node.start_mark.line, node.start_mark.column
        text = self._rows[row] if row < len(self._rows) else ""
        return Mark(self._source, row + 1 if self._lines else 0, column + 1, text)

    def build(self, node: yaml.Node, path: Path) -> Any:
        mark = self._mark(node)
        self.values[path] = mark
        if id(node) in self._open:
            raise ConfigError(mark.show("an alias stands inside itself. Write out what it means."))
        if len(self.values) > MAX_VALUES or len(path) > MAX_DEPTH:
            limit = f"{MAX_VALUES:,} values or {MAX_DEPTH} levels"
            raise ConfigError(mark.show(f"more than {limit} come of this file. Make it smaller."))
        self._open.add(id(node))
        built = self._content(node, path, mark)
        self._open.discard(id(node))
        return built

    def _content(self, node: yaml.Node, path: Path, mark: Mark) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, mark)
        if node.tag not in {_TAG + "map", _TAG + "seq"}:
            self.wrong.append((mark, f"tags such as {node.tag!r} are not allowed. Remove it."))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._mapping(node, path)

    def _mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = self._mark(key_node)
            plain = isinstance(key_node, yaml.ScalarNode)
            key = self._scalar(key_node, mark) if plain else None
            if not isinstance(key, str):
                self.wrong.append((mark, "a key must be a word. Quote it if it looks like none."))
            elif key == "<<":
                self.wrong.append((mark, "merge keys are not allowed. Write the keys out."))
            elif key in made:
                first = self.keys[*path, key].line
                again = f"line {first}" if first else "further left"
                self.wrong.append((mark, f"{key!r} stands here and in {again}. Keep one."))
            else:
                self.keys[*path, key] = mark
                made[key] = self.build(value_node, (*path, key))
        return made

    def _scalar(self, node: yaml.ScalarNode, mark: Mark) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        try:
            return _SCALARS[kind](text)
        except KeyError:
            message = f"tags such as {node.tag!r} are not allowed. Remove it."
        except ValueError:
            message = f"{text[:40]!r} is not a {kind}."
        self.wrong.append((mark, message))
        return None


def _text(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(text)
    return text


def _bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _float(text: str) -> float:
    text = text.lower().replace("_", "")
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "str": _text,
    "bool": _bool,
    "int": lambda text: int(text, 0 if text[:2] in {"0x", "0o"} else 10),
    "float": _float,
    "null": lambda _: None,
}
