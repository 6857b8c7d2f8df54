"""Every setting of a search, defaults written out, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metasearch import space
from metasearch.registry import arms, below, class_of, settings, to_data
from metasearch.search.config import SearchConfig, SearchFile

DEFAULT = "default"


@dataclass(frozen=True)
class Told:
    """One setting, or one draw."""

    path: str  # "trial.models[0].gan.latent"
    value: Any  # plain data; of a choice, the labels of its options
    origin: str  # "leaves.yaml:12", "-s", or "default"


def origins(file: Path, overrides: Iterable[str] = ()) -> list[Told]:
    """What a search file with its overrides amounts to, in the order of the schema.

    Raises:
        ConfigError: it cannot be searched.
    """
    from metasearch.trial.config import TrialConfig

    given = list(overrides)
    SearchFile.load(file, given)
    document = space.apply_overrides(space.load(file), given)
    walk = _Walk(document)
    tree = document.tree
    return [
        *walk.told(SearchConfig, tree.get("search") or {}, ("search",)),
        *walk.told(TrialConfig, tree["trial"], ("trial",)),
    ]


@dataclass(frozen=True)
class _Walk:
    document: space.Document

    def told(self, kind: Any, node: Any, path: space.Path) -> Iterator[Told]:
        """The settings at `path` and below it."""
        word = space.word_of(node)
        if word == "choice":
            options = node[word]
            yield self._here({word: [space.label_of(option) for option in options]}, path)
            for i, option in enumerate(options):
                if isinstance(option, Mapping):
                    yield from self.told(kind, space.body_of(option), (*path, word, i))
            return
        cls = next((c for arm in arms(kind) if (c := class_of(arm, node))), None)
        if word or not isinstance(node, str | list | Mapping) or (cls is None and not node):
            yield self._here(node, path)
        elif isinstance(node, list):
            for i, item in enumerate(node):
                yield from self.told(below(kind, node, i), item, (*path, i))
        elif cls is not None:
            yield from self._component(cls, {"name": node} if isinstance(node, str) else node, path)
        elif isinstance(node, Mapping):
            for key, value in node.items():
                yield from self.told(below(kind, node, key), value, (*path, key))
        else:
            yield self._here(node, path)

    def _component(self, cls: type, node: Mapping[str, Any], path: space.Path) -> Iterator[Told]:
        for setting in settings(cls):
            place = (*path, setting.name)
            if setting.name in node:
                yield from self.told(setting.kind, node[setting.name], place)
            else:
                name = space.readable(self.document.tree, place)
                for where, value in _leaves(to_data(setting.default), name):
                    yield Told(where, value, DEFAULT)

    def _here(self, value: Any, path: space.Path) -> Told:
        mark = self.document.mark(path)
        origin = f"{mark.source}:{mark.line}" if mark.line else mark.source
        return Told(space.readable(self.document.tree, path), value, origin)


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A default as its single settings."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}")
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}[{i}]")
    else:
        yield name, value
