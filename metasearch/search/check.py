"""Every recipe that a tree with draws can make, held against the schema before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from metasearch import space
from metasearch.registry import Problem, Schema
from metasearch.space import Fault, Path

_ENOUGH = 100  # faults that differ, after which no further recipe is looked at

Problems = Callable[[Any], Iterable[tuple[Path, str]]]
"""What cannot be run in a component that fits its schema: (path, message)."""


def check_tree(
    schema: Schema,
    tree: Any,
    root: str,
    problems: Problems = lambda _: (),
    known: Iterable[Fault] = (),
) -> list[Fault]:
    """All that is wrong in any branch of a tree, at the places where it is written.

    The grammar first; then trees are resolved so that each bound, each option and every two
    options occur, and checked one by one. A draw that breaks the grammar hides what is in it only.

    Args:
        schema: of the tree once nothing is left to draw.
        tree: may hold draws.
        root: the key under which the tree stands in its file.
        problems: finds what the schema cannot say, such as two parts that do not fit together.
        known: what was found wrong with the tree before.
    """
    wrong = [*known, *space.faults(tree)]
    holes = {fault.within for fault in wrong if fault.within is not None}
    found: dict[tuple[Path, str], Fault] = {}
    for traced in space.covering(space.without(tree, holes)):
        if len(found) > _ENOUGH:
            break
        made, told = schema.parse(traced.tree)
        if not told:
            told = [Problem(path, message) for path, message in problems(made)]
        for problem in told:
            raw = traced.origin(problem.path)
            if any(raw[: len(hole)] == hole for hole in holes):
                continue
            fault = _place(problem, raw, tree, traced.tree)
            drawn = space.word_of(_at(tree, raw)) is not None
            # One word about a draw is enough: its bounds fail alike.
            found.setdefault((raw, "" if drawn else fault.message), fault)
    return [
        Fault((root, *fault.path), fault.message, fault.at_key)
        for fault in [*wrong, *found.values()]
    ]


def _place(problem: Problem, raw: Path, tree: Any, resolved: Any) -> Fault:
    message = problem.message
    node = _at(tree, raw)
    word = space.word_of(node)
    if word in {"uniform", "log_uniform"} and message.startswith("expected an integer"):
        whole = "integers" if word == "uniform" else "log_integers"
        message = f"expected an integer, but {word!r} draws any number. Use {whole!r}."
    elif word:
        message += f" It may be drawn as {_at(resolved, problem.path)!r}."
    else:
        message += _meant_word(_at(tree, raw[:-1]) if problem.at_key else node)
    return Fault(raw, message, problem.at_key)


def _meant_word(node: Any) -> str:
    """The draw that a mapping nearly is."""
    if isinstance(node, Mapping) and len(node) == 1:
        near = difflib.get_close_matches(next(iter(node)), space.WORDS, n=1)
        return f" Did you mean the draw {near[0]!r}?" if near else ""
    return ""


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree
