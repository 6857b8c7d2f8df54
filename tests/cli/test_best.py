"""The verb `best`: the ranking, and how far it may be trusted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metasearch.rng import Stream
from metasearch.search.ledger import open_run
from tests.cli.test_look import OF_TRIAL
from tests.test_light_imports import loaded_by, running

OF_ROW = OF_TRIAL | {"shrunk", "standard", "behind", "settled", "kept", "watched"}
NLL = {"name": "nll", "unit": "nats", "direction": "minimize", "likelihood": True}


def finished(folder):
    return [t for t in open_run(folder).trials if t.outcome.state == "complete"]


def replanted(folder, values, *, watched=(), **scalars):
    """Give the finished trials scores by task [trials, tasks], and more scalars per trial."""
    for i, (trial, row) in enumerate(zip(finished(folder), values, strict=True)):
        path = folder / "ledger" / f"{trial.number:04d}.done.json"
        done = json.loads(path.read_text())
        mean = float(np.mean(row))
        done["outcome"].update(score=mean, low=mean - 1, high=mean + 1)
        own = {f"score/{k}": v[i] for k, v in scalars.items() if v[i] is not None}
        per_task = {f"g/{k}": float(v) for k, v in enumerate(row)}
        done["last"].update(score=mean, per_task=per_task, scalars=own)
        path.write_text(json.dumps(done))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["search"]["watched"] = list(watched)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def n(planted):
    return len(finished(planted))


def noise(n, tasks=24):
    return Stream(0).at("noise").numpy().normal(0, 1, (n, tasks))


def test_the_best_are_ranked(cli, planted):
    best = open_run(planted).best(2)
    told = cli("best", "planted", "-n", 2, "--json").json
    keys = {"score", "bounds", "best", "selection", "tracks", "by_rule", "repeated", "front"}
    assert set(told) == keys
    assert [row["trial"] for row in told["best"]] == [t.number for t in best]
    assert all(set(row) == OF_ROW for row in told["best"])
    lines = cli("best", "planted", "-n", 2).out.splitlines()
    assert len(lines) == 3, "scores of two tasks say nothing of noise"
    assert best[0].info.name in lines[1]
    assert "x=0." in lines[1]


def test_what_a_seed_does_is_told_of_recipes_trained_from_several(cli, planted, n):
    replanted(planted, 10 * np.arange(n)[:, None] + noise(n))
    first, second = finished(planted)[:2]
    path = planted / "ledger" / f"{second.number:04d}.asked.json"
    asked = json.loads(path.read_text())
    asked["params"], asked["config"] = dict(first.info.params), {**second.info.config, "seed": 1}
    path.write_text(json.dumps(asked))
    (one,) = cli("best", "planted", "--json").json["repeated"]
    assert one["trials"] == [first.number, second.number]
    assert one["mean"] == pytest.approx(5, abs=1)
    out = cli("best", "planted").out
    assert "the seed alone moves a score by 7." in out
    assert f"{first.number:04d}, {second.number:04d}" in out


def test_a_winner_that_is_far_ahead_is_settled(cli, planted, n):
    replanted(planted, 10 * np.arange(n)[:, None] + noise(n))
    told = cli("best", "planted")
    assert "not settled" not in told.out
    assert f"The first is settled against the other {n - 1}." in told.out
    data = cli("best", "planted", "--json").json
    assert [row["settled"] for row in data["best"]] == [None, *[True] * (min(n, 5) - 1)]
    assert data["selection"]["may_be_best"] == [data["best"][0]["trial"]]
    assert data["best"][1]["behind"] == pytest.approx(10, abs=1)


def test_what_is_not_settled_is_marked_and_the_luck_of_the_first_told(cli, planted, n):
    far = np.where(np.arange(n) < 2, 0, 20)[:, None]
    replanted(planted, far + np.arange(n)[:, None] * 0.1 + noise(n))
    lines = cli("best", "planted").out.splitlines()
    assert [("not settled" in line) for line in lines[1:4]] == [False, True, False]
    text = "\n".join(lines)
    assert f"2 of {n} finished trials may be the best" in text
    assert "better than it is; `shrunk`" in text


def test_a_search_with_nothing_to_find_says_so(cli, planted, n):
    replanted(planted, 50 + noise(n))
    told = cli("best", "planted")
    assert f"Nothing is settled: the {n} finished trials differ by no more than chance" in told.out
    data = cli("best", "planted", "--json").json
    assert data["selection"]["all_alike"] is True
    best = data["best"][0]
    assert best["score"] < best["shrunk"] < 50.3


def test_scores_are_set_between_real_images_and_the_floor(cli, planted, n):
    values = 10 * np.arange(1, n + 1)[:, None] + 0 * noise(n)
    replanted(planted, values, real=[0.0] * n, floor=[40.0] * n)
    told = cli("best", "planted")
    assert "0 to 1" in told.out.splitlines()[0]
    assert told.out.splitlines()[1].split()[4:6] == ["11.00]", "0.25"]
    assert "from real images of the same tasks to pixels" in told.out
    assert cli("best", "planted", "--json").json["best"][1]["standard"] == 0.5


def test_families_with_and_without_a_likelihood_get_two_boards(cli, planted, n):
    nats = [90.0 - i if i % 2 else None for i in range(n)]
    replanted(planted, 10 * np.arange(n)[:, None] + noise(n), watched=[NLL], nll=nats)
    out = cli("best", "planted").out
    first, second = out.split("\n\n")[:2]
    assert first.startswith("samples of every family: ")
    assert second.startswith("likelihood of the families that have one: nll in nats, lower")
    board = cli("best", "planted", "--json").json["tracks"]["nll"]
    values = sorted(v for v in nats if v is not None)
    assert [row["value"] for row in board] == values[:5]
    replanted(planted, 10 * np.arange(n)[:, None] + noise(n), watched=[NLL], nll=[1.0] * n)
    assert "every family" not in cli("best", "planted").out
    assert cli("best", "planted", "--json").json["tracks"] == {}


def test_ranking_loads_no_torch(planted, n):
    replanted(planted, 50 + noise(n))
    assert not {"torch", "ray", "optuna", "scipy"} & loaded_by(running("best", str(planted)))


def test_a_front_is_told_as_a_table_and_as_data(cli, place):
    from tests.small import blobs_file, searched, trial

    inner = {"steps": 1, "lr": 0.05, "test_steps": {"integers": [1, 9]}}
    tree = trial(blobs_file(place / "b.npz"), also=["cost"],
                 algorithms=[{"name": "reptile", "inner": inner}])  # fmt: skip
    searched(place / "runs" / "two", tree, trials=3, objectives=["cost"],
             constraints=[{"score": "cost", "at_most": 1000}])  # fmt: skip
    told = cli("best", "two")
    assert "front: no other trial is better in all of nll, cost, with cost at most 1000" in told.out
    data = cli("best", "two", "--json").json["front"]
    assert data and set(data[0]["values"]) == {"nll", "cost"}
    assert all(row["name"] in told.out for row in data)
