"""Harder worlds made of any source: where the choice of tasks may matter."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Annotated, Literal, Protocol

from metasearch.errors import ConfigError, DataError
from metasearch.registry import OneOf, Table, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import TaskDistribution, TaskId, TaskSource
from metasearch.tasks.derived import Noise, NoisyTasks, Shifted, SomeTasks, Transform, Transformed
from metasearch.tasks.wrapping import Described, Wrapper, every_source, looked_at


class Kind(Protocol):
    """What is done to a source. Unseen tasks stay as they are, but for `shift`."""

    def of(self, below: Described, settings: Regime) -> TaskDistribution:
        """The source with this done to it; a function of the source and ``settings.seed``."""
        ...


@component
class Clean:
    """Nothing is done: what the others are compared with."""

    name: Literal["clean"] = "clean"

    def of(self, below: Described, settings: Regime) -> TaskDistribution:
        """The source as it is."""
        return Wrapper(below, settings)


@component
class Noisy:
    """Some train tasks teach nothing: their classes are mixed, or their pixels are noise.

    Which, is a function of the seed; `NoisyTasks.noise_of` tells it to whoever analyses, and
    nothing that learns asks.

    Source: after the noisy tasks of Yao et al., "Meta-learning with an Adaptive Task Scheduler",
    2021. Differs: images are of wrong classes, where theirs have wrong labels.
    """

    name: Literal["noisy"] = "noisy"
    share: float = 0.6  # of the train tasks
    mixed: float = 0.5  # share of the noisy tasks that mix classes; the others have noisy pixels
    pixels: float = 0.4  # share of the pixels that are drawn at random

    def __post_init__(self) -> None:
        """Refuse what are no shares."""
        for name in ("share", "mixed", "pixels"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")

    def of(self, below: Described, settings: Regime) -> TaskDistribution:
        """The source with noise in some of its train tasks."""
        place = Stream(settings.seed).at("noisy")
        train = list(below.tasks("train"))
        order = [train[i] for i in place.numpy().permutation(len(train))]
        noisy = order[: round(self.share * len(train))]
        cut = round(self.mixed * len(noisy))
        noise: dict[TaskId, Noise] = dict.fromkeys(noisy[:cut], "mixed")
        noise |= dict.fromkeys(noisy[cut:], "pixels")
        return NoisyTasks(below, settings, noise, self.pixels)


@component
class Scarce:
    """Few train groups are left."""

    name: Literal["scarce"] = "scarce"
    groups: int = 2

    def __post_init__(self) -> None:
        """Refuse no groups at all."""
        at_least(self, groups=1)

    def of(self, below: Described, settings: Regime) -> TaskDistribution:
        """The source with the train tasks of a few groups.

        Raises:
            DataError: it has no more groups than are to be left.
        """
        names = sorted({below.group(task) for task in below.tasks("train")})
        if len(names) <= self.groups:
            raise DataError(
                f"regime scarce: {len(names)} train groups, of which {self.groups} are to be left. "
                "Lower `groups`, or use a source with more."
            )
        order = Stream(settings.seed).at("scarce").numpy().permutation(len(names))
        left = {names[i] for i in order[: self.groups]}
        kept = [task for task in below.tasks("train") if below.group(task) in left]
        return SomeTasks(below, settings, kept, {"train_groups": sorted(left)})


@component
class Imbalanced:
    """Train groups are of very different sizes: the r-th largest has 1/r^exponent of the first.

    Source: Zipf's law. Groups that are smaller than that keep all of their tasks.
    """

    name: Literal["imbalanced"] = "imbalanced"
    exponent: float = 1.0

    def __post_init__(self) -> None:
        """Refuse laws that are not Zipf's."""
        at_least(self, exponent=0)

    def of(self, below: Described, settings: Regime) -> TaskDistribution:
        """The source with some train tasks of each group.

        Raises:
            DataError: its groups are single tasks.
        """
        groups: defaultdict[str, list[TaskId]] = defaultdict(list)
        for task in below.tasks("train"):
            groups[below.group(task)].append(task)
        ranked = sorted(groups, key=lambda name: (-len(groups[name]), name))
        largest = len(groups[ranked[0]])
        if largest == 1:
            raise DataError(
                "regime imbalanced: every train group is one task. Use a source with groups of "
                "several tasks, such as glyphs or omniglot."
            )
        place, kept = Stream(settings.seed).at("imbalanced"), []
        for rank, name in enumerate(ranked, 1):
            most = math.ceil(largest / rank**self.exponent)
            order = place.at(name).numpy().permutation(len(groups[name]))[:most]
            kept += [groups[name][i] for i in order]
        sizes = Counter(below.group(task) for task in kept)
        return SomeTasks(below, settings, sorted(kept), {"train_tasks_by_group": dict(sizes)})


