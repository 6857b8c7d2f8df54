"""What to try next and what to stop: Optuna behind three verbs. Knows no Ray and no files but one.

The study is derived: it is rebuilt from the ledger whenever a search is opened, so a torn, stale
or deleted journal cannot hurt. The journal is written for `optuna-dashboard` and for people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.trial import Trial

from metasearch.observe.base import Outcome
from metasearch.rng import Stream
from metasearch.search.advice import GO_ON, Advice, Asked, Verdict
from metasearch.search.advisors import CMAES, GP, TPE, Grid
from metasearch.search.dominance import Reached
from metasearch.search.evolution import Evolution
from metasearch.search.journal import (
    STATES,
    Journal,
    Storage,
    attributes,
    curve_of,
    frozen_of,
    rank_of,
    run_of,
    seen_of,
)
from metasearch.search.ledger import Record
from metasearch.search.outlook import Outlook
from metasearch.search.points import Points
from metasearch.search.pruners import make_pruner
from metasearch.search.repeats import NOTE, Due, due
from metasearch.search.revival import BEHIND
from metasearch.search.samplers import Fresh, Parents, Tried, make_sampler
from metasearch.search.stopping import Dominated
from metasearch.space import sample

_MOST = 2**32  # above what NumPy's old generators take


class Study:
    """One search as Optuna sees it; trial numbers are those of the ledger.

    A suggestion is a function of the seed, its number and the trials that were told before: the
    sampler carries no state from one to the next, so a search that was killed and continued asks
    the same as one that was not (exactly, if one trial runs at a time).

    A trial is RUNNING in the journal from `ask` to `tell`. One that an interrupt left without an
    outcome stays so, as it may go on; in a search that came to its end there is none.
    """

    def __init__(
        self,
        journal: Path,
        space: Any,
        advice: Advice,
        past: Sequence[Record] = (),
    ) -> None:
        """Write `journal` anew from `past`, the ledger's records by number.

        Of trials without an outcome the reports are read, and judged where they were not before;
        see `verdict`.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._advice = advice
        self._sign = 1.0 if advice.direction == "minimize" else -1.0
        self._points = Points(advice.sampler, space, advice.seed, advice.first)
        self._live: dict[int, _Live] = {}
        self._asked = len(past)
        self._tried = Tried(self._points, [record.info.params for record in past])
        settings = advice.pruner
        self._reached = Reached(settings, advice) if isinstance(settings, Dominated) else None
        process = isinstance(advice.sampler, GP) and not advice.also
        self._outlook = Outlook(space, advice.seed) if process else None
        cma = advice.sampler if isinstance(advice.sampler, CMAES) else None
        self._evolution = Evolution(cma, space, advice.seed) if cma else None
        repeats = {record.number for record in past if NOTE in record.notes}
        self.spared = {*advice.spared, *repeats}  # numbers of trials that run to their ends
        draft = journal.with_name(f".{journal.name}.draft")
        self._journal = Journal(draft)
        self._storage = Storage(self._journal)
        pruner = make_pruner(advice.pruner, advice.reports)
        self._study = self._curves = optuna.create_study(
            storage=self._storage,
            study_name=advice.name,
            directions=[advice.direction, *(direction for _, direction in advice.also)],
            pruner=pruner,
        )
        if advice.also:  # Optuna's pruners know one objective: they see the score that ranks
            self._curves = optuna.create_study(
                study_name=advice.name, direction=advice.direction, pruner=pruner
            )
        self._rebuild(past)
        for record in past:
            if record.outcome is None:
                self._adopt(record)
        draft.replace(journal)  # the open file moves along

    def _rebuild(self, past: Sequence[Record]) -> None:
        """Take down what the ledger has."""
        parents = Parents(self._advice.sampler, self._study, self._advice.seed % _MOST)
        for record in past:
            frozen = frozen_of(record, self._space, self._advice)
            parents.choose(frozen)
            self._study.add_trial(frozen)
            self._evolve(record.number)
            if self._advice.also:
                self._curves.add_trial(curve_of(frozen))
            if self._reached and record.outcome:
                for made, report in enumerate(record.reports(), start=1):
                    self._reached.reported(record.number, made, report.score, report.scalars)

    def ask(self, aside: frozenset[int] = frozenset()) -> Asked:
        """Suggest the next trial; those set aside count as stopped where they are."""
        repeating, advice = self.repeating, self._advice
        number, self._asked = self._asked, self._asked + 1
        stream = Stream(advice.seed).at("sampler", number)
        self._study.sampler = self._sampler(stream)
        self._storage.aside = aside if isinstance(advice.sampler, TPE) else frozenset()
        again = self._due() if repeating else None
        point = again.params if again else self._points.at(number)
        point = self._point(number, stream) if point is None else point
        if point is not None:
            self._study.enqueue_trial(point)
        trial = self._study.ask()
        config = sample(self._space, trial)
        if seed_moved := again.seed if again else dict(enumerate(advice.seeds)).get(number, 0):
            config = {**config, "seed": config.get("seed", 0) + seed_moved}
        if again:
            self._storage.set_trial_system_attr(number, NOTE, again.first)
            self.spared.add(number)
        self._live[number] = _Live(trial, self._curves.ask() if advice.also else trial)
        self._tried.add(trial.params)
        return Asked(number, dict(trial.params), config, stream.key % _MOST, self.notes(number))

    @property
    def repeating(self) -> bool:
        """Whether what would be asked now is a recipe that was tried, if one is to be repeated."""
        advice = self._advice
        return advice.repeats is not None and self._asked >= advice.repeated_from

    def _due(self) -> Due | None:
        assert self._advice.repeats is not None, "else nothing is repeated"
        runs = [run_of(trial, self._sign) for trial in self._study.get_trials(deepcopy=False)]
        return due(runs, self._advice.repeats)

    def _point(self, number: int, stream: Stream) -> dict[str, Any] | None:
        """Values of draws as what was told suggests them; None if Optuna's sampler decides."""
        if isinstance(self._advice.sampler, Grid):
            return self._tried.following()
        if self._evolution:
            return self._evolution.suggest(number)
        if self._outlook:
            seen = [seen_of(one, self._sign) for one in self._study.get_trials(deepcopy=False)]
            hoped_for = self._outlook.next(seen, self._tried, stream)
            return hoped_for or self._tried.other(stream.at("other"))
        return None

    def _evolve(self, number: int) -> None:
        """Tell an evolution of a trial that is over; one that failed tells nothing."""
        trial = self._storage.get_trial(number)
        if self._evolution and (rank := rank_of(trial, self._sign)) is not None:
            self._evolution.tell(number, trial.params, rank)

    def _sampler(self, stream: Stream) -> optuna.samplers.BaseSampler:
        """The one for a suggestion; those that model what was tried do not ask it twice."""
        settings, root = self._advice.sampler, self._advice.seed % _MOST

        def make(time: int) -> optuna.samplers.BaseSampler:
            at = stream.at("again", time) if time else stream
            return make_sampler(settings, at.key % _MOST, root)

        if isinstance(settings, TPE | GP):  # a process, where there are several objectives
            return Fresh(make, self._tried, stream.at("other"))
        return make(0)

    def report(
        self,
        number: int,
        step: int,
        score: float,
        scalars: Mapping[str, float] = MappingProxyType({}),
        *,
        judge: bool = True,
    ) -> Verdict:
        """Take an intermediate score and say whether to stop; a step told before changes nothing.

        Optuna counts reports, from 1, where a search counts gradient evaluations: a rung is then
        the same number for pruners and people. `scalars` hold further objectives. Without `judge`
        all is only taken down, for the trial is at its end anyway.
        """
        live = self._live[number]
        if step <= live.step:
            return GO_ON
        live.step = step
        live.reports += 1
        told = score if math.isfinite(score) else math.nan  # what overflowed is not the best of all
        live.curve.report(told, live.reports)
        if live.curve is not live.trial:  # `report` refuses where there are several objectives
            self._storage.set_trial_intermediate_value(number, live.reports, told)
        if self._reached:
            self._reached.reported(number, live.reports, score, scalars)
        if not math.isfinite(score):
            live.verdict = Verdict(stop=True, reason="non_finite")
        elif not judge or number in self.spared:
            pass
        elif live.curve.should_prune():
            live.verdict = Verdict(stop=True, reason="pruner")
        elif self._reached:
            why = self._reached.beaten(number, live.reports, score, scalars)
            live.verdict = Verdict(stop=True, reason="pruner", detail=why) if why else GO_ON
        return live.verdict

    def expect(self, number: int, step: int, score: float) -> None:
        """What a report would come to that was broken off: for the process, not for pruners."""
        live = self._live[number]
        if step > live.step:
            live.step = step
            live.reports += 1
            self._storage.set_trial_system_attr(number, BEHIND, [live.reports, score])

    def verdict(self, number: int) -> Verdict:
        """What was last said about a trial without an outcome."""
        return self._live[number].verdict

    def notes(self, number: int) -> dict[str, Any]:
        """What advisors remember of a trial, for the ledger: without it, they would forget."""
        curve = self._live[number].curve
        attrs = self._storage.get_trial(number).system_attrs | dict(
            curve.storage.get_trial(number).system_attrs
        )
        return {key: value for key, value in attrs.items() if not key.startswith("tpe:")}

    def tell(
        self,
        number: int,
        name: str,
        outcome: Outcome,
        scalars: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Close a trial: complete with its scores, pruned with its reports, or failed.

        `scalars` are those of its last report, for further objectives and bounds.
        """
        live = self._live.pop(number)
        for key, value in attributes(name, outcome).items():
            live.trial.set_user_attr(key, value)  # first: a finished trial cannot be changed
        for key, excess in self._advice.broken(outcome, scalars).items():
            live.trial.set_constraint(key, excess)
        values, state = self._advice.values(outcome, scalars), STATES[outcome.state]
        self._study.tell(live.trial, values, state=state)
        self._evolve(number)
        if live.curve is not live.trial:
            self._curves.tell(live.curve, values[:1] if values else None, state=state)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _adopt(self, record: Record) -> None:
        """Go on with a trial that has no outcome: take its reports down again, in order.

        All are judged, for pruners keep notes; what was judged before goes by that verdict.
        """
        # One study per storage: Optuna's ids are its numbers, and these are the ledger's.
        trial = Trial(self._study, record.number)
        curve = Trial(self._curves, record.number) if self._advice.also else trial
        live = self._live[record.number] = _Live(trial, curve)
        passed, _ = record.answered()
        for report in record.said():
            if report.behind:
                self.expect(record.number, report.step, report.score)
            elif report.whole:
                self.report(
                    record.number, report.step, report.score, report.scalars, judge=not report.final
                )
            if report.step <= passed:
                live.verdict = GO_ON


@dataclass
class _Live:
    """A trial between `ask` and `tell`."""

    trial: Trial
    curve: Trial  # the same, or what the pruner sees of it
    step: int = -1  # of the last report, in gradient evaluations
    reports: int = 0
    verdict: Verdict = GO_ON
