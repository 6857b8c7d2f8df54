"""What is asked, what is stopped, and that neither depends on when the study was built."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from metasearch.observe.base import Outcome, TrialInfo
from metasearch.search.advice import GO_ON, Advice
from metasearch.search.advisors import TPE, RandomSearch
from metasearch.search.ledger import Record
from metasearch.search.stopping import (
    Hyperband,
    Median,
    NoPruner,
    Patient,
    Percentile,
    SuccessiveHalving,
    Threshold,
)
from metasearch.search.study import Study
from metasearch.trial.report import Cost, Report

SPACE = {
    "x": {"uniform": [0.0, 1.0]},
    "n": {"log_integers": [1, 64]},
    "model": {"choice": [
        {"name": "vae", "beta": {"log_uniform": [0.1, 10.0]}},
        {"name": "gan", "loss": {"choice": ["hinge", None, 2, True]}},
    ]},
}  # fmt: skip
ADVICE = Advice("s", "minimize", seed=0, sampler=RandomSearch(), pruner=NoPruner(), reports=4)
Told = dict[int, tuple[Outcome | None, Sequence[float]]]


def advice(**changes):
    return dataclasses.replace(ADVICE, **changes)


@pytest.fixture
def build():
    """Makes studies, and closes their journals in the end."""
    with contextlib.ExitStack() as stack:

        def make(*given):
            study = Study(*given)
            stack.callback(study.close)
            return study

        yield make


def complete(score):
    return Outcome("complete", "finished", score=score, low=score - 1, high=score + 1, step=4)


def tell(study, number, scores):
    """Report scores one after another; end the trial where the study says so, or at the end."""
    for step, score in enumerate(scores, start=1):
        verdict = study.report(number, 100 * step, score)
        if verdict.stop:
            study.tell(number, "x", Outcome("pruned", verdict.reason, step=100 * step))
            return verdict.reason, step
    study.tell(number, "x", complete(scores[-1]))
    return "finished", len(scores)


@dataclasses.dataclass(frozen=True)
class Kept(Record):
    """A record that needs no folder for its reports."""

    scores: Sequence[float] = ()
    went_on: int = 0  # the last step at which it was told to

    def answered(self):
        return max(self.went_on, 100 * (len(self.scores) - 1)), False

    def said(self):
        return [
            Report(100 * i, False, Cost(i, 1, 0.0), score, 0.0, 0.0, 0.0, {}, {})
            for i, score in enumerate(self.scores, start=1)
        ]


def record(asked, outcome, scores, notes=None):
    trial = TrialInfo(asked.number, f"{asked.number:04d}", asked.params, asked.config)
    if outcome is None:
        return Kept(trial, Path(), asked_at=1.0, scores=scores)
    curve = tuple((100 * step, score) for step, score in enumerate(scores, start=1))
    return Kept(trial, Path(), 1.0, outcome, done_at=2.0, curve=curve, notes=notes or {})


def test_a_resolved_config_holds_what_was_drawn_and_no_more(build, tmp_path):
    study = build(tmp_path / "j", SPACE, ADVICE)
    seen = set()
    for number in range(12):
        asked = study.ask()
        assert asked.number == number
        model = asked.config["model"]
        assert model["name"] == asked.params["model"]
        assert set(asked.params) == {
            "x", "n", "model", "model.vae.beta" if model["name"] == "vae" else "model.gan.loss",
        }  # fmt: skip
        seen.add(model["name"])
        study.tell(number, "x", Outcome("failed", "user"))
    assert seen == {"vae", "gan"}


@pytest.mark.parametrize("sampler", [RandomSearch(), TPE(startup_trials=3)])
def test_a_study_built_again_asks_the_same(build, tmp_path, sampler):
    given = advice(sampler=sampler, pruner=Median(startup_trials=1), seed=5)

    def score(asked):
        return [asked.params["x"] + 1 / step for step in (1, 2, 3, 4)]

    whole = build(tmp_path / "whole", SPACE, given)
    straight = []
    for _ in range(14):
        straight.append(asked := whole.ask())
        tell(whole, asked.number, score(asked))

    past = []
    for number in range(14):
        study = build(tmp_path / "again", SPACE, given, past)
        asked = study.ask()
        assert asked == straight[number]
        reason, reports = tell(study, number, score(asked))
        pruned = Outcome("pruned", reason, step=100 * reports)
        outcome = complete(score(asked)[-1]) if reason == "finished" else pruned
        past.append(record(asked, outcome, score(asked)[:reports]))
        study.close()


def test_another_seed_asks_something_else(build, tmp_path):
    one, two = (build(tmp_path / str(s), SPACE, advice(seed=s)).ask().params for s in (1, 2))
    assert one != two


def test_a_step_told_again_changes_nothing(build, tmp_path):
    study = build(tmp_path / "j", SPACE, advice(pruner=Threshold(upper=1.0)))
    number = study.ask().number
    assert study.report(number, 100, 0.5) == GO_ON
    assert study.report(number, 200, 0.7) == GO_ON
    for step, score in ((100, 5.0), (200, 5.0), (50, math.nan)):
        assert study.report(number, step, score) == GO_ON
    assert study.report(number, 300, 5.0).reason == "pruner"
    study.tell(number, "x", Outcome("pruned", "pruner"))
    (told,) = load(tmp_path / "j")
    assert told.intermediate_values == {1: 0.5, 2: 0.7, 3: 5.0}


def load(file):
    """The journal by Optuna's own reader."""
    backend = optuna.storages.journal.JournalFileBackend(str(file))
    return optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend)).trials


