"""Check every implementation against the reference, then time those that agree, taking turns."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch

from benchmarks.engine.byhand import NotOffered
from benchmarks.engine.work import Case, Step, Work
from metasearch.models.base import Params

Builder = Callable[[Work], Step]
Kind = Literal["ours", "packaged", "by hand", "yardstick"]

LEAST_S = 0.1  # of a sample; quick steps are repeated to fill it
TOLERANCE = 1e-3  # relative L2 distance from the reference, of the player that is farthest off;
# in float32 or, where float32 cannot resolve a case, in float64


@dataclass(frozen=True)
class Implementation:
    """One way to a meta-gradient."""

    name: str
    build: Builder
    kind: Kind
    slow: bool = False  # only on demand


@dataclass
class Outcome:
    """What was found out about one implementation on one case."""

    error: float = math.nan  # relative L2 distance from the reference
    seconds: list[float] = field(default_factory=list)  # CPU time of a meta-step, per repeat
    error64: float = math.nan  # the same in float64; asked for only if float32 cannot tell
    first: float = math.nan  # seconds of the first call, with whatever it sets up
    failed: str = ""  # why it was not timed: wrong or broken
    absent: str = ""  # why it was not timed: not installed or not offered
    peak_mb: float = math.nan  # resident memory that a meta-step adds, at its peak

    @property
    def median(self) -> float:
        """Seconds of CPU time of a meta-step; NaN if it was not timed."""
        return statistics.median(self.seconds) if self.seconds else math.nan


def compare(
    case: Case, implementations: Sequence[Implementation], reference: Builder, repeats: int
) -> dict[str, Outcome]:
    """Check all against `reference`, then time those that passed, one after another, in rounds."""
    check = _Check(case, reference)
    outcomes = {one.name: Outcome() for one in implementations}
    ready = {
        one.name: step
        for one in implementations
        if (step := _admitted(one, check, outcomes[one.name])) is not None
    }
    calls = {name: _calls(step, outcomes[name].first) for name, step in ready.items()}
    for _ in range(repeats):
        for name, step in ready.items():
            outcomes[name].seconds.append(cpu_seconds(step, calls[name]))
    return outcomes


class _Check:
    """The reference's meta-gradient, in float32 and, if it comes to that, in float64."""

    def __init__(self, case: Case, reference: Builder) -> None:
        self._case, self._reference = case, reference
        self.work = Work(case)
        self._truth = self._found(self.work)

    def _found(self, work: Work) -> Params:
        return {name: g.detach().clone() for name, g in self._reference(work)().items()}

    def error(self, found: Params) -> float:
        """Distance from the reference in float32."""
        return distance(self.work, found, self._truth)

    def error_in_float64(self, one: Implementation) -> float:
        """Distance when both run in float64."""
        wide, truth = self._wide
        return distance(wide, one.build(wide)(), truth)

    @cached_property
    def _wide(self) -> tuple[Work, Params]:
        wide = Work(self._case, torch.float64)
        return wide, self._found(wide)


def _admitted(one: Implementation, check: _Check, outcome: Outcome) -> Step | None:
    """The implementation's step, if what it finds is right."""
    try:
        step = one.build(check.work)
        began = time.process_time()
        found = step()
        outcome.first = time.process_time() - began
        if one.kind == "yardstick":
            return step
        outcome.error = check.error(found)
        if outcome.error <= TOLERANCE:
            return step
        outcome.error64 = check.error_in_float64(one)
        if outcome.error64 <= TOLERANCE:
            return step
        outcome.failed = (
            f"its meta-gradient is off by {outcome.error:.1e}, in float64 by {outcome.error64:.1e}"
        )
    except NotOffered as reason:
        outcome.absent = str(reason)
    except ImportError as error:
        outcome.absent = f"not installed ({error})"
    except Exception as error:  # a peer may fail in its own way; the others go on
        outcome.failed = f"{type(error).__name__}: {[*str(error).splitlines(), ''][0][:120]}"
    return None


def distance(work: Work, found: Params, truth: Mapping[str, torch.Tensor]) -> float:
    """||found - truth|| / ||truth|| of the worst player, infinite if a parameter is missing."""
    if set(found) != set(truth):
        return math.inf
    worst = 0.0
    for names in work.mine.values():
        off = sum(float((found[n] - truth[n]).double().square().sum()) for n in names)
        norm = sum(float(truth[n].double().square().sum()) for n in names)
        ratio = math.sqrt(off / norm) if norm > 0 else math.inf
        worst = max(worst, ratio if math.isfinite(ratio) else math.inf)
    return worst


def _calls(step: Step, first: float) -> int:
    """How often to call a step in one sample; the first call set things up, so it may mislead."""
    if first > 4 * LEAST_S:
        return 1
    return max(1, round(LEAST_S / max(cpu_seconds(step), 1e-4)))


def cpu_seconds(step: Callable[[], object], calls: int = 1) -> float:
    """CPU time of one call, as the mean of several; time taken by other processes is not in it."""
    gc.collect()  # nobody pays for another's cycles
    began = time.process_time()
    for _ in range(calls):
        step()
    return (time.process_time() - began) / calls
