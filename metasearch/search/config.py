"""A search file: how to search (`search:`) and what is searched (`trial:`)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from metasearch import space
from metasearch.errors import ConfigError
from metasearch.registry import OneOf, Schema, component, to_data
from metasearch.search.advisors import SAMPLERS, Auto, Sampler
from metasearch.search.check import check_tree
from metasearch.search.racing import Racing
from metasearch.search.repeats import Repeats
from metasearch.search.rules import rule_faults
from metasearch.search.stopping import PRUNERS, Pruner
from metasearch.space import Draw

if TYPE_CHECKING:
    from metasearch.trial.config import TrialConfig

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")


@component
class Confirm:
    """How `export` picks the winner: the best of the search meet tasks that it never saw."""

    top: int = 5  # at least so many trials are scored anew on the `confirm` tasks
    share: float = 0.1  # and at least this share of those that finished
    rule: Literal["best", "one_se"] = "best"  # or the cheapest within one standard error of it
    repeats: int = 0  # other seeds that the winner's recipe is trained with, to tell their luck
    ensemble: Literal["none", "mixture", "greedy", "soup"] = "none"  # of the best, if it is better

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError("top must be at least 1")
        if not 0 <= self.share <= 1:
            raise ValueError("share must be between 0 and 1")
        if self.repeats < 0:
            raise ValueError("repeats must not be negative")

    def count(self, finished: int) -> int:
        """How many of the finished trials are scored anew."""
        return max(self.top, math.ceil(self.share * finished))


@component
class Constraint:
    """A bound that a watched score has to keep, or a trial is not wanted: copies, say, or cost."""

    score: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a constraint needs a bound: set `at_least`, `at_most` or both")


@component
class SearchConfig:
    """How to search: how much, advised by whom, and on what."""

    name: str = ""  # of the run; empty takes the file's
    trials: int = 20  # at most so many
    time: str | float | None = None  # "150s", "1h30m", or seconds; no trial is asked after it
    gradients: int | None = None  # of all trials together, after which none is asked
    gpu_hours: float | None = None  # the same in hours of a GPU
    seed: int = 0  # of the sampler
    sampler: Annotated[Sampler, OneOf(SAMPLERS)] = Auto()  # says what to try
    pruner: Annotated[Pruner, OneOf(PRUNERS)] = Auto()  # says what to stop
    first: tuple[
        Any, ...
    ] = ()  # tried first: defaults, baselines, {draw: value}, {run: RUN, best: 3}
    warm_start: bool = False  # begin from the best trial of the same models; no independent draws
    repeats: Repeats | None = None  # of the recipes that lead, from other seeds, at the end
    references: int = 3  # seeds of all random choice, tried first where a strategy is searched
    objectives: tuple[str, ...] = ()  # scores in `trial.also` that count beside `trial.score`
    constraints: tuple[Constraint, ...] = ()  # bounds that scores in `trial.also` have to keep
    race: Literal["auto"] | Racing | None = "auto"  # stop what is clearly worse, task by task
    max_concurrent: int | None = None  # trials at once; null for as many as the resources allow
    cpus_per_trial: int = 1  # cores, and threads
    gpus_per_trial: float | Literal["auto"] = 0.0  # 0.5: two share one; auto: as many as fit
    backend: Literal["ray", "local"] = "ray"  # local: one by one, in the process itself
    retries: int = 2  # of a trial whose worker died
    no_progress_timeout: str | float | None = None  # "30m": a trial silent for so long has failed
    confirm: Confirm = Confirm()  # how export picks the winner
    baselines: tuple[str, ...] = ("joint", "scratch")  # what the export compares with

    def __post_init__(self) -> None:
        if self.name and not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ValueError(f"name may hold letters, digits, '_', '-' and '.', got {self.name!r}")
        if self.trials < 1:
            raise ValueError("trials must be at least 1")
        if self.time is not None and seconds(self.time) <= 0:
            raise ValueError("time must be more than nothing; null sets no limit")
        _check_budgets(self)
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise ValueError("max_concurrent must be at least 1; null sets no limit")
        if self.references < 0:
            raise ValueError("references must not be negative; 0 tries none")
        if self.cpus_per_trial < 1:
            raise ValueError("cpus_per_trial must be at least 1")
        if self.gpus_per_trial != "auto" and self.gpus_per_trial < 0:
            raise ValueError("gpus_per_trial must not be negative")
        if self.retries < 0:
            raise ValueError("retries must not be negative")
        if self.patience_s is not None and self.patience_s <= 0:
            raise ValueError("no_progress_timeout must be more than nothing; null waits for ever")

    @property
    def time_s(self) -> float | None:
        """The time limit in seconds, if there is one."""
        return None if self.time is None else seconds(self.time)

    @property
    def patience_s(self) -> float | None:
        """How long a trial may say nothing, in seconds, if there is a limit."""
        limit = self.no_progress_timeout
        return None if limit is None else seconds(limit, "no_progress_timeout")


def seconds(time: str | float, what: str = "time") -> float:
    """A duration in seconds.

    >>> seconds("1h30m"), seconds("150s"), seconds(20)
    (5400.0, 150.0, 20.0)

    Raises:
        ValueError: it is not a duration.
    """
    if not isinstance(time, str):
        return float(time)
    text = time.replace(" ", "")
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{what} is a duration such as 150s, 20m or 1h30m, got {time!r}")
    return sum(float(n) * _UNITS_S[unit] for n, unit in re.findall(r"([\d.]+)([dhms])", text))


def _check_budgets(search: SearchConfig) -> None:
    if search.gradients is not None and search.gradients < 1:
        raise ValueError("gradients must be at least 1; null sets no limit")
    if search.gpu_hours is not None and not (search.gpu_hours > 0 and search.gpus_per_trial):
        raise ValueError("gpu_hours must be above 0, and gpus_per_trial, too; null sets no limit")


@dataclass(frozen=True)
class SearchFile:
    """A search file that was read and found sound: every recipe it can draw fits the schema."""

    search: SearchConfig
    space: Mapping[str, Any]  # the tree of `trial`, with its draws

    @staticmethod
    def load(path: str | Path, overrides: Iterable[str] = ()) -> SearchFile:
        """Read a file, lay ``path=value`` overrides over it, and check every branch of it.

        Raises:
            ConfigError: it cannot be searched; all faults are listed, with their places.
        """
        document = space.apply_overrides(space.load(path), overrides)
        return read_document(document, default_name=re.sub(r"[^\w.-]", "-", Path(path).stem))

    @staticmethod
    def from_yaml(text: str, source: str = "search.yaml") -> SearchFile:
        """Read what `to_yaml` wrote.

        Raises:
            ConfigError: it was changed into something that cannot be searched.
        """
        return read_document(space.parse(text, source), default_name="search")

    def to_yaml(self) -> str:
        """The file as it stands in a run folder: overrides applied, defaults of `search` filled."""
        return space.dump({"search": to_data(self.search), "trial": self.space})

    @cached_property
    def draws(self) -> list[Draw]:
        """Everything that is searched, in the order of the file."""
        return space.draws(self.space)

    def config(self, params: Mapping[str, Any]) -> TrialConfig:
        """The recipe that these values of the draws make.

        Raises:
            ConfigError: `params` does not fit the space, or the recipe cannot be run.
        """
        return self.trial(space.resolve(self.space, params))

    def trial(self, tree: Mapping[str, Any]) -> TrialConfig:
        """The recipe of a tree without draws.

        Raises:
            ConfigError: it does not fit the schema, or cannot be run.
        """
        from metasearch.trial.config import problems

        config: TrialConfig = self._schema.build(tree, "trial")
        if wrong := list(problems(config)):
            shown = (f"{space.readable(tree, path)}: {message}" for path, message in wrong)
            raise ConfigError("\n".join(f"trial.{line}" for line in shown))
        return config

    @cached_property
    def _schema(self) -> Schema:
        from metasearch.trial.config import TrialConfig

        return Schema(TrialConfig)


@component
class _Sections:
    search: Mapping[str, Any] | None = None
    trial: Mapping[str, Any]


def read_document(document: space.Document, default_name: str) -> SearchFile:
    """A search file that was parsed, checked.

    Raises:
        ConfigError: it cannot be searched; all faults are listed, with their places.
    """
    _, wrong = Schema(_Sections).parse(document.tree)
    faults = [space.Fault(p.path, p.message, p.at_key) for p in wrong]
    if not faults:
        faults = [*_search_faults(document), *_trial_faults(document)]
    if not faults:
        faults = list(
            rule_faults(
                Schema(SearchConfig).build(document.tree.get("search") or {}, "search"),
                document.tree["trial"],
            )
        )
    if faults:
        raise document.error(faults)
    tree = document.tree.get("search") or {}
    if not tree.get("name"):
        tree = {**tree, "name": default_name}
    search = Schema(SearchConfig).build(tree, "search")
    return SearchFile(search, document.tree["trial"])


# Trials are compared by score, so all must be judged alike, at the same points of one budget.
ALIKE: tuple[space.Path, ...] = (
    ("tasks",),
    ("score",),
    ("also",),
    ("judging",),
    ("budget", "gradients"),
    ("budget", "reports"),
    ("device",),
)


def _search_faults(document: space.Document) -> Iterable[space.Fault]:
    tree = document.tree.get("search") or {}
    message = "nothing is drawn here; only what stands under `trial` is searched."
    drawn = [space.Fault(path, message, within=path) for path in space.places(tree)]
    return check_tree(Schema(SearchConfig), tree, "search", _unknown_baselines, drawn)


def _unknown_baselines(search: SearchConfig) -> Iterable[tuple[space.Path, str]]:
    from metasearch.algorithms import ALGORITHMS
    from metasearch.search.baselines import FIGR

    for i, name in enumerate(search.baselines):
        if name not in ALGORITHMS and name != FIGR:
            message = f"{ALGORITHMS.unknown(name)} Or {FIGR!r}, a recipe of its own."
            yield ("baselines", i), message


def _trial_faults(document: space.Document) -> Iterable[space.Fault]:
    from metasearch.trial.config import TrialConfig, problems

    tree = document.tree["trial"]
    message = "must be the same in all trials, or their scores cannot be compared. Pick one."
    drawn = [
        space.Fault(path, message)
        for path in space.places(tree)
        if any(path[: len(fixed)] == fixed or fixed[: len(path)] == path for fixed in ALIKE)
    ]
    return check_tree(Schema(TrialConfig), tree, "trial", problems, drawn)
