"""The winner is chosen on `confirm`, and `test` is opened once."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from metasearch.bundle.evaluate import evaluate
from metasearch.bundle.load import load_bundle
from metasearch.cli.exported import report_text
from metasearch.errors import NoUsableTrial, RunError
from metasearch.scores.features import random_features
from metasearch.search import confirm as ranking
from metasearch.search import export as module
from metasearch.search.config import Confirm
from metasearch.search.evidence import GUARDS
from metasearch.search.export import export
from metasearch.search.ledger import Run, open_run
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.trial.loop import bench_for
from metasearch.trial.report import FLOOR, REAL
from tests.bundle.conftest import rewrite
from tests.small import blobs_file, config, searched, trial


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return blobs_file(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory) -> Run:
    """Five trials that differ; some never leave their initialisation."""
    lr, clip = {"choice": [0.0, 0.01]}, {"log_uniform": [0.009, 0.011]}
    tree = trial(file, outer={"lr": lr, "clip": clip})
    run = searched(tmp_path_factory.mktemp("runs") / "blobs", tree, trials=5, seed=2)
    rates = [record.info.params["outer.lr"] for record in run.trials]
    assert {0.0, 0.01} == set(rates)
    return run


@pytest.fixture
def run(finished, tmp_path) -> Run:
    """A run folder to write to."""
    return open_run(shutil.copytree(finished.folder, tmp_path / "blobs"))


@pytest.fixture
def data(file) -> ImageTasks:
    """The source that exports of this process read, with its counter of what was opened."""
    found = bench_for(config(file)).data
    assert isinstance(found, ImageTasks)
    found._opened.clear()
    return found


def of_rate(run: Run, rate: float) -> list[int]:
    """The trials with this outer rate, best by `search` first."""
    return [r.number for r in run.best(9) if r.info.params["outer.lr"] == rate]


def lucky(run: Run, number: int) -> Run:
    """The same run, in which this trial has by far the best score on `search`."""
    path = run.folder / "ledger" / f"{number:04d}.done.json"
    rewrite(path, lambda done: done["outcome"].update(score=-1000.0))
    return open_run(run.folder)


def test_searching_opens_no_test_task_and_export_opens_each_once(file, tmp_path, data):
    run = searched(tmp_path / "run", trial(file))
    assert (data.opened("search") > 0, data.opened("confirm"), data.opened("test")) == (True, 0, 0)
    export(run, tmp_path / "b")
    assert data.opened("test") == len(data.tasks("test")) == 4


def test_ranking_on_confirm_leaves_the_test_tasks_shut(run, data, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        export(run, tmp_path / "b")
    assert data.opened("confirm") > 0
    assert data.opened("test") == 0
    assert not (run.folder / "test_opened.json").exists()
    assert not (tmp_path / "b").exists()


def test_the_luckiest_of_the_search_is_not_exported_if_confirm_disagrees(run, tmp_path):
    stuck = of_rate(run, 0.0)[0]
    run = lucky(run, stuck)
    assert run.best()[0].number == stuck
    report = export(run, tmp_path / "b", confirm=Confirm(top=5), baselines=())
    assert report["trial"] in of_rate(run, 0.01)
    rows = report["ranking"]["rows"]
    ranks = [row["trial"] for row in rows]
    assert sorted(ranks) == sorted(r.number for r in run.best(5))
    assert ranks[0] == report["trial"]
    scores = [row["confirm"] for row in rows]
    assert scores == sorted(scores)
    assert next(row for row in rows if row["trial"] == stuck)["search"] == -1000

    assert json.loads((tmp_path / "b" / "report.json").read_text()) == report


def test_only_the_best_few_meet_the_confirm_tasks(run, tmp_path):
    run = lucky(run, of_rate(run, 0.0)[0])
    report = export(run, tmp_path / "b", confirm=Confirm(top=1), baselines=())
    assert report["trial"] == run.best()[0].number
    assert len(report["ranking"]["rows"]) == 1


JUDGE_ON = ranking.judge_on


def replaced(monkeypatch, values):
    """Candidates get these scores on `confirm`, in the order they are judged."""
    left = iter(values)

    def judge_on(candidate, panel):
        judged = JUDGE_ON(candidate, panel)
        shift = next(left) - judged.score.mean()
        return replace(judged, score=judged.score + shift)

    monkeypatch.setattr(ranking, "judge_on", judge_on)


def test_where_high_is_good_the_highest_wins(run, monkeypatch):
    """Scores are turned round by a direction, not by luck."""
    bench = bench_for(first_config(run.best()[0]))
    found = [module.Candidate.revive(r, bench) for r in run.best(5)]

    class Upward(type(found[0].config.score)):
        direction = "maximize"

    turned = [replace(c, config=replace(c.config, score=Upward(samples=2))) for c in found]
    replaced(monkeypatch, [1.0, math.nan, 3.0, 2.0, -1.0])
    winner, told = ranking.rank(turned, bench, tell=lambda _: None)
    assert winner is turned[2]
    confirm = [row["confirm"] for row in told["rows"]]
    assert confirm[:4] == pytest.approx([3.0, 2.0, 1.0, -1.0]) and math.isnan(confirm[4])
    assert [row["behind"] for row in told["rows"][1:4]] == pytest.approx([1, 2, 4])


def first_config(record):
    from metasearch.trial.config import from_data

    return from_data(record.info.config)


def test_a_trial_that_diverges_on_confirm_comes_last_and_none_is_left_if_all_do(
    run, tmp_path, monkeypatch
):
    best = run.best(5)
    replaced(monkeypatch, [math.nan, 5.0, math.nan, 4.0, math.nan])
    report = export(run, tmp_path / "b", baselines=())
    assert report["trial"] == best[3].number
    told = json.loads((tmp_path / "b" / "report.json").read_text())["ranking"]["rows"]
    assert [row["confirm"] for row in told] == [pytest.approx(4), pytest.approx(5), *[None] * 3]

    replaced(monkeypatch, [math.nan] * 5)
    with pytest.raises(NoUsableTrial, match="every trial diverges on the confirm tasks"):
        export(run, tmp_path / "c")


def test_what_was_exported_is_what_evaluate_finds(run, tmp_path):
    report = export(run, tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    for split in ("search", "confirm", "test"):
        told = evaluate(bundle, split=split)
        assert {k: told[k] for k in report["splits"][split]} == report["splits"][split]
    winner = next(r for r in run.trials if r.number == report["trial"])
    assert winner.outcome is not None
    assert report["splits"]["search"]["mean"] == winner.outcome.score


def test_the_report_sets_the_winner_beside_baselines_and_floors(run, tmp_path):
    report = export(run, tmp_path / "b", tell=(told := []).append)
    assert report["recipe"] == {"model": "vae", "algorithm": "reptile"}
    assert set(report["baselines"]) == {
        "joint", "joint + fine-tune", "scratch",
        "Beta-Bernoulli pixels", "kernel density", "pixel marginal",
    }  # fmt: skip
    assert set(report["against"]) == {"joint", "joint + fine-tune", "scratch"}
    test = report["against"]["scratch"]["test"]
    means = [entry["test"]["mean"] for entry in (report["splits"], report["baselines"]["scratch"])]
    assert test["difference"] == pytest.approx(means[0] - means[1])
    assert test["settled"] is True and test["high"] < 0
    assert report["test_openings"] == 1
    assert told[-2:] == ["training baselines of the same budget", "opening the test tasks"]
    with Image.open(tmp_path / "b" / "samples.png") as sheet:
        assert sheet.width > 300


def test_an_algorithm_is_no_rival_of_itself(file, tmp_path):
    run = searched(tmp_path / "run", trial(file, algorithms=[{"name": "joint"}]), trials=1)
    report = export(run, tmp_path / "b")
    assert set(report["against"]) == {"scratch"}


def test_the_same_trial_is_exported_again_without_opening_test(run, data, tmp_path, monkeypatch):
    first = export(run, tmp_path / "one")
    opened = data.opened("test")
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("a baseline was trained again"))
    again = export(run, tmp_path / "two")
    named = export(run, tmp_path / "three", trial=first["trial"])
    assert data.opened("test") == opened
    assert again == first
    assert named["splits"] == first["splits"] and named["test_openings"] == 1
    files = ("model.safetensors", "report.json", "samples.png", "config.yaml", "adaptation.json")
    assert all(
        (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        for name in files
    )
    openings = json.loads((run.folder / "test_opened.json").read_text())["openings"]
    assert [entry["trial"] for entry in openings] == [first["trial"]]


def test_a_folder_that_moved_remembers_what_was_found(run, data, tmp_path):
    first = export(run, tmp_path / "one")
    moved = open_run(run.folder.rename(tmp_path / "elsewhere"))
    opened = data.opened("test")
    assert export(moved, tmp_path / "two") == first
    assert data.opened("test") == opened


@pytest.mark.parametrize("what", ["code", "baselines"])
def test_evidence_of_other_code_or_other_rivals_is_not_passed_off(run, tmp_path, monkeypatch, what):
    """The same trial may be judged again then: that chooses nothing, and it is counted."""
    export(run, tmp_path / "one")
    if what == "code":
        monkeypatch.setattr(module, "__version__", "9.9.9")
    rivals = ("joint", "scratch") if what == "code" else ("scratch",)
    report = export(run, tmp_path / "two", baselines=rivals)
    assert report["test_openings"] == 2
    assert ("joint" in report["against"]) is ("joint" in rivals)


def test_another_trial_is_refused_and_with_again_it_is_recorded(run, data, tmp_path):
    first, second = (r.number for r in run.best(2))
    export(run, tmp_path / "one", trial=first)
    opened = data.opened("test")
    message = (
        rf"opened for trial {first}, not for trial {second}; .*--trial {first}, or add --again"
    )
    with pytest.raises(RunError, match=message):
        export(run, tmp_path / "two", trial=second)
    assert data.opened("test") == opened
    assert not (tmp_path / "two").exists()

    report = export(run, tmp_path / "two", trial=second, again=True)
    assert report["trial"] == second
    assert report["test_openings"] == 2
    assert data.opened("test") == 2 * opened
    openings = json.loads((run.folder / "test_opened.json").read_text())["openings"]
    assert [(e["trial"], e["again"]) for e in openings] == [(first, False), (second, True)]
    assert "opened 2 times" in (tmp_path / "two" / "README.md").read_text()

    back = export(run, tmp_path / "three", trial=first)  # known already, so nothing is opened
    assert (back["trial"], back["test_openings"]) == (first, 2)
    assert data.opened("test") == 2 * opened


def test_an_export_that_was_killed_has_opened_the_test_tasks_all_the_same(
    run, tmp_path, monkeypatch
):
    first, second = (r.number for r in run.best(2))

    def kill(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "gather_evidence", kill)
        with pytest.raises(KeyboardInterrupt):
            export(run, tmp_path / "b", trial=first)
    with pytest.raises(RunError, match=f"opened for trial {first}"):
        export(run, tmp_path / "b", trial=second)
    assert export(run, tmp_path / "b", trial=first)["test_openings"] == 2


def test_a_place_that_is_taken_is_refused_before_anything_is_opened(run, data, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunError, match="taken exists already"):
        export(run, tmp_path / "taken")
    assert data.opened("confirm") == data.opened("test") == 0


def test_a_trial_that_is_unknown_or_did_not_finish_is_refused(run, tmp_path):
    finished = ", ".join(str(r.number) for r in run.best(9))
    with pytest.raises(RunError, match=f"trial 77 did not finish; finished trials: {finished}"):
        export(run, tmp_path / "b", trial=77)
    rewrite(
        run.folder / "ledger" / "0001.done.json",
        lambda done: done["outcome"].update(state="pruned"),
    )
    with pytest.raises(RunError, match="trial 1 did not finish"):
        export(open_run(run.folder), tmp_path / "b", trial=1)


def test_a_run_in_which_nothing_finished_exports_nothing(run, tmp_path):
    for path in (run.folder / "ledger").glob("*.done.json"):
        rewrite(path, lambda done: done["outcome"].update(state="failed", score=None))
    with pytest.raises(NoUsableTrial, match=r"no trial finished.*metasearch status") as told:
        export(open_run(run.folder), tmp_path / "b")
    assert told.value.exit_code == 3


def test_checkpoints_that_are_gone_or_damaged_are_told(run, tmp_path):
    best = run.best()[0]
    for weights in best.folder.rglob("model-0.safetensors"):
        weights.write_bytes(b"short")
    with pytest.raises(RunError, match=r"model-0\.safetensors: missing or changed"):
        export(run, tmp_path / "b", trial=best.number)
    shutil.rmtree(best.folder / "checkpoints")
    with pytest.raises(RunError, match="no whole checkpoint is left; choose another trial"):
        export(run, tmp_path / "b", trial=best.number)


def test_a_pool_exports_the_champion_it_was_judged_by(file, tmp_path):
    net = {"name": "mlp", "hidden": 8}
    tree = trial(
        file,
        models=[{"name": "vae", "latent": n, "net": net} for n in (2, 3, 5)],
        algorithms=[
            {"name": "maml", "inner": {"steps": 2}, "first_order": True},
            {"name": "meta_sgd", "inner": {"steps": 1}},
        ],
        strategy={"segment": 2},
    )
    run = searched(tmp_path / "run", tree, trials=1)
    assert run.trials[0].outcome is not None
    report = export(run, tmp_path / "b", baselines=("scratch",))
    (part,) = load_bundle(tmp_path / "b").parts
    champion = module.Candidate.revive(
        run.trials[0], bench_for(first_config(run.trials[0]))
    ).champion
    assert part.adapter.learner.family == champion.family
    assert part.adapter.inner == champion.algorithm.inner.at_test()
    assert report["recipe"]["algorithm"] == champion.algorithm.name
    mine, theirs = champion.adapter.learner.parameters(), part.adapter.learner.parameters()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert part.adapter.rates.keys() == champion.adapter.rates.keys()
    assert report["splits"]["search"]["mean"] == run.trials[0].outcome.score
    told = evaluate(load_bundle(tmp_path / "b"))
    assert told["mean"] == report["splits"]["test"]["mean"]


def test_features_travel_with_the_bundle_and_real_images_are_shown(file, tmp_path, monkeypatch):
    monkeypatch.setattr("metasearch.trial.loop.cached_features", random_features)
    tree = trial(file, score={"name": "mmd"}, tasks={**trial(file)["tasks"], "seed": 1})
    report = export(searched(tmp_path / "run", tree, trials=1), tmp_path / "b", baselines=())
    assert "real images" in report["baselines"]
    assert (tmp_path / "b" / "features.safetensors").is_file()
    assert evaluate(load_bundle(tmp_path / "b"))["mean"] == report["splits"]["test"]["mean"]


def test_a_baseline_that_diverges_is_null_in_standard_json(file, tmp_path):
    wild = {"name": "reptile", "inner": {"steps": 1, "test_steps": 0, "lr": 0.05}}
    run = searched(tmp_path / "run", trial(file, algorithms=[wild]), trials=1)
    with pytest.MonkeyPatch.context() as patched:
        real = module.train

        def broken(*given):
            rival = real(*given)
            next(iter(rival.learner.parameters().values())).data.fill_(math.nan)
            return rival

        patched.setattr(module, "train", broken)
        report = export(run, tmp_path / "b", baselines=("scratch",))
    entry = report["baselines"]["scratch"]["test"]
    assert entry["mean"] is entry["low"] is None
    assert report["against"]["scratch"]["test"]["settled"] is False
    text = (tmp_path / "b" / "report.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert "diverged" in (tmp_path / "b" / "README.md").read_text()


def test_a_recipe_of_another_machines_device_is_judged_on_this_one(run, tmp_path):
    for path in (run.folder / "ledger").glob("*.asked.json"):
        rewrite(path, lambda asked: asked["config"].update(device="cuda:77"))
    report = export(open_run(run.folder), tmp_path / "b", baselines=())
    assert math.isfinite(report["splits"]["test"]["mean"])


def test_the_polarity_of_the_training_images_is_written_down(run, tmp_path):
    export(run, tmp_path / "b", baselines=())
    assert load_bundle(tmp_path / "b").border == pytest.approx(-1, abs=0.2)
    drawn = load_bundle(tmp_path / "b").adapt(torch.full((2, 8, 8), 255, dtype=torch.uint8))
    assert drawn.inverted


def test_what_is_judged_again_grows_with_the_search_and_asks_for_sense():
    assert [Confirm().count(n) for n in (3, 50, 51, 200)] == [5, 5, 6, 20]
    assert Confirm(top=3, share=0.0).count(500) == 3
    for wrong in ({"share": 1.5}, {"repeats": -1}, {"top": 0}):
        with pytest.raises(ValueError, match="must"):
            Confirm(**wrong)


def judged(price, shift, tasks=20):
    """A candidate that is worse than the first by `shift`, give or take 1, on each task."""
    swing = np.where(np.arange(tasks) % 2, 1.0, -1.0)

    class One(ranking.Judged):
        price = None

    made = One(None, {}, {}, 10 + shift + (swing if shift else 0 * swing))
    object.__setattr__(made, "price", price)
    return made


def test_within_one_standard_error_the_cheapest_is_taken():
    """The error of the mean of 20 differences of shift +- 1 is about 0.23."""
    first, near, far = judged((90, 5), 0.0), judged((30, 5), 0.2), judged((0, 5), 0.3)
    assert ranking.cheapest([first, near, far], 1.0) is near
    assert ranking.cheapest([first, far], 1.0) is first
    slim = judged((30, 4), 0.1)
    assert ranking.cheapest([first, near, slim], 1.0) is slim
    lost = judged((0, 1), math.nan)
    assert ranking.cheapest([first, lost], 1.0) is first


def test_the_rule_of_one_standard_error_is_written_down(run, tmp_path):
    report = export(run, tmp_path / "b", confirm=Confirm(rule="one_se"), baselines=())
    assert report["ranking"]["rule"] == "one_se"
    assert report["trial"] in {row["trial"] for row in report["ranking"]["rows"]}


def test_ties_share_their_rank_in_a_correlation():
    assert ranking.spearman([1, 2, 2, 3], [10, 20, 20, 30]) == pytest.approx(1)
    assert math.isnan(ranking.spearman([1, 1, 1], [1, 2, 3]))
    rng = np.random.Generator(np.random.PCG64(0))
    a, b = rng.integers(0, 5, 30), rng.integers(0, 5, 30)
    assert ranking.spearman(a, b) == pytest.approx(float(spearmanr(a, b).statistic))


def test_other_seeds_of_the_recipe_are_trained_once_and_told(run, tmp_path):
    report = export(run, tmp_path / "b", confirm=Confirm(repeats=2), baselines=())
    told = report["repeats"]
    assert told["seeds"] == [1, 2]
    means = told["means"]["test"]
    assert len({report["splits"]["test"]["mean"], *means}) == 3, "seeds differ"
    whole = [report["splits"]["test"]["mean"], *means]
    assert told["deviation"]["test"] == pytest.approx(np.std(whole, ddof=1))
    assert "2 other seeds" in (tmp_path / "b" / "README.md").read_text()
    assert export(run, tmp_path / "c", confirm=Confirm(repeats=2), baselines=()) == report


def test_families_with_and_without_a_likelihood_have_two_boards(file, tmp_path, monkeypatch):
    monkeypatch.setattr("metasearch.trial.loop.cached_features", random_features)
    net = {"name": "mlp", "hidden": 8}
    kinds = {"choice": [{"name": "vae", "latent": 3, "net": net},
                        {"name": "gan", "latent": 3, "net": net}]}  # fmt: skip
    also = [{"name": "nll", "samples": 2}]
    tree = trial(file, models=[kinds], score={"name": "mmd"}, also=also,
                 outer={"lr": {"log_uniform": [0.001, 0.01]}})  # fmt: skip
    run = searched(tmp_path / "run", tree, trials=6, seed=1)
    report = export(run, tmp_path / "b", confirm=Confirm(top=4), baselines=())
    rows = {row["trial"]: row for row in report["ranking"]["rows"]}
    board = report["ranking"]["tracks"]["nll"]["trials"]
    nats = [rows[number]["watched"]["nll"] for number in board]
    assert nats == sorted(nats)
    assert {number for number, row in rows.items() if "nll" in row["watched"]} == set(board)
    assert 0 < len(board) < len(rows)
    assert all(row["standard"] is not None for row in rows.values())
    assert set(report["ranking"]["features"]) == {"random", "pixels"}
    text = report_text(report)
    assert "by nll, which not every family has" in text
    assert "rank correlation of the candidates" in text


def test_guards_are_told_where_features_and_images_allow_it(file, run, tmp_path, monkeypatch):
    assert set(export(run, tmp_path / "a", baselines=())["watched"]) == {"cost"}
    monkeypatch.setattr("metasearch.trial.loop.cached_features", random_features)
    tasks = {**trial(file)["tasks"], "query": 5, "seed": 2}
    tree = trial(file, score={"name": "mmd"}, tasks=tasks)
    report = export(searched(tmp_path / "run", tree, trials=1), tmp_path / "b", baselines=())
    assert set(GUARDS) == set(report["watched"])
    assert report["watched"]["cost"]["test"]["mean"] == report["adaptation"]["gradients"] == 6
    assert report["watched"]["cost"]["test"]["before"] == 0
    told = report["watched"]["diversity"]["confirm"]
    assert set(told["anchors"]) == {FLOOR, REAL}
    assert told["anchors"][FLOOR] != told["mean"] != told["before"]
    assert report["watched"]["copying"]["test"]["anchors"][REAL] > -3
    card = (tmp_path / "b" / "README.md").read_text()
    assert (
        "| watched on test | after | before | Beta-Bernoulli pixels | real images | unit |" in card
    )
    assert "| copying |" in card and "6 gradient evaluations" in card


def test_a_search_with_nothing_to_find_is_exported_with_a_warning(file, tmp_path):
    """What is drawn changes nothing, so all trials are one."""
    tree = trial(file, strategy={"segment": {"integers": [5, 50]}})
    run = searched(tmp_path / "run", tree, trials=4)
    report = export(run, tmp_path / "b", baselines=())
    assert report["selection"]["all_alike"] is True
    warning = "differ by no more than chance makes equal ones differ"
    assert warning in report_text(report)
    assert warning in (tmp_path / "b" / "README.md").read_text()
