"""What is tried first, and where it comes from."""

from __future__ import annotations

import pytest

from metasearch.errors import ConfigError, RunError
from metasearch.search.config import SearchFile
from metasearch.search.first import first_points
from metasearch.search.ledger import open_run
from metasearch.search.run import Plan, run_search
from tests.search.planted import TRIAL, report

FILE = """
search: {{name: small, backend: local, sampler: random, pruner: none, trials: 6, first: {}}}
trial:
  tasks: {{name: glyphs}}
  outer: {{lr: {{log_uniform: [1.0e-4, 1.0e-1]}}, beta1: {{choice: [0.0, 0.5]}}}}
  models:
    - choice:
        - {{name: gan, latent: {{integers: [4, 8]}}}}
        - {{name: vae, latent: {{choice: [8, 16]}}}}
  algorithms:
    - choice:
        - {{name: reptile, inner: {{steps: {{integers: [1, 9]}}}}}}
        - {{name: joint, inner: {{steps: {{integers: [1, 9]}}}}}}
  score: mmd
"""


def file(first):
    return SearchFile.from_yaml(FILE.format(first))


def points(first):
    return [(point.params, point.origin) for point in first_points(file(first))]


def test_defaults_are_tried_where_they_can_be_drawn():
    from metasearch.engine.base import InnerLoop
    from metasearch.trial.config import Outer

    ((params, origin),) = points("[defaults]")
    assert origin == "defaults"
    assert params == {
        "outer.lr": Outer().lr, "models[0]": "gan", "algorithms[0]": "reptile",
        "algorithms[0].reptile.inner.steps": InnerLoop().steps,
    }  # fmt: skip
    assert Outer().beta1 not in {0.0, 0.5}, "a default that cannot be drawn is left to the sampler"


def test_baselines_are_tried_if_they_are_among_the_algorithms():
    ((params, origin),) = points("[baselines]")
    assert origin == "baseline joint" and params["algorithms[0]"] == "joint"
    assert "algorithms[0].joint.inner.steps" in params


def test_given_values_are_taken_and_equal_points_tried_once():
    given = "[{outer.lr: 0.05}, {outer.lr: 0.05}, {'models[0]': vae, 'models[0].vae.latent': 16}]"
    assert [params for params, _ in points(given)] == [
        {"outer.lr": 0.05}, {"models[0]": "vae", "models[0].vae.latent": 16},
    ]  # fmt: skip


@pytest.mark.parametrize(("entry", "said"), [
    ("standard", "'standard' is none of defaults, baselines"),
    ("{outer.rl: 0.1}", "nothing is drawn by the name 'outer.rl'"),
    ("{outer.lr: 0.5}", r"outer.lr must be within \[0.0001, 0.1\], got 0.5"),
    ("{'models[0]': flow}", "must be one of 'gan', 'vae', got 'flow'"),
    ("{'models[0].vae.latent': 8}", "is drawn only if models\\[0\\] is 'vae'"),
    ("{run: there, worst: 2}", "an earlier run is named as"),
])  # fmt: skip
def test_what_cannot_be_tried_is_refused_with_its_place(entry, said):
    with pytest.raises(ConfigError, match=rf"search\.first\[0\]: .*{said}"):
        file(f"[{entry}]")


def search(made: SearchFile, folder):
    return run_search(Plan.of(made), folder, trial=TRIAL).run


@pytest.fixture
def planted(monkeypatch):
    """Trials of these files as planted ones: the learning rate is what they reach."""
    import tests.search.planted as trials

    original = trials.trial
    monkeypatch.setattr(
        trials,
        "trial",
        lambda config, resume, **more: original({"x": config["outer"]["lr"]}, resume),
    )