@component
class Shift:
    """Unseen tasks are of another kind than train tasks: from another source, or transformed.

    `train` and `inner` come from the source, `search`, `confirm` and `test` from the other. Unseen
    tasks that look like a task of the first two, or have its name, are left out.
    """

    name: Literal["shift"] = "shift"
    to: Annotated[TaskSource, OneOf(every_source)] | None = None  # null: the source itself
    transform: Transform = "none"  # of the unseen tasks' images

    def __post_init__(self) -> None:
        """Refuse what shifts nothing."""
        if self.to is None and self.transform == "none":
            raise ValueError("a shift needs another source in `to`, or a `transform`")

    def of(self, below: Described, settings: Regime) -> TaskDistribution:
        """The source's train tasks and the other's unseen ones.

        Raises:
            DataError: the other source is missing, damaged or too small, its images have another
                shape, or no unseen task is left.
        """
        other = below if self.to is None else looked_at(self.to.open())
        if (below.domains, below.shape) != (other.domains, other.shape):
            raise DataError(
                f"regime shift: from {below.domains} of shape {below.shape} to {other.domains} of "
                f"shape {other.shape}; both must be equal. Set the size of both sources."
            )
        if self.transform != "none":
            other = Transformed(other, settings, self.transform)
        return Shifted(below, settings, other)


REGIMES = Table(
    "regime",
    {"clean": Clean, "noisy": Noisy, "scarce": Scarce, "imbalanced": Imbalanced, "shift": Shift},
)


@component
class Regime:
    """Another source under harder conditions: noisy, scarce, imbalanced or shifted train tasks.

    Scores are taken with the features of the source below, so that regimes compare; of the source
    that is shifted to, where one is.
    """

    name: Literal["regime"] = "regime"
    source: Annotated[TaskSource, OneOf(every_source)]
    kind: Annotated[Clean | Noisy | Scarce | Imbalanced | Shift, OneOf(REGIMES)] = Noisy()
    seed: int = 0  # of what is done

    def __post_init__(self) -> None:
        """Refuse a shift between different counts.

        Raises:
            ConfigError: two sources that count images differently.
        """
        other = getattr(self.kind, "to", None)
        mine, theirs = (
            [getattr(s, n) for n in _COUNTS] for s in (self.source, other or self.source)
        )
        if mine != theirs:
            raise ConfigError(
                f"regime shift: {', '.join(_COUNTS)} are {mine} in `source` and {theirs} in `to`; "
                "set them equal."
            )

    @property
    def shot(self) -> int:
        """Support images of an episode."""
        return self.source.shot

    @property
    def query(self) -> int:
        """Query images of an episode."""
        return self.source.query

    @property
    def anchor(self) -> int:
        """Anchor images of an episode."""
        return self.source.anchor

    @property
    def size(self) -> int | None:
        """Pixels a side, where the other source says it."""
        return getattr(self.source, "size", None)

    @property
    def classes(self) -> int | None:
        """Classes of a task, where the other source has labels."""
        return getattr(self.source, "classes", None)

    def open(self) -> TaskDistribution:
        """Open the other source, and do to it what the regime says.

        Raises:
            DataError: a source is missing, damaged or too small, or the regime does not suit it.
        """
        return self.kind.of(looked_at(self.source.open()), self)


_COUNTS = ("shot", "query", "anchor")
