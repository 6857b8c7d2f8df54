"""A search file to start from: a shipped search of one family, over one's own data, explained."""

from __future__ import annotations

import re
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from metasearch import space
from metasearch.errors import ConfigError, DataError
from metasearch.models import MODELS
from metasearch.registry import arms, below, class_of, comments, nearest, to_data
from metasearch.search.config import SearchConfig, SearchFile
from metasearch.tasks.base import DERIVED, SPLITS, TaskSource
from metasearch.tasks.wrapping import Described

WIDTH = 100
EPISODES = ((5, 10, 5), (5, 5, 5), (4, 4, 4), (3, 4, 3), (2, 3, 2))
"""Shot, query and anchor to try, the first that a source has images enough for is taken."""

_KEPT = 0.8  # the share of classes that must have images enough for an episode


def families(spaces: Path, domains: tuple[str, ...] = ("x",)) -> dict[str, Path]:
    """The families that a shipped search is about, each with its file for data of these domains."""
    found: dict[str, Path] = {}

    def order(file: Path) -> tuple[bool, bool, bool, Path]:
        # Where there are strokes those that write; then those over the built-in letters, which
        # need nothing else, and last those over handwriting.
        writes, far = file.stem.endswith("strokes"), file.stem.startswith("omniglot")
        return "t" in domains and not writes, not file.stem.startswith("glyphs"), far, file

    for file in sorted(spaces.glob("*.yaml"), key=order):
        models = space.load(file).tree["trial"]["models"]
        options = [
            o for m in models for o in (m.get("choice", [m]) if isinstance(m, dict) else [m])
        ]
        names = {o["name"] if isinstance(o, dict) else o for o in options}
        if len(names) == 1:
            found.setdefault(names.pop(), file)
    return found


def fitted(source: TaskSource) -> tuple[TaskSource, Described]:
    """The source with as large episodes as most of its classes have images for, opened.

    Raises:
        DataError: even the smallest are too large, or the source cannot be read.
    """
    known = {f.name for f in fields(source)}  # type: ignore[arg-type]  # a dataclass
    if not {"shot", "query", "anchor"} <= known:
        return source, source.open()  # type: ignore[return-value]
    found: list[tuple[int, TaskSource, Described]] = []
    for shot, query, anchor in EPISODES:
        one = replace(source, shot=shot, query=query, anchor=anchor)  # type: ignore[type-var]
        try:
            opened: Described = one.open()  # type: ignore[assignment]
        except DataError:
            if not found and (shot, query, anchor) == EPISODES[-1]:
                raise
            continue
        found.append((sum(len(opened.tasks(split)) for split in SPLITS), one, opened))
        if not opened.notes.get("small_classes_dropped"):
            break
    most = max(count for count, *_ in found)
    return next((one, opened) for count, one, opened in found if count >= _KEPT * most)


def draft(source: TaskSource, domains: tuple[str, ...], family: str | None, spaces: Path) -> str:
    """The text of a search file over a source.

    Raises:
        ConfigError: the name may mean several families, no shipped search is about the family, or
            it does not fit the data.
    """
    known = families(spaces, domains)
    fitting = [name for name in known if set(MODELS[name]().domains) <= {*domains, *DERIVED}]
    family = family or ("vae" if "vae" in fitting else next(iter(fitting), None))
    if family in MODELS.ambiguous:
        raise ConfigError(MODELS.unknown(family))
    if family not in fitting:
        why = "needs other data" if family in known else "is in no shipped search"
        raise ConfigError(
            f"the family {family!r} {why}; for these data there are: {', '.join(fitting)}."
            f"{nearest(family, fitting)} Or write a file by hand: `metasearch components models`."
        )
    text = _over(known[family].read_text("utf-8"), source)
    others = ", ".join(name for name in fitting if name != family)
    head = [
        f"# A search over recipes of the family {family}; begun from {known[family].name}.",
        "# What stands in braces is drawn anew for each trial: choice, uniform, log_uniform,",
        "# integers, log_integers. All else is the same in all trials.",
        *textwrap.wrap(
            f"Other families for these data: {others or 'none'}.",
            WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
        ),
    ]
    body = re.sub(r"\A(#.*\n)+", "", text)
    written = _explained("\n".join(head) + "\n" + body)
    SearchFile.from_yaml(written)
    return written


def _over(text: str, source: TaskSource) -> str:
    """The text with the source in the place of its own."""
    document = space.parse(text, "a shipped search")
    keys = document.keys
    first = keys["trial", "tasks"].line - 1
    after = sorted(m.line - 1 for p, m in keys.items() if p[0] == "trial" and len(p) == 2)
    last = next(line for line in after if line > first)
    lines = text.splitlines()
    indent = " " * (keys["trial", "tasks"].column - 1)
    lines[first:last] = [f"{indent}tasks: {space.inline(_brief(source))}"]
    return "\n".join(lines) + "\n"


def _brief(source: TaskSource) -> dict[str, Any]:
    """What a source is asked for with: what differs from its defaults, and its sizes."""
    plain = to_data(source)
    always = {"name", "path", "size", "shot", "query", "anchor", "source", "kind"}
    defaults = {f.name: to_data(f.default) for f in fields(source)}  # type: ignore[arg-type]
    return {k: v for k, v in plain.items() if k in always or v != defaults[k]}


def _explained(text: str) -> str:
    """The text with a comment at each key that has one in the code, where there is room."""
    from metasearch.trial.config import TrialConfig

    document = space.parse(text, "search.yaml")
    lines, done = text.splitlines(), set()
    roots: Mapping[str, Any] = {"search": SearchConfig, "trial": TrialConfig}
    for path, mark in document.keys.items():
        if len(path) < 2 or mark.line in done:
            continue
        done.add(mark.line)
        said = _said(roots[str(path[0])], document.tree[path[0]], path[1:])
        line = lines[mark.line - 1]
        if said and " #" not in line and len(line) + len(said) + 4 <= WIDTH:
            lines[mark.line - 1] = f"{line}  # {said}"
    return "\n".join(lines) + "\n"


def _said(kind: Any, node: Any, path: space.Path) -> str:
    """What the code says of the setting at `path`."""
    said = ""
    for part in path:
        if part == "choice":
            node = node[part]
            continue
        if isinstance(part, int) and isinstance(node, list) and not _is_list(kind):
            node = node[part]  # an option of a choice is of the kind of the choice
            continue
        cls = next((c for arm in arms(kind) if (c := class_of(arm, node))), None)
        said = comments(cls).get(str(part), "") if cls and isinstance(part, str) else ""
        kind, node = below(kind, node, part), node[part]
    return said


def _is_list(kind: Any) -> bool:
    return any(typing.get_origin(arm) in {tuple, list} for arm in arms(kind))
