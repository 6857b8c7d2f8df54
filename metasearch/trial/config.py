"""A resolved trial: the schema of `trial:` in a search file once nothing is left to draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch

from metasearch.algorithms import ALGORITHMS
from metasearch.algorithms.base import MetaAlgorithm
from metasearch.engine import ENGINES, Batched
from metasearch.engine.base import Engine, Schedule
from metasearch.errors import ConfigError
from metasearch.models import MODELS
from metasearch.models.base import EncoderModel, GenerativeModel
from metasearch.models.shapes import of_shapes
from metasearch.registry import OneOf, at_least, component, revive
from metasearch.scores import SCORES
from metasearch.scores.base import Score, lacks
from metasearch.selectors import SELECTORS
from metasearch.selectors.base import Axis, Exchanger, Selector, Teaching
from metasearch.selectors.random import Random
from metasearch.tasks import SOURCES
from metasearch.tasks.base import TaskSource
from metasearch.trial.compatibility import misfit
from metasearch.trial.precision import Precision
from metasearch.trial.start import Start


@component
class Budget:
    """How much a trial may spend; equal for every strategy, algorithm and family."""

    gradients: int = 500_000  # gradient evaluations, one per image and player
    reports: int = 8  # evaluations on the `search` tasks, evenly spaced; the last is the score
    tasks_per_step: int = 8  # tasks of a meta-step

    def __post_init__(self) -> None:
        """Refuse a budget that buys nothing."""
        at_least(self, gradients=1, reports=1, tasks_per_step=1)


@component
class Outer:
    """The outer optimiser: Adam on the meta-gradient."""

    lr: float = 1e-3  # its learning rate
    beta1: float = 0.9  # how much of the last directions is kept; games often go better with 0.5
    clip: float = 10.0  # largest norm of the meta-gradient; 0 clips nothing
    schedule: Schedule = "cosine"  # over the budget, down to a tenth

    def __post_init__(self) -> None:
        """Refuse what moves backwards, or never."""
        at_least(self, lr=0, clip=0)
        if not 0 <= self.beta1 < 1:
            raise ValueError(f"beta1 must be at least 0 and below 1, got {self.beta1!r}")


@component
class Strategy:
    """The three selectors together."""

    tasks: Annotated[Selector, OneOf(SELECTORS)] = Random()
    algorithms: Annotated[Selector, OneOf(SELECTORS)] = Random()
    models: Annotated[Selector, OneOf(SELECTORS)] = Random()
    segment: int = 20  # meta-steps for which a picked algorithm and model stay
    validation: int = 8  # tasks of the split `inner` that rules which validate look at

    def __post_init__(self) -> None:
        """Refuse turns of no length."""
        at_least(self, segment=1, validation=2)


@component
class Judging:
    """How a trial is scored on tasks it never saw."""

    tasks: int = 48  # at most so many tasks of a split, chosen once for all trials
    samples: int = 32  # images generated per task

    def __post_init__(self) -> None:
        """Refuse a judgement of nothing."""
        at_least(self, tasks=1, samples=1)


@component
class TrialConfig:
    """Everything a trial's score depends on, beside the code and the data."""

    seed: int = 0  # of all that is random in a trial
    tasks: Annotated[TaskSource, OneOf(SOURCES)]  # what to learn from
    models: tuple[Annotated[GenerativeModel, OneOf(MODELS)], ...]  # what is learned, by turns
    algorithms: tuple[Annotated[MetaAlgorithm, OneOf(ALGORITHMS)], ...]  # how, by turns
    strategy: Strategy = Strategy()  # who gets a turn
    score: Annotated[Score, OneOf(SCORES)]  # by which trials are ranked, on unseen tasks
    also: tuple[Annotated[Score, OneOf(SCORES)], ...] = ()  # watched, where a model has them
    budget: Budget = Budget()  # of one trial, equal for all
    outer: Outer = Outer()  # the optimiser of what is meta-learned
    judging: Judging = Judging()  # how scores are taken
    start: Start | None = None  # weights to begin with; null for random ones
    engine: Annotated[Engine, OneOf(ENGINES)] = Batched()  # how tasks run at once
    device: str = "auto"  # the GPU a trial was given, or the CPU
    precision: Precision = "float32"  # of products in meta-training; what is judged is in float32


Problem = tuple[tuple[str | int, ...], str]  # path in the config; what and what to do


def problems(config: TrialConfig) -> Iterator[Problem]:
    """What cannot be run although each part is sound."""
    for room in ("models", "algorithms"):
        if not getattr(config, room):
            yield (room,), f"is empty; a trial needs at least one of the {room}."
    if fault := _no_device(config.device):
        yield ("device",), fault
    yield from _unscorable(config)
    yield from _misplaced(config.strategy)
    yield from _unlike(config)
    for i, algorithm in enumerate(config.algorithms):
        for j, model in enumerate(config.models):
            if reason := misfit(algorithm, model):
                yield ("algorithms", i), f"does not go with models[{j}]: {reason}"
        if getattr(algorithm, "outer", "") == "mmd" and config.tasks.query < 2:
            yield ("tasks", "query"), "is 1, and outer: mmd compares pairs of images; at least 2."
    yield from _misnumbered(config)
    yield from _of_other_domains(config)
    yield from _unbuildable(config)


