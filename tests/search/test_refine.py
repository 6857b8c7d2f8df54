"""The second phase: generations from a trial's weights, in a run of their own."""

from __future__ import annotations

import pytest

from metasearch.cli.app import run as command
from metasearch.errors import RunError
from metasearch.search.export import export
from metasearch.search.ledger import open_run
from metasearch.search.refine import lay_out, pick
from metasearch.search.worker import whole_checkpoints
from tests.small import blobs_file, searched, trial


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    tree = trial(blobs_file(folder / "blobs.npz"), outer={"lr": {"log_uniform": [2e-3, 1e-2]}})
    return searched(folder / "run", tree, trials=2)


def test_generations_begin_from_the_best_so_far_and_leave_the_first_run_alone(first, tmp_path):
    before = sorted(p.relative_to(first.folder) for p in first.folder.rglob("*"))
    place = first.folder.parent / "again"
    words = ["refine", str(first.folder), "--name", "again", "--trials", "4", "--backend", "local"]
    assert command(words) == 0
    assert sorted(p.relative_to(first.folder) for p in first.folder.rglob("*")) == before
    winner, found = first.best()[0], open_run(place)
    starts = [r.info.config["start"]["checkpoint"] for r in found.trials]
    assert starts[0] == f"start/{winner.info.name}"
    done = [r for r in found.trials if r.outcome.state == "complete"]
    for record in found.trials[1:]:
        earlier = [r for r in done if r.number < record.number]
        best = min(earlier, key=lambda r: r.outcome.score)
        want = whole_checkpoints(best.folder)[0].relative_to(place).as_posix()
        assert record.info.config["start"]["checkpoint"] == want
    assert {r.info.config["budget"]["gradients"] for r in found.trials} == {300}
    assert found.best()[0].outcome.score < winner.outcome.score  # twice the training
    best = found.best()[0].number  # by `search`; `confirm` might rank another first
    assert export(found, tmp_path / "b", trial=best, baselines=())["trial"] == best


def test_rates_and_schedules_are_drawn_around_what_they_were(first, tmp_path):
    record = pick(first, None)
    file = lay_out(first, record, tmp_path / "r", {"backend": "local"}, share=2.0)
    known = {draw.path: (draw.low, draw.high) for draw in file.draws}
    lr = record.info.config["outer"]["lr"]
    assert known["outer.lr"] == pytest.approx((lr / 10, lr))
    assert known["algorithms[0].inner.lr"] == pytest.approx((0.025, 0.1))
    assert set(known) == {"outer.lr", "outer.schedule", "algorithms[0].inner.lr"}
    assert file.search.warm_start and file.search.references == 0
    assert file.space["budget"]["gradients"] == 1200


def test_only_a_trial_that_finished_is_refined_and_only_once_to_a_place(first, tmp_path):
    with pytest.raises(RunError, match="trial 9 finished that could be refined; finished: "):
        pick(first, 9)
    lay_out(first, pick(first, 1), tmp_path / "r", {})
    with pytest.raises(RunError, match="exists already"):
        lay_out(first, pick(first, 1), tmp_path / "r", {})


def test_what_was_opened_of_test_counts_in_the_second_phase(first, tmp_path):
    export(first, tmp_path / "b", baselines=())
    lay_out(first, pick(first, None), tmp_path / "r", {})
    assert (tmp_path / "r" / "test_opened.json").exists()
