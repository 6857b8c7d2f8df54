"""How a source was read, in plain words: for whoever brings images of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metasearch.tasks.base import TaskSource

_UNSEEN = {
    "inner": "steering the training",
    "search": "ranking trials",
    "confirm": "ranking the best again",
    "test": "the final figure, once",
}


def called(source: object) -> str:
    """A source by its name and, where it is of files, their place: "folder my-images"."""
    names = [str(getattr(source, "name", ""))]
    while hasattr(source, "source"):
        source = source.source
        names.append(str(getattr(source, "name", "")))
    path = getattr(source, "path", None)
    return " of ".join(names) + (f" {path}" if path else "")


def explain(source: TaskSource, told: Mapping[str, Any]) -> list[str]:
    """Sentences on layout, splits, episodes, and all that was left out, from a `summary`."""
    return [*_layout(told), *_splits(told), _episode(source), *_dropped(told), *_looks(told)]


def _layout(told: Mapping[str, Any]) -> Iterator[str]:
    splits = told["splits"].values()
    tasks, groups = (sum(split[key] for split in splits) for key in ("tasks", "groups"))
    if tasks == groups:
        yield f"{tasks} classes, each a task; none is in two splits"
    else:
        yield f"{tasks} classes in {groups} groups, each class a task; groups stay whole"


def _splits(told: Mapping[str, Any]) -> Iterator[str]:
    counts = {name: split["tasks"] for name, split in told["splits"].items()}
    unseen = ", ".join(f"{counts[name]} for {what}" for name, what in _UNSEEN.items())
    yield f"{counts['train']} classes are learned from; unseen are {unseen}"


def _episode(source: TaskSource) -> str:
    need = source.shot + source.query + source.anchor
    return (
        f"an episode shows {source.shot} images, asks for {source.query} others and compares with "
        f"{source.anchor} more, so a class must have {need} (shot, query, anchor)"
    )


def _dropped(told: Mapping[str, Any]) -> Iterator[str]:
    notes = told["notes"]
    if count := notes.get("corrupt"):
        first = "; ".join(notes["corrupt_files"][:2])
        yield f"left out: {count} of {notes['files']} files, which cannot be read ({first})"
    if count := notes.get("doubles_dropped"):
        yield f"left out: {count} images that a class holds twice"
    if count := notes.get("small_classes_dropped"):
        first = ", ".join(notes["small_classes"][:3])
        yield f"left out for too few different images: {count} classes ({first})"
    if dropped := told["leaks"]["dropped"]:
        first = "; ".join(told["leaks"]["examples"][:2])
        yield f"left out: {len(dropped)} classes that resemble one of an earlier split ({first})"
    if passed := notes.get("passed_over"):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed.items()))
        yield f"passed over: {kinds}"
    for names in notes.get("names_alike", ())[:3]:
        yield f"perhaps one class: {', '.join(map(repr, names))}; they share a split"


def _looks(told: Mapping[str, Any]) -> Iterator[str]:
    channels, height, width = told["shape"]
    kind = "grey" if channels == 1 else "in colour"
    turned = (
        "; dark on light, so light and dark were exchanged" if told["notes"].get("inverted") else ""
    )
    yield f"images are brought to {height} x {width} pixels, {kind}{turned}"
    sizes = told["notes"].get("sizes", {})
    if len(sizes) > 1:
        yield f"files have {len(sizes)} sizes, {', '.join(list(sizes)[:3])} most often"