def test_a_diverged_trial_is_told_pruned_with_its_nan(build, tmp_path):
    study = build(tmp_path / "j", SPACE, advice(sampler=TPE(startup_trials=1)))
    for _ in range(3):
        assert tell(study, study.ask().number, [0.5, math.nan, 0.1]) == ("non_finite", 2)
    assert tell(study, study.ask().number, [0.5, math.inf]) == ("non_finite", 2)
    assert study.ask().number == 4, "the sampler copes with them"
    first, *_ = load(tmp_path / "j")
    assert first.state is TrialState.PRUNED and first.user_attrs["reason"] == "non_finite"
    assert first.intermediate_values[1] == 0.5 and math.isnan(first.intermediate_values[2])


@pytest.mark.parametrize("away", [math.inf, -math.inf])
def test_a_score_that_overflowed_is_no_best_one_in_the_study_whichever_way(build, tmp_path, away):
    study = build(tmp_path / "j", SPACE, ADVICE)
    assert tell(study, study.ask().number, [0.5, away]) == ("non_finite", 2)
    (told,) = study._study.trials
    assert told.intermediate_values[1] == 0.5 and math.isnan(told.intermediate_values[2])


def test_the_last_report_is_taken_down_but_not_judged(build, tmp_path):
    study = build(tmp_path / "j", SPACE, advice(pruner=Threshold(upper=1.0)))
    number = study.ask().number
    assert study.report(number, 100, 9.0, judge=False) == GO_ON
    assert study.report(number, 200, math.nan, judge=False).reason == "non_finite"


# Five trials of four reports, one after another; after how many each is over, by hand. Optuna's
# median and percentile compare the best so far with what finished trials had at that report.
CURVES = [
    [0.9, 0.8, 0.7, 0.6],
    [0.5, 0.4, 0.3, 0.2],
    [0.8, 0.7, 0.5, 0.4],
    [0.45, 0.5, 0.6, 0.7],
    [0.95, 0.9, 0.9, 0.05],
]
PRUNERS = {
    NoPruner(): [4, 4, 4, 4, 4],
    Median(startup_trials=2, warmup=1): [4, 4, 2, 4, 2],
    Median(startup_trials=2, warmup=0): [4, 4, 1, 4, 1],
    Percentile(keep=25.0, startup_trials=2, warmup=1): [4, 4, 2, 3, 2],
    SuccessiveHalving(first_rung=1, reduction=2): [4, 4, 1, 2, 1],
    Threshold(upper=0.85, warmup=1): [4, 4, 4, 4, 2],
    Patient(patience=1, margin=0.0): [4, 4, 4, 3, 4],
}


SETTINGS = {
    Percentile(keep=25.0, startup_trials=2, warmup=1, every=2): [4, 4, 2, 4, 2],
    Median(startup_trials=2, warmup=1, least_trials=3): [4, 4, 4, 4, 2],
    Threshold(upper=0.85, every=2): [1, 4, 4, 4, 1],
    Threshold(upper=0.85, warmup=1, every=2): [4, 4, 4, 4, 2],
    Threshold(upper=0.65, warmup=2, every=2): [3, 4, 4, 4, 3],
    SuccessiveHalving(first_rung=1, reduction=2, startup_trials=2): [1, 1, 1, 2, 1],
}


@pytest.mark.parametrize("pruner", SETTINGS, ids=lambda p: p.name)
def test_pruners_stop_when_their_settings_say(build, tmp_path, pruner):
    study = build(tmp_path / "j", SPACE, advice(pruner=pruner))
    ends = [tell(study, study.ask().number, curve) for curve in CURVES]
    assert [reports for _, reports in ends] == SETTINGS[pruner]


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda p: f"{p.name}-{getattr(p, 'warmup', '')}")
@pytest.mark.parametrize("sign", [1, -1], ids=["minimize", "maximize"])
def test_pruners_stop_what_they_say(build, tmp_path, pruner, sign):
    if sign < 0 and isinstance(pruner, Threshold):
        pruner = dataclasses.replace(pruner, lower=-pruner.upper, upper=None)
    given = advice(pruner=pruner, direction="minimize" if sign > 0 else "maximize")
    study = build(tmp_path / "j", SPACE, given)
    ends = [tell(study, study.ask().number, [sign * s for s in curve]) for curve in CURVES]
    expected = next(v for k, v in PRUNERS.items() if k.name == pruner.name and (
        getattr(k, "warmup", 0) == getattr(pruner, "warmup", 0)))  # fmt: skip
    assert [reports for _, reports in ends] == expected


