"""Judging a bundle again: on the tasks of its report, or on other data."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from metasearch.bundle.base import FEATURES
from metasearch.bundle.load import Bundle
from metasearch.errors import BundleError, ConfigError
from metasearch.scores.features import ConvFeatures, one_thread
from metasearch.space import load
from metasearch.tasks import parse_source
from metasearch.tasks.base import Split, TaskDistribution, TaskSource
from metasearch.tasks.glyphs import Glyphs
from metasearch.trial.config import TrialConfig, from_data
from metasearch.trial.gmn import Protocol, few_shot_likelihood, floors
from metasearch.trial.judge import Panel, measure


def evaluate(
    bundle: Bundle, source: TaskSource | None = None, split: Split = "test"
) -> dict[str, Any]:
    """The bundle's score on a split of its own source, or of another one.

    On the same data and machine kind it gives `report.json` to the last digit: episodes, noise and
    features are the same.

    Raises:
        BundleError: the bundle's config or features cannot be read, or the images have another
            shape than those it was trained on.
        DataError: the source is missing, damaged or too small.
    """
    config, data = _opened(bundle, source)
    features = None
    if any(s.needs_features for s in (config.score, *config.also)):
        features = ConvFeatures.load(bundle.folder / FEATURES)
    panel = Panel.gather(config, data, features, split, "cpu")
    found = measure(bundle.adapter, config.engine, panel)
    score = config.score
    return {
        "score": {"name": score.name, "unit": score.unit, "direction": score.direction},
        "source": config.tasks.name,
        "split": split,
        "tasks": len(panel.tasks),
        **found,
    }


def few_shot(
    bundle: Bundle, protocol: Protocol, source: TaskSource | None = None, split: Split = "test"
) -> dict[str, Any]:
    """Nats per image after each number of others of its class, beside floors, as plain data.

    Raises:
        BundleError: the bundle's config cannot be read, or the images have another shape.
        ConfigError: the family cannot say how probable an image is.
        DataError: the source is missing, damaged or too small.
    """
    config, data = _opened(bundle, source)
    with one_thread():
        found = few_shot_likelihood(bundle.adapter, config.engine, data, split, protocol)
    return {
        "protocol": "gmn",
        "source": config.tasks.name,
        "split": split,
        "classes": len(data.tasks(split)),
        "episodes": protocol.episodes,
        "importance": protocol.importance,
        "binary": _binary(data, split),
        "nats": found,
        "floors": floors(data, split, protocol),
    }


def _opened(bundle: Bundle, source: TaskSource | None) -> tuple[TrialConfig, TaskDistribution]:
    config = recipe(bundle)
    if source is not None:
        config = replace(config, tasks=source)
    data = config.tasks.open()
    if data.shape != bundle.shape:
        raise BundleError(
            f"{bundle.folder} was trained on images of shape {bundle.shape}; the source gives "
            f"{data.shape}. Give the source the same size and channels."
        )
    return config, data


def _binary(data: TaskDistribution, split: Split) -> bool:
    """Whether pixels are black or white, so that nats are those of a probability."""
    return all(bool((data.images(t)["x"].abs() == 1).all()) for t in data.tasks(split))


def recipe(bundle: Bundle) -> TrialConfig:
    """The resolved config a bundle was made with.

    Raises:
        BundleError: it is missing or was changed into something that is no config.
    """
    path = bundle.folder / "config.yaml"
    try:
        return from_data(load(path).tree)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read ({error}). Export the bundle again.") from error


def other_source(bundle: Bundle, text: str) -> TaskSource:
    """A source as a person types it, read at the bundle's size and with its numbers of images.

    Raises:
        ConfigError: `text` names no source, or another size.
        DataError: it names one that is not there.
    """
    asked = recipe(bundle).tasks
    source = parse_source(text)
    channels, side, _ = bundle.shape
    if isinstance(source, Glyphs) and ":" in text and source.size != side:
        raise ConfigError(
            f"--tasks {text}: the bundle draws images of {side}x{side} pixels and is judged on "
            f"such. Give glyphs:{side}, or a bundle of the other size."
        )
    same = {
        "size": side,
        "channels": channels,
        "shot": asked.shot,
        "query": asked.query,
        "anchor": asked.anchor,
    }
    known = {f.name for f in fields(source)}  # type: ignore[arg-type]  # a component
    found: TaskSource = replace(source, **{k: v for k, v in same.items() if k in known})  # type: ignore[type-var]
    return found
