"""Who goes on: best first, while those who are clearly behind wait.

After its first report a trial waits until it is one of the few best, and after any a trial that is
clearly behind the leader is set aside; it goes on once it no longer is, or when all have been
asked. All of this is a function of the reports and of who was set aside,
and of nothing else, so a search that was killed goes on as one that was not.

A first report that was broken off says what its mean is expected to be. That puts the trial in
order with the others; of what may be gained from there on, it tells nothing.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from itertools import takewhile

import numpy as np

from metasearch.search.firsts import Firsts
from metasearch.search.racing import Bar, Gate, Racing, allowance, lag
from metasearch.trial.report import Report

TINY = 1e-300  # in the place of a score of nothing, to divide by

Curve = Sequence[tuple[int, float]]
_Made = Mapping[int, Report]  # by step


class Pace:
    """Knows who leads a search, who waits, who goes on, and what the others have to reach.

    Nothing that is asked at a report or for an order takes longer for there being many who wait,
    unless another trial leads since.
    """

    def __init__(
        self, racing: Racing, sign: float, reports: int, spared: Container[int] = ()
    ) -> None:
        """Begin with nobody; a trial that runs to its end makes so many reports.

        Who was set aside counts as running.

        Trials with the numbers in `spared` are raced against, and do not race themselves.
        """
        self.spared = spared
        self._racing = racing
        self._sign = sign
        self._reports = reports
        self._running: dict[str, dict[int, Report]] = {}  # by trial, by step
        self._best = math.inf
        self._finished: tuple[str, _Made] | None = None  # the best of those
        self._gains: dict[int, float] = {}  # step -> the largest from there on, as a share
        self._went_on: Counter[int] = Counter()  # step -> trials that reported again after it
        self._rivals = 0  # trials that ever reported, and are over
        self._firsts = Firsts(racing.starters)
        self._steps: set[int] = set()  # at which anybody reported
        self._lags: dict[str, tuple[str, int, float]] = {}  # behind whom, at which step, how surely
        self._aside: dict[str, int] = {}  # who waits, and in which turn they came
        self._turn = 0
        self._new: list[str] = []  # of those, who is in neither list below
        self._leads: list[
            tuple[str, int]
        ] = []  # for whom these are in order, and how far they were
        self._by_lag: list[tuple[float, str]] = []  # the least surely behind first
        self._by_gap: list[tuple[float, int, str]] = []  # the least far behind first
        self._keys: dict[str, tuple[tuple[float, str], tuple[float, int, str]]] = {}

    def reported(self, name: str, report: Report) -> None:
        """A trial that runs was judged."""
        made = self._running.setdefault(name, {})
        made[report.step] = report
        self._steps.add(report.step)
        if report.whole:
            self._learn([(step, made[step].score) for step in sorted(made) if made[step].whole])
        if name not in self._firsts and len(made) > self._racing.warmup:
            self._begin(name, report.score)
            if report.whole and not report.final:
                self._firsts.show(name)

    def _begin(self, name: str, score: float) -> None:
        self._firsts.add(name, self._sign * score if math.isfinite(score) else math.inf)

    def ended(self, name: str, curve: Curve, begun: float | None = None) -> None:
        """A trial is over, and none to be beaten; `begun`: its first score, if not in the curve."""
        self._leave(name)
        self._firsts.hide(name)
        self._steps.update(step for step, _ in curve)
        first = [score for _, score in curve[self._racing.warmup :]] if begun is None else [begun]
        for score in first[:1]:
            self._begin(name, score)
        if self._running.pop(name, None) is None:  # its reports are of an earlier sitting
            for reports in range(2, len(curve) + 1):
                self._learn(curve[:reports])
        self._lags.pop(name, None)
        self._rivals += bool(curve) or name in self._firsts

    def finished(
        self, name: str, curve: Curve, reports: Callable[[], Sequence[Report]],
        begun: float | None = None,
    ) -> bool:  # fmt: skip
        """A trial ran to its end. Returns whether it leads; only then `reports` are read."""
        self.ended(name, curve, begun)
        last = self._sign * curve[-1][1]
        leads = last < self._best
        if leads:
            if self._finished:
                self._firsts.hide(self._finished[0])
            self._best = last
            self._finished = (name, {report.step: report for report in reports()})
            if len(self._finished[1]) == self._reports > self._racing.warmup + 1:
                self._firsts.show(name)  # its first report is there, and not its last
        return leads

    def _learn(self, curve: Curve) -> None:
        """What its last report tells of a trial's earlier ones."""
        *before, (_, last) = curve
        for step, score in before:
            gain = self._sign * (score - last) / max(abs(score), TINY)
            self._gains[step] = max(self._gains.get(step, 0.0), gain)
        if before:
            self._went_on[before[-1][0]] += 1

    def bar(self) -> Bar | None:
        """For a trial that begins or goes on now; None as long as none has finished."""
        if self._finished is None:
            return None
        leader, made = self._finished
        final, raced = max(made), sorted(self._steps)[self._racing.warmup :]
        known = {
            step: self._gains[step] * allowance(self._went_on[step], self._racing.alpha)
            for i, step in enumerate(raced)
            if self._went_on[step] >= max(1, self._racing.starters / 2**i)
        }
        level = self._shared(self._rivals + len(self._running))
        return Bar(leader, self._sign, level, made[final].per_task, {**known, final: 0.0})

    def gate(self, name: str) -> Gate | None:
        """For a trial that is yet to make its first report; None as long as nobody is to beat."""
        if name in self._firsts or not (rival := self._firsts.rival):
            return None
        made = (
            self._running[rival]
            if rival in self._running
            else dict([self._finished] if self._finished else ())[rival]
        )
        step = sorted(made)[self._racing.warmup]
        return Gate(rival, self._sign, self._racing.alpha, step, made[step].per_task)

    def beaten(self, name: str) -> str:
        """Why a trial need not go on, after all it reported; empty if it may still win."""
        bar, made = self.bar(), self._running.get(name)
        if not (bar and made):
            return ""
        last = made[max(made)]
        looks = math.ceil(
            len(bar.goal) / max(len(last.per_task), 1)
        )  # a gate has the first of lots
        return bar(last.step, last.per_task, looks)

    def waits(self, name: str) -> bool:
        """Whether a trial that reported is to be set aside."""
        if name not in self._firsts:
            return False
        return self._firsts.is_early(name) or self._lag(name, self._leaders()) <= self._level

    def set_aside(self, name: str) -> None:
        """A trial that reported waits from now on, until it is picked or over."""
        self._turn += 1
        self._aside[name] = self._turn
        self._new.append(name)

    def pick(self, *, last: bool) -> str:
        """Which of those who wait goes on before any other is asked for; empty if none.

        With `last` there is no other, and whoever is left goes on, the most promising first.
        """
        if not self._aside:
            return ""
        self._sort()
        ahead = [name for _, name in takewhile(lambda one: -one[0] > self._level, self._by_lag)]
        ready = [name for name in ahead if last or not self._firsts.is_early(name)]
        name = min(ready, key=lambda name: self._place(self._running[name]), default="")
        if not name and last:
            *_, name = self._by_gap[0]
        self._leave(name)
        return name

    def _sort(self) -> None:
        """Put those who wait in order; all anew, if others lead than before."""
        leaders = self._leaders()
        if (leads := [(name, max(made)) for name, made in leaders]) != self._leads:
            self._leads, self._new, self._keys = leads, list(self._aside), {}
            self._by_lag, self._by_gap = [], []
        for name in self._new:
            if name in self._aside:
                keys = (-self._lag(name, leaders), name), (self._gap(name), self._aside[name], name)
                self._keys[name] = keys
                bisect.insort(self._by_lag, keys[0])
                bisect.insort(self._by_gap, keys[1])
        self._new = []

    def _leave(self, name: str) -> None:
        self._aside.pop(name, None)
        if name in self._keys:
            by_lag, by_gap = self._keys.pop(name)
            del self._by_lag[bisect.bisect_left(self._by_lag, by_lag)]
            del self._by_gap[bisect.bisect_left(self._by_gap, by_gap)]

    def _leaders(self) -> list[tuple[str, _Made]]:
        """Who leads, and if it still runs, who would without it."""
        if self._finished is not None:
            return [self._finished]
        running = self._running.items()
        return heapq.nsmallest(2, running, key=lambda item: self._place(item[1]))

    def _lag(self, name: str, leaders: Sequence[tuple[str, _Made]]) -> float:
        """The p-value that a trial is behind the leader at the last rung that both reported."""
        made = self._running[name]
        leader, theirs = next((one for one in leaders if one[0] != name), ("", {}))
        if not (both := made.keys() & theirs.keys()):
            return 1.0
        step = max(both)
        if self._lags.get(name, ())[:2] != (leader, step):
            mine, other = made[step].per_task, theirs[step].per_task
            pairs = [(mine[task], other[task]) for task in mine.keys() & other.keys()]
            p = lag(*(self._sign * np.array(pairs).T)) if pairs else 1.0
            self._lags[name] = leader, step, p
        return self._lags[name][2]

    @property
    def _level(self) -> float:
        """Of the tests of a trial that runs, at one rung, against all the others."""
        return self._shared(self._rivals + len(self._running) - 1)

    def _shared(self, rivals: int) -> float:
        return self._racing.alpha / max(rivals, 1) / self._reports / 2

    def _place(self, made: _Made) -> tuple[float, float]:
        """Who came furthest leads, and of those the best."""
        step, report = max(made.items())
        score = self._sign * report.score
        return (-step, score) if math.isfinite(score) else (0, math.inf)

    def _gap(self, name: str) -> float:
        """How far behind the leader a trial was at its last report; low is good."""
        step, report = max(self._running[name].items())
        theirs = self._finished[1].get(step) if self._finished else None
        return self._sign * (report.score - theirs.score) if theirs else math.inf