@pytest.mark.parametrize(
    "pruner",
    [SuccessiveHalving(reduction=2), Hyperband(reduction=2), Median(startup_trials=1, warmup=0)],
)
def test_a_pruner_remembers_after_the_study_was_built_again(build, tmp_path, pruner):
    given = advice(pruner=pruner, reports=8)
    curves = [[(7 * n + 3 * step) % 11 / 10 for step in range(8)] for n in range(12)]
    whole = build(tmp_path / "whole", SPACE, given)
    straight = [tell(whole, whole.ask().number, curve) for curve in curves]
    assert {reports for _, reports in straight} > {8}, "some are stopped"

    past, ends = [], []
    for number, curve in enumerate(curves):
        study = build(tmp_path / "again", SPACE, given, past)
        asked = study.ask()
        for step, score in enumerate(curve, start=1):
            if study.report(number, 100 * step, score).stop:
                break
        reason = study.verdict(number).reason or "finished"
        ends.append((reason, step))
        outcome = complete(curve[-1]) if reason == "finished" else Outcome("pruned", reason)
        past.append(record(asked, outcome, curve[:step], study.notes(number)))
        study.close()
    assert ends == straight


def test_an_open_trial_goes_on_with_its_number_params_and_reports(build, tmp_path):
    given = advice(pruner=Threshold(upper=1.0))
    first = build(tmp_path / "j", SPACE, given)
    asked = [first.ask() for _ in range(3)]
    past = [
        record(asked[0], complete(0.2), [0.5, 0.2]),
        record(asked[1], None, [0.7]),
        record(asked[2], None, [0.7, 4.0]),
    ]
    study = build(tmp_path / "j", SPACE, given, past)
    assert study.verdict(1) == GO_ON
    assert study.verdict(2).reason == "pruner", "it was over, and nobody had time to say so"
    assert study.report(1, 100, 9.0) == GO_ON
    assert study.report(1, 200, 0.6) == GO_ON
    study.tell(1, "one", complete(0.6))
    study.tell(2, "two", Outcome("pruned", "pruner"))
    assert study.ask().number == 3
    study.close()
    told = load(tmp_path / "j")
    assert [t.state for t in told] == [
        TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING,
    ]  # fmt: skip
    assert [t.params for t in told[:3]] == [a.params for a in asked]
    assert told[1].intermediate_values == {1: 0.7, 2: 0.6}
    assert (told[0].datetime_complete - told[0].datetime_start).total_seconds() == 1.0


@pytest.mark.parametrize("pruner", [Median(startup_trials=1, warmup=0), SuccessiveHalving()])
@pytest.mark.parametrize("went_on", [False, True])
def test_a_verdict_that_was_given_is_not_taken_back_by_a_study_built_again(
    build, tmp_path, pruner, went_on
):
    given = advice(pruner=pruner)
    first = build(tmp_path / "j", SPACE, given)
    asked = [first.ask() for _ in range(3)]
    assert not first.report(0, 100, 0.5).stop, "nobody was better"
    notes = []
    for number in (1, 2):
        for step in (1, 2, 3, 4):
            assert not first.report(number, 100 * step, 0.1).stop
        notes.append(first.notes(number))
        first.tell(number, "x", complete(0.1))
    open_one = record(asked[0], None, [0.5])
    past = [
        dataclasses.replace(open_one, went_on=100 if went_on else 0),
        *(record(asked[i], complete(0.1), [0.1] * 4, notes[i - 1]) for i in (1, 2)),
    ]
    study = build(tmp_path / "j", SPACE, given, past)
    assert study.verdict(0).stop is not went_on
    if went_on:
        assert study.report(0, 100, 0.5) == GO_ON, "said again"
        assert study.report(0, 200, 0.5).stop or isinstance(pruner, SuccessiveHalving)
        assert study.report(0, 300, 0.5).stop


@pytest.mark.parametrize("harm", ["", "garbage\n", '{"op_code": 4, "torn'])
def test_a_harmed_journal_does_no_harm(build, tmp_path, harm):
    study = build(tmp_path / "j", SPACE, ADVICE)
    asked = study.ask()
    study.tell(asked.number, "x", complete(0.3))
    study.close()
    (tmp_path / "j").write_text(harm)
    again = build(tmp_path / "j", SPACE, ADVICE, [record(asked, complete(0.3), [0.3])])
    again.close()
    (told,) = load(tmp_path / "j")
    assert (told.state, told.value) == (TrialState.COMPLETE, 0.3)


def test_no_warning_is_swallowed_but_that_a_feature_is_experimental(build, tmp_path):
    study = build(tmp_path / "j", SPACE, advice(sampler=TPE()))
    before = warnings.filters[:]
    study.ask()
    assert warnings.filters == before
