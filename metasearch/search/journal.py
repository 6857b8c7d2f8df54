"""The study's storage: Optuna's journal with one writer, and how far back advisors look."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from metasearch.observe.base import Outcome
from metasearch.search.advice import Advice
from metasearch.search.ledger import Record
from metasearch.search.outlook import Seen
from metasearch.search.remembered import Best, Bred, Front, Rank
from metasearch.search.repeats import Run
from metasearch.search.revival import BEHIND
from metasearch.space import sample

LATEST = 1000  # trials that samplers and pruners see, besides
GENERATION, PARENTS = ":generation", ":parent:"  # in names of what Optuna's samplers note
STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Journal(BaseJournalBackend):  # type: ignore[misc]
    """Optuna's journal format with one writer, which reads back only what it just wrote.

    Differs from `JournalFileBackend`, which locks, syncs and re-reads the file for every line:
    the lease admits one writer, and what a power cut takes is rebuilt from the ledger.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._first = 0  # the number of the first of `_fresh`
        self._fresh: list[dict[str, Any]] = []

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines, for dashboards to read along."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        self._file.writelines(f"{line}\n" for line in lines)
        self._file.flush()
        self._fresh += [json.loads(line) for line in lines]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """What was written from here on, as it would be read from the file."""
        del self._fresh[: log_number_from - self._first]
        self._first = log_number_from
        return iter(tuple(self._fresh))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Storage(JournalStorage):  # type: ignore[misc]
    """Holds all trials of one study, and shows advisors a part of them that does not grow.

    They see the trials that run, the `LATEST` asked, and the best of all (`remembered.Best`). For
    TPE that is the same density of the good as from all trials; that of the bad, in which older
    trials count ever less, is made of the latest. A pruner compares with the trials of late. With
    several objectives the best are those of the front, and the next best are of the latest. What is
    seen depends on the trials alone, not on the order in which they ended or on how often the
    search was continued.
    """

    def __init__(self, journal: BaseJournalBackend) -> None:
        """No study yet."""
        super().__init__(journal)
        self._bred = Bred()
        self._signs = [1.0]
        self._best = Best()
        self._created = 0
        self._open: set[int] = set()  # numbers of trials that are not over
        self._aside: set[int] = set()
        self._past: dict[int, FrozenTrial] = {}  # those that are, and those aside

    @property
    def aside(self) -> Set[int]:
        """Trials that advisors see as stopped, for now; who runs may turn out well, they hardly."""
        return self._aside

    @aside.setter
    def aside(self, numbers: Set[int]) -> None:
        """Show these so from now on, and no others."""
        for number in self._aside - numbers:
            self._take_back(number)
        for number in numbers - self._aside:
            self._open.discard(number)
            trial = copy.copy(self.get_trial(number))
            trial.state = TrialState.PRUNED
            self._put(trial)
        self._aside = {*numbers}

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """The one study of this storage."""
        self._signs = [-1.0 if way == StudyDirection.MAXIMIZE else 1.0 for way in directions]
        self._best = Front(self._signs) if len(directions) > 1 else Best()
        return int(super().create_new_study(directions, study_name))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A trial that runs, or that is over if the template is."""
        number: int = super().create_new_trial(study_id, template_trial)
        self._created += 1
        self._open.add(number)
        if template_trial is not None and template_trial.state.is_finished():
            self._close(number)
        return number

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Whoever reports is not aside."""
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._take_back(trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """End a trial, or begin one that waits."""
        done: bool = super().set_trial_state_values(trial_id, state, values)
        if state.is_finished():
            self._close(trial_id)
        return done

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """A sampler keeps in it which trials it chose to breed from."""
        super().set_study_system_attr(study_id, key, value)
        if PARENTS in key:
            self._bred.parents = value

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002 - there is one
        deepcopy: bool = True,  # noqa: FBT001, FBT002
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """What advisors see, by number."""
        numbers = {*range(max(0, self._created - LATEST), self._created)}
        numbers.update(self._open, self._best.numbers(), self._bred.numbers())
        shown = [self._past.get(number) or self.get_trial(number) for number in sorted(numbers)]
        shown = [trial for trial in shown if states is None or trial.state in states]
        return copy.deepcopy(shown) if deepcopy else shown

    def _close(self, number: int) -> None:
        self._take_back(number)
        self._open.discard(number)
        self._put(self.get_trial(number))

    def _put(self, trial: FrozenTrial) -> None:
        if len(self._signs) > 1 and trial.state is TrialState.PRUNED:
            # With several objectives TPE cannot tell by which score to rank them, and raises.
            trial = copy.copy(trial)
            trial.intermediate_values = dict.fromkeys(trial.intermediate_values, math.nan)
        self._past[trial.number] = trial
        generation = generation_of(trial.system_attrs)
        if generation is not None and trial.state is TrialState.COMPLETE:
            self._bred.put(trial.number, generation)
        if (rank := rank_of(trial, self._signs[0])) is not None:
            self._best.put(trial.number, rank, trial.values or ())

    def _take_back(self, number: int) -> None:
        """A trial is not aside any more, if it was."""
        if number in self._aside:
            self._aside.discard(number)
            if (rank := rank_of(self._past.pop(number), self._signs[0])) is not None:
                self._best.drop(number, rank)
            self._open.add(number)


def rank_of(trial: FrozenTrial, sign: float) -> Rank | None:
    """The order in which TPE calls trials good, small first; None if it never does.

    Complete ones by score, stopped ones by how far they came and then by score, and those that
    break bounds by how far.
    """
    if trial.state not in {TrialState.COMPLETE, TrialState.PRUNED}:
        return None
    if broken := sum(excess for excess in trial.constraints.values() if excess > 0):
        return 2, broken, 0.0
    if trial.state == TrialState.COMPLETE:
        return 0, sign * trial.values[0], 0.0
    step, score = max(trial.intermediate_values.items(), default=(-1, 0.0))
    return 1, -step, math.inf if math.isnan(score) else sign * score


def generation_of(notes: Mapping[str, Any]) -> int | None:
    """The one that a trial was bred for, as its sampler notes it; None if it was not bred."""
    return next((value for key, value in notes.items() if key.endswith(GENERATION)), None)


def ends_in(journal: Path) -> list[tuple[str, float | None]] | None:
    """How the trials of a journal ended, "open" if one has not, and the score of one that is
    complete, by number; None if unreadable.
    """
    try:
        backend = JournalFileBackend(str(journal))
        storage = JournalStorage(backend)
        (study,) = storage.get_all_studies()
    except Exception:  # Optuna has no word for a damaged journal; whatever falls over is one
        return None
    names = {state: word for word, state in STATES.items()}
    return [
        (names.get(t.state, "open"), t.values[0] if t.state is TrialState.COMPLETE else None)
        for t in storage.get_all_trials(study._study_id)
    ]


def frozen_of(record: Record, space: Any, advice: Advice) -> FrozenTrial:
    """A trial of the ledger as Optuna has it, RUNNING if it has no outcome."""
    fixed = FixedTrial(dict(record.info.params), number=record.number)
    sample(space, fixed)  # for the distributions, which the ledger does not keep
    outcome = record.outcome
    numbers = (
        i for i in count(1) if i != (record.behind or (0,))[0]
    )  # all but what was broken off
    curve = {i: score for i, (_, score) in zip(numbers, record.curve, strict=False)}
    state = STATES[outcome.state] if outcome else TrialState.RUNNING
    scalars = record.last.scalars if record.last else {}
    values = advice.values(outcome, scalars) if outcome else None
    last = next(reversed(curve.values()), math.nan)
    if state is TrialState.PRUNED and not math.isnan(last) and not advice.also:
        values = [last]  # as Optuna does when it is told
    frozen = create_trial(
        state=state,
        values=values,
        constraints=advice.broken(outcome, scalars) if outcome else None,
        params=fixed.params,
        distributions=fixed.distributions,
        intermediate_values=curve,
        user_attrs=attributes(record.info.name, outcome) if outcome else {},
        system_attrs=dict(record.notes),
    )
    frozen.datetime_start = datetime.fromtimestamp(record.asked_at)
    if record.done_at is not None:
        frozen.datetime_complete = datetime.fromtimestamp(record.done_at)
    return frozen


def curve_of(trial: FrozenTrial) -> FrozenTrial:
    """A trial as the pruner sees it, without its recipe and its further objectives."""
    values = trial.values[:1] if trial.values else None
    return create_trial(
        state=trial.state,
        values=values,
        intermediate_values=trial.intermediate_values,
        system_attrs=trial.system_attrs,
    )


def seen_of(trial: FrozenTrial, sign: float) -> Seen:
    """A trial as the process that looks ahead needs it; `sign` is 1 where low is good."""
    expected = dict([trial.system_attrs[BEHIND]] if BEHIND in trial.system_attrs else [])
    reports = expected | trial.intermediate_values
    costs = [sign * score for _, score in sorted(reports.items())]
    if whole := trial.state is TrialState.COMPLETE:
        costs = [*costs[:-1], sign * trial.value]
    unjudged = trial.state is TrialState.PRUNED and not costs
    failed = trial.state is TrialState.FAIL
    broken = max(trial.constraints.values(), default=0.0) > 0
    lost = failed or unjudged or broken or any(map(math.isnan, costs))
    return Seen(trial.params, costs, whole, lost)


def run_of(trial: FrozenTrial, sign: float) -> Run:
    """A run of a recipe; one that breaks a bound tells nothing of it, for it is not wanted."""
    kept = max(trial.constraints.values(), default=0.0) <= 0
    cost = None
    if any(map(math.isnan, trial.intermediate_values.values())):
        cost = math.inf
    elif trial.state is TrialState.COMPLETE and kept:
        cost = sign * trial.value
    return Run(trial.number, trial.params, cost)


def attributes(name: str, outcome: Outcome) -> dict[str, Any]:
    """What optuna-dashboard shows beside the parameters."""
    shown = {
        "name": name,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "low": outcome.low,
        "high": outcome.high,
        "seconds": round(outcome.seconds, 3),
        "error": outcome.error.rpartition("\n")[2],
    }
    return {key: value for key, value in shown.items() if value not in {None, ""}}