def test_the_best_of_an_earlier_run_are_tried_and_told(tmp_path, planted):
    earlier = search(file("[]"), tmp_path / "earlier")
    again = file(f"[defaults, {{run: {tmp_path / 'earlier'}, best: 2}}]")
    run = search(again, tmp_path / "later")
    best = earlier.best(2)
    assert [t.info.params for t in run.trials[1:3]] == [b.info.params for b in best]
    told = run.manifest["first"]
    assert [point["origin"] for point in told] == [
        "defaults", *(f"trial {b.number} of small" for b in best)]  # fmt: skip
    assert told[1]["params"] == best[0].info.params
    (tmp_path / "earlier").rename(tmp_path / "gone")
    assert search(again, tmp_path / "later").trials == run.trials, "the folder itself knows"
    with pytest.raises(RunError, match="no run folder"):
        search(again, tmp_path / "new")


def test_a_run_of_which_nothing_can_be_drawn_is_refused(tmp_path, planted):
    search(file("[]"), tmp_path / "earlier")
    other = FILE.replace("[1, 9]", "[20, 30]").format(f"[{{run: {tmp_path / 'earlier'}}}]")
    with pytest.raises(ConfigError, match=r"no recipe of .*earlier can be drawn from this space"):
        search(SearchFile.from_yaml(other), tmp_path / "later")
    assert open_run(tmp_path / "earlier").state == "finished"


FLAT = "tests.search.test_first:flat"
CHOOSING = """
search: {{name: small, backend: local, sampler: random, pruner: none, trials: 30{}}}
trial:
  seed: 4
  tasks: {{name: glyphs}}
  outer: {{lr: {{log_uniform: [1.0e-4, 1.0e-2]}}, clip: {{uniform: [1.0, 5.0]}}}}
  models: [{{name: vae, latent: {{choice: [8, 16]}}}}]
  algorithms: [{{name: joint}}, {{name: reptile, inner: {{lr: {{log_uniform: [1.0e-4, 1.0e-2]}}}}}}]
  strategy:
    tasks: {{choice: [{{name: dro, eta: {{uniform: [0.0, 1.0]}}}}, {{name: random}}]}}
    algorithms: {{choice: [race, random]}}
  score: mmd
"""


def flat(config, resume, **how):
    """A trial whose score is its outer rate."""
    del resume, how
    yield report(config, 1, 1, config["outer"]["lr"])


def choosing(more=""):
    return SearchFile.from_yaml(CHOOSING.format(more))


def test_where_a_strategy_is_searched_random_choice_is_tried_from_several_seeds():
    found = first_points(choosing())
    assert [(point.origin, point.seed) for point in found] == [("reference", i) for i in range(3)]
    assert len({repr(point.params) for point in found}) == 1
    config = choosing().config(found[0].params)  # nothing is left open
    assert (config.strategy.tasks.name, config.strategy.algorithms.name) == ("random", "random")
    assert config.outer.lr == pytest.approx(1e-3)
    assert config.outer.clip == 3.0  # its default, 10, cannot be drawn


def test_references_can_be_left_out_and_take_a_tenth_of_the_trials_at_most():
    assert first_points(choosing(", references: 0")) == []
    (only,) = first_points(choosing(", references: 1"))
    assert only.seed == 0
    few = SearchFile.from_yaml(CHOOSING.format("").replace("trials: 30", "trials: 4"))
    assert len(first_points(few)) == 1
    assert points("[]") == []


def test_references_are_one_recipe_with_other_seeds_also_after_an_interruption(tmp_path):
    search = choosing()
    whole = run_search(Plan.of(search), tmp_path / "run", trial=FLAT).run.trials
    assert {r.outcome.state for r in whole} == {"complete"} and len(whole) == 30
    assert [r.info.config["seed"] for r in whole[:4]] == [4, 5, 6, 4]
    assert whole[0].info.params == whole[1].info.params == whole[2].info.params
    assert whole[3].info.params != whole[0].info.params
    for path in (tmp_path / "run" / "ledger").glob("*.json"):
        if path.name[:4].isdigit() and int(path.name[:4]) >= 1:
            path.unlink()
    again = run_search(Plan.of(search), tmp_path / "run", trial=FLAT).run.trials
    assert [r.info.params for r in again] == [r.info.params for r in whole]
    assert [r.info.config["seed"] for r in again] == [r.info.config["seed"] for r in whole]
