"""What a study is made of, and what it says: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metasearch.observe.base import Bound, Outcome
from metasearch.search.advisors import Sampler
from metasearch.search.repeats import Repeats
from metasearch.search.stopping import Pruner

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Asked:
    """A suggestion."""

    number: int
    params: Mapping[str, Any]  # draw path -> value or label
    config: Mapping[str, Any]  # resolved
    seed: int  # the sampler's, for this suggestion alone
    notes: Mapping[str, Any]  # what the sampler has to find again when the study is rebuilt


@dataclass(frozen=True)
class Verdict:
    """Whether a trial should stop, and why."""

    stop: bool
    reason: str = ""
    detail: str = ""


GO_ON = Verdict(stop=False)


@dataclass(frozen=True)
class Advice:
    """What a study is made of."""

    name: str
    direction: Direction
    seed: int
    sampler: Sampler
    pruner: Pruner
    reports: int  # of a trial that runs to its end; the pruners' unit of time
    first: tuple[Mapping[str, Any], ...] = ()  # values of draws in the first trials
    seeds: tuple[int, ...] = ()  # what is added to the seeds of those, for repeats of one recipe
    spared: frozenset[int] = frozenset()  # numbers of trials that run to their ends
    repeats: Repeats | None = None
    repeated_from: int = 0  # the number of the first trial that is a repeat
    also: tuple[tuple[str, Direction], ...] = ()  # further objectives, by their names
    bounds: tuple[Bound, ...] = ()

    def values(self, outcome: Outcome, scalars: Mapping[str, float]) -> list[float] | None:
        """What was reached, objective by objective, by a trial that ran to its end."""
        if outcome.state != "complete":
            return None
        assert outcome.score is not None, "what is complete has a score"
        return [outcome.score, *(scalars[f"score/{name}"] for name, _ in self.also)]

    def broken(self, outcome: Outcome, scalars: Mapping[str, float]) -> dict[str, float]:
        """By how much bounds are broken; of trials that did not say, nothing is known."""
        if outcome.state == "failed" or not scalars:
            return {}
        return {bound.score: bound.excess(scalars) for bound in self.bounds}
