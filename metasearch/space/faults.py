"""What is wrong with the draws of a tree, before anything is drawn."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from metasearch.errors import ConfigError
from metasearch.space.document import Fault, Path
from metasearch.space.grammar import (
    WORDS,
    Draw,
    Kind,
    Label,
    children,
    label_of,
    readable,
    walk,
    word_of,
)


def draws(tree: Any) -> list[Draw]:
    """Everything that is searched, in the order of the file.

    Raises:
        ConfigError: the tree breaks the grammar; all faults are listed.
    """
    check(tree)
    return list(walk(tree))


def check(tree: Any) -> None:
    """See that a tree keeps to the grammar.

    Raises:
        ConfigError: it does not; all faults are listed.
    """
    if wrong := list(faults(tree)):
        raise ConfigError("\n".join(f"{readable(tree, f.path)}: {f.message}" for f in wrong))


def faults(tree: Any, path: Path = ()) -> Iterator[Fault]:
    """All that breaks the grammar in a tree, in the order of the file."""
    word = word_of(tree)
    if word:
        if not path:
            yield Fault(path, f"a whole tree cannot be one {word!r}; draw its parts.", within=path)
        elif "seed" in path:
            yield Fault(
                path,
                "seeds are never drawn, for a sampler would tune them. Write one number.",
                within=path,
            )
        see = _choice_faults if word == "choice" else _bound_faults
        yield from see(word, tree[word], path)
        return
    for part, child in children(tree):
        if part in WORDS:
            yield Fault((*path, part), _BESIDE.format(part), at_key=True, within=path)
        else:
            yield from faults(child, (*path, part))


_BESIDE = "{0!r} makes a draw only as the single key of a mapping. Move the other keys out."


def _bound_faults(word: Kind, bounds: Any, path: Path) -> Iterator[Fault]:
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        message = f"{word!r} takes two bounds, both included: {word}: [low, high]."
        yield Fault((*path, word), message, within=path)
        return
    kind = int if word.endswith("integers") else (int, float)
    allowed = "whole numbers" if kind is int else "finite numbers"
    sound = True
    for i, bound in enumerate(bounds):
        if not _is_number(bound, kind):
            sound = False
            yield Fault(
                (*path, word, i),
                f"the bounds of {word!r} are {allowed}, got {_show(bound)}.{_advice(bound)}",
                within=path,
            )
    if not sound:
        return
    low, high = bounds
    if low >= high:
        message = f"the low bound comes first and is smaller, got [{low}, {high}]."
        yield Fault((*path, word), message, within=path)
    if word.startswith("log") and low <= 0:
        plain = word.removeprefix("log_")
        message = f"{word!r} needs a low bound above 0, got {low}. Raise it, or use {plain!r}."
        yield Fault((*path, word, 0), message, within=path)


def _is_number(value: Any, kind: type | tuple[type, ...]) -> bool:
    # Beyond 2^53 a whole number is not exact once a sampler has made it a float.
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return isinstance(value, int | float) and abs(value) <= 2**53


def _show(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:60]


def _advice(bound: Any) -> str:
    if isinstance(bound, str) and re.fullmatch(r"[-+.\deE]+", bound):
        return " Remove the quotes."
    if isinstance(bound, float) and bound.is_integer():
        return f" Write {int(bound)}."
    if isinstance(bound, float) and math.isfinite(bound):
        return " Use 'uniform' or 'log_uniform' for numbers in between."
    return ""


def _choice_faults(word: Kind, options: Any, path: Path) -> Iterator[Fault]:
    here = (*path, word)
    if not isinstance(options, list | tuple) or not options:
        yield Fault(here, "'choice' takes a list of options: choice: [a, b].", within=path)
        return
    seen: list[Label] = []
    for i, option in enumerate(options):
        if message := _option_fault(option, seen):
            yield Fault((*here, i), message, within=path)
        else:
            seen.append(label_of(option))
        if isinstance(option, Mapping) and not word_of(option):
            yield from faults(option, (*here, i))


def _option_fault(option: Any, seen: Sequence[Label]) -> str:
    label = label_of(option)
    if isinstance(option, Mapping) and word_of(option):
        return "an option cannot be a draw itself; give it a key: {name: ..., value: {...}}."
    if isinstance(option, Mapping) and not (isinstance(label, str) and label):
        return "an option that is a mapping needs a `name` (or a `label`), by which it is known."
    if isinstance(option, list | tuple):
        return "an option is a word, a number, true, false, null, or a mapping with a `name`."
    if isinstance(option, float) and not math.isfinite(option):
        return f"an option must be finite, got {option}."
    if label in seen:
        twin = next(s for s in seen if s == label)
        same = f"{_show(label)} and {_show(twin)} are the same option."
        hint = " Give one a `label`." if isinstance(option, Mapping) else " Remove one."
        return same + hint
    return ""


def without(tree: Any, paths: Collection[Path], here: Path = ()) -> Any:
    """A copy of a tree with null at some paths."""
    if here in paths:
        return None
    if isinstance(tree, Mapping):
        return {key: without(node, paths, (*here, key)) for key, node in tree.items()}
    if isinstance(tree, list | tuple):
        return [without(node, paths, (*here, i)) for i, node in enumerate(tree)]
    return tree