def _misplaced(strategy: Strategy) -> Iterator[Problem]:
    """Rules on an axis that they are not for."""
    axes: tuple[Axis, ...] = ("tasks", "algorithms", "models")
    for axis in axes:
        rule: Selector = getattr(strategy, axis)
        if axis not in rule.axes:
            known = ", ".join(n for n in SELECTORS if axis in SELECTORS[n]().axes)
            yield (
                ("strategy", axis),
                f"{rule.name!r} chooses among {' and '.join(sorted(rule.axes))}; "
                f"for {axis} there are {known}.",
            )


def _unlike(config: TrialConfig) -> Iterator[Problem]:
    """Members that a rule cannot copy, average or let talk, or that play no game of two."""
    rule, models = config.strategy.models, config.models
    if isinstance(rule, Exchanger) and rule.alike and len(set(models)) > 1:
        yield (
            ("models",),
            f"the rule {rule.name!r} copies or averages weights, so all models must have the same "
            "settings. Write one of them several times, or use halving, mixture or greedy.",
        )
    if isinstance(rule, Teaching):
        for i, model in enumerate(models):
            if not isinstance(model, EncoderModel):
                yield (
                    ("models", i),
                    f"{model.name!r} makes no image of an image, by which models that learn from "
                    f"each other under the rule {rule.name!r} are compared. Use models with an "
                    "encoder, such as 'vae', or the rule mixture.",
                )
    if "payoff" in rule.needs:
        for i, model in enumerate(models):
            if len(model.players) != 2:
                yield (
                    ("models", i),
                    f"{model.name!r} has {len(model.players)} players; the rule {rule.name!r} "
                    "plays a game of two, such as 'gan'.",
                )


def _misnumbered(config: TrialConfig) -> Iterator[Problem]:
    """Models that count other classes than the tasks have."""
    there = getattr(config.tasks, "classes", None)
    for i, model in enumerate(config.models):
        if "y" not in model.domains:
            continue
        if there is None:
            yield (
                ("tasks",),
                f"has no labels, which models[{i}] ({model.name!r}) needs. Wrap it, as "
                f"{{name: conditional, source: {config.tasks.name}, classes: 3}}.",
            )
        elif (mine := getattr(model, "classes", there)) != there:
            yield ("models", i, "classes"), f"is {mine}, but tasks have {there} classes each."


def _of_other_domains(config: TrialConfig) -> Iterator[Problem]:
    """Models of two domains on tasks of one, and the other way round."""
    pairs = hasattr(_innermost(config.tasks), "paired")
    for i, model in enumerate(config.models):
        if "a" in model.domains and not pairs:
            yield (
                ("tasks",),
                f"{config.tasks.name!r} has images of one domain; models[{i}] ({model.name!r}) "
                "translates between two. Use 'pairs', or your own folders by 'pair_folder'.",
            )
        if "x" in model.domains and pairs:
            yield (
                ("models", i),
                f"{model.name!r} draws images of one domain, and {config.tasks.name!r} has two. "
                "Use 'cyclegan', or other tasks, such as 'glyphs'.",
            )


def _innermost(source: Any) -> Any:
    """The source below all that are made of another."""
    while hasattr(source, "source"):
        source = source.source
    return source


def _unscorable(config: TrialConfig) -> Iterator[Problem]:
    """Scores that ask for what a model cannot say, or for more images than there will be."""
    scores = {score.name: score for score in (config.score, *config.also)}
    for name, score in scores.items():
        for i, model in enumerate(config.models if score is config.score else ()):
            if lack := lacks(model, score.asks):
                yield (
                    ("models", i),
                    f"{model.name!r} {lack}, which the score {name!r} needs. Use another model, "
                    "or another score.",
                )
        if score.needs_truth and not getattr(_innermost(config.tasks), "paired", False):
            yield (
                ("tasks",),
                f"{config.tasks.name!r} does not know the right translation of an image, which the "
                f"score {name!r} needs. Use 'pairs', or a 'pair_folder' with paired: true, whose "
                "files of one name belong together.",
            )
        sides = {
            ("judging", "samples"): config.judging.samples,
            ("tasks", "query"): config.tasks.query,
        }
        for path, there in sides.items():
            if there < score.least:
                yield path, f"the score {name!r} needs at least {score.least}, got {there}."


def _unbuildable(config: TrialConfig) -> Iterator[Problem]:
    """Nets that the size of the images does not suit, and inner loops that adapt no part of them.

    Nothing is allocated: the nets are built of shapes alone.
    """
    side = getattr(config.tasks, "size", None)
    if side is None:  # only opening the source would tell
        return
    for i, model in enumerate(config.models):
        try:
            learner = of_shapes(model, (1, side, side))
        except ConfigError as error:
            yield ("models", i), str(error)
            continue
        except (RuntimeError, TypeError, OverflowError):  # torch's, of numbers beyond its own
            yield ("models", i), "has nets of a size that no machine can hold. Make it smaller."
            continue
        for j, algorithm in enumerate(config.algorithms):
            try:
                learner.adapting(algorithm.inner.adapts)
            except ConfigError as error:
                yield ("algorithms", j, "inner", "adapts"), str(error)


def _no_device(device: str) -> str:
    """Why this names no device anywhere; whether a machine has it, only that machine knows."""
    try:
        torch.device("cpu" if device == "auto" else device)
    except RuntimeError:
        return f"no device is called {device!r}; allowed are auto, cpu, cuda, cuda:1 and so on."
    return ""


def from_data(data: Mapping[str, Any]) -> TrialConfig:
    """The config whose `to_data` this is, as it stands in a run folder or a bundle.

    Raises:
        ConfigError: it was changed into something that is no config.
    """
    config: TrialConfig = revive(TrialConfig, data, "trial")
    return config
