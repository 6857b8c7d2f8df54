"""What trials are expected to come to, and the recipe from which most is to be hoped.

A Gaussian process runs over every draw there is, branches included, and is told of every trial that
reported, also of those that were stopped or wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, Protocol

import numpy as np

from metasearch import space
from metasearch.rng import Stream
from metasearch.search.cube import Cube
from metasearch.search.gaussian import Belief, Kernel, averaged, hope

ANYWHERE = 1000  # places looked at all over the space
NEAR = 100  # places looked at around each of the best
BEST = 5  # so many
WIDTHS = (0.2, 0.07, 0.02)  # of what is near, one round after the other, in parts of a draw
TOLD = 200  # trials that the process is told at most: half the best, half the latest
FAR = 4.0  # times as far from the best as the middle one: who is beyond is as bad as any
SETTINGS = 5  # of the kernel, over which what is hoped for is averaged
TINY = 1e-300  # in the place of a score of nothing, to divide by

Params = Mapping[str, Any]


class Tried(Protocol):
    """Tells which recipes were asked."""

    def __contains__(self, params: Params, /) -> bool: ...


@dataclass(frozen=True)
class Seen:
    """What is known of a trial."""

    params: Params  # values of its draws
    costs: Sequence[float]  # its scores, report by report; low is good
    whole: bool = False  # ran to its end
    lost: bool = False  # failed, diverged, breaks a bound, or was stopped before it was judged


def expected_ends(trials: Sequence[Seen]) -> list[float | None]:
    """What trials came to, or are expected to come to; None if nothing is known of one.

    Who did not run to the end is expected to gain what the middle one of those that did gained from
    the same report on, as a share of its score. Who was lost comes to inf.
    """
    gains: dict[int, list[float]] = {}
    for trial in trials:
        if trial.whole and not trial.lost:
            for made, cost in enumerate(trial.costs, start=1):
                gain = (cost - trial.costs[-1]) / max(abs(cost), TINY)
                gains.setdefault(made, []).append(gain)
    share = {made: median(all_of_them) for made, all_of_them in gains.items()}

    def end(trial: Seen) -> float | None:
        if trial.lost:
            return math.inf
        if not trial.costs:
            return None
        last = trial.costs[-1]
        return last if trial.whole else last - share.get(len(trial.costs), 0.0) * abs(last)

    return [end(trial) for trial in trials]


def on_a_scale(ends: Sequence[float]) -> np.ndarray:
    """Numbers of mean 0 and deviation 1, in proportion to what is good, and alike for what is bad.

    Bad is whoever is `FAR` times as far from the best as the middle one, or was lost: how bad a
    recipe is tells nothing of the good ones.
    """
    given = np.asarray(ends, np.float64)
    finite = given[np.isfinite(given)]
    if not len(finite):
        return np.zeros_like(given)
    low = finite.min()
    width = np.median(finite) - low or finite.max() - low or 1.0
    scale = np.minimum((given - low) / width, FAR)
    return np.asarray((scale - scale.mean()) / (scale.std() or 1.0))


@dataclass(frozen=True)
class Outlook:
    """Asks a Gaussian process, made anew for each question, where most is to be hoped.

    It is looked for among places all over the space, or all recipes if those are few, and then
    around the best: at random, for options have no slope.
    """

    tree: Any  # may hold draws
    seed: int  # of the search

    def next(self, trials: Sequence[Seen], tried: Tried, stream: Stream) -> dict[str, Any] | None:
        """Values of the draws of the recipe from which most is to be hoped, of those not tried.

        None if nothing is known of any trial, or nothing is left that was not tried. `stream` is of
        this question alone.
        """
        ends = [
            (trial.params, end) for trial, end in zip(trials, expected_ends(trials), strict=True)
        ]
        told = _some([(params, end) for params, end in ends if end is not None])
        if not told:
            return None
        asked = [params for params, end in ends if end is None]
        cube, scores = self._cube, on_a_scale([end for _, end in told])
        at = cube.places([params for params, _ in told])
        belief = Belief(Kernel(cube.words), cube.coordinates(at), scores)
        processes = belief.processes(SETTINGS, stream.at("settings").numpy())
        running = cube.coordinates(cube.places(asked))

        def hopes(places: np.ndarray) -> np.ndarray:
            at = cube.coordinates(places)
            return averaged([hope(*one.at(at, running), scores.min()) for one in processes])

        rng, best = stream.numpy(), at[np.argsort(scores, kind="stable")[:BEST]]
        places = np.concatenate([self._anywhere, cube.near(best, WIDTHS[0], NEAR, rng)])
        hoped = hopes(places)
        for width in WIDTHS:
            best = places[np.argsort(-hoped, kind="stable")[:BEST]]
            more = cube.near(best, width, NEAR, rng)
            places, hoped = np.concatenate([places, more]), np.concatenate([hoped, hopes(more)])
        order = np.argsort(-hoped, kind="stable")
        points = (space.point_at(self.tree, cube.named(places[i])) for i in order)
        return next((point for point in points if point not in tried), None)

    @cached_property
    def _cube(self) -> Cube:
        return Cube(space.draws(self.tree))

    @cached_property
    def _anywhere(self) -> np.ndarray:
        """Every recipe, if there are few; else places all over."""
        many = space.size(self.tree).configurations
        if many is not None and many <= ANYWHERE:
            return self._cube.places(list(space.recipes(self.tree)))
        return Stream(self.seed).at("anywhere").numpy().random((ANYWHERE, len(self._cube.draws)))


def _some(told: list[tuple[Params, float]]) -> list[tuple[Params, float]]:
    """The latest and the best, in their order, if there are many."""
    best = sorted(range(len(told)), key=lambda i: told[i][1])[: TOLD // 2]
    kept = {*best, *range(max(0, len(told) - TOLD // 2), len(told))}
    return [told[i] for i in sorted(kept)]
