"""Looking at search files from the command line."""

from __future__ import annotations

import json

import pytest

SPACE = """\
trial:
  tasks: glyphs
  score: mmd
  outer: {lr: {log_uniform: [1e-4, 1e-2]}}
  models: [{choice: [vae, {name: gan, latent: {integers: [8, 16]}}]}]
  algorithms: [{name: reptile, inner: {steps: {choice: [3, 5]}}}]
"""


@pytest.fixture
def space(place):
    path = place / "space.yaml"
    path.write_text(SPACE)
    return path


def test_a_sound_space_is_told_with_its_draws_and_size(cli, space):
    told = cli("space", "check", space, "--draws", 20)
    assert told.code == 0
    assert "models[0] is gan" in told.out
    assert told.out.endswith(
        "space.yaml is sound: 4 draws, continuous, 2 ways to pick the branches; "
        "20 recipes drawn and built\n"
    )
    data = cli("space", "check", space, "--draws", 1, "--json").json
    assert set(data) == {"file", "draws", "configurations", "branches", "built", "warnings"}
    assert [draw["path"] for draw in data["draws"]] == [
        "outer.lr",
        "models[0]",
        "models[0].gan.latent",
        "algorithms[0].inner.steps",
    ]


def test_a_wrong_space_ends_with_2_and_all_its_faults(cli, space):
    space.write_text(SPACE.replace("outer:", "outr:").replace("reptile", "reptil"))
    told = cli("space", "check", space)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"{space}:4:3: trial.outr: no setting is called so here")
    assert "Did you mean 'reptile'?" in told.err
    assert "Traceback" not in told.err


def test_a_setting_is_laid_over_a_space_before_it_is_checked(cli, space):
    told = cli("space", "check", space, "-s", "trial.outer.lr=fast")
    assert told.code == 2
    assert told.err.startswith("-s: trial.outer.lr: expected a number, got 'fast'.\n")
    constant = cli("space", "check", space, "-s", "trial.outer.lr=1e-3", "--draws", 1)
    assert "3 draws, 20 recipes, 2 ways" in constant.out


def test_every_setting_is_shown_with_where_it_comes_from(cli, space):
    told = cli("space", "show", space, "-s", "search.trials=7", "--json")
    assert told.code == 0
    found = {one["path"]: (one["value"], one["origin"]) for one in told.json}
    assert found["search.trials"] == (7, "-s")
    assert found["search.retries"] == (2, "default")
    assert found["trial.tasks.name"] == ("glyphs", f"{space}:2")
    assert found["trial.tasks.shot"] == (5, "default")
    assert found["trial.models[0]"] == ({"choice": ["vae", "gan"]}, f"{space}:5")
    assert found["trial.models[0].gan.latent"] == ({"integers": [8, 16]}, f"{space}:5")
    assert found["trial.algorithms[0].inner.steps"][1] == f"{space}:6"
    assert found["trial.outer.clip"] == (10.0, "default")
    assert len(found) == len(told.json)
    text = cli("space", "show", space).out
    assert "{log_uniform: [0.0001, 0.01]}" in text


def test_a_wrong_file_is_not_shown(cli, space):
    space.write_text(SPACE.replace("outer:", "outr:"))
    told = cli("space", "show", space)
    assert (told.code, told.out) == (2, "")
    assert "Did you mean 'outer'?" in told.err


def test_the_schema_is_printed_or_written_for_an_editor(cli, place):
    printed = json.loads(cli("space", "schema").out)
    assert printed["properties"].keys() == {"search", "trial"}
    told = cli("space", "schema", "-o", place / "new" / "s.json")
    assert told.out.startswith("# yaml-language-server: $schema=")
    assert json.loads((place / "new" / "s.json").read_text()) == printed


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["trial.outer.lr={choice: [0.1]}"], "trial.outer.lr: a choice of one option"),
        (["search.trials=9", "trial.outer.lr=0.1"], ""),
        (["search.trials=99", "trial.outer.lr=0.1"], "search.trials: 99 trials are asked and the"),
        (["search.trials=10", "search.sampler={name: tpe, startup_trials: 10}"], "never advises"),
        (["search.pruner={name: successive_halving, first_rung: 8}"], "the first rung is report 8"),
        (["search.pruner={name: median, warmup: 9}"], "the first 9 reports are spared"),
        (["search.race={warmup: 9}"], "the first 9 reports are spared"),
        (
            ["search.pruner={name: median, startup_trials: 40}", "search.trials=40"],
            "40 trials have",
        ),
        (["search.race=auto", "search.pruner=median"], "trials race, and whom 'median' stops"),
        (
            ["search.race=auto", "search.pruner={name: patient, inner: hyperband}"],
            "trials race, and whom 'patient' stops",
        ),
        (["search.race=auto", "search.pruner=patient"], ""),
        (["search.race=auto", "search.pruner={name: threshold, upper: 9}"], ""),
        (["search.race=null", "search.pruner=median"], ""),
        (
            ["trial.algorithms=[{name: reptile, inner: {adapts: head}}]"],
            "with inner.adapts: head all other weights stay as they were drawn",
        ),
        (["trial.algorithms=[{name: maml, inner: {adapts: head}}]"], ""),
        (["trial.algorithms=[{name: reptile, inner: {adapts: head}}, joint]"], ""),
        (
            ["search.pruner={name: successive_halving, startup_trials: 40}", "search.trials=40"],
            "the first 40 trials at a rung stop there",
        ),
        (
            ["search.pruner={name: median, least_trials: 40}", "search.trials=40"],
            "40 trials have",
        ),
        (["trial.budget.gradients=100"], "a meta-step takes at least 40"),
        (
            [
                "trial.algorithms=[reptile, joint]",
                "trial.strategy.algorithms=exp3s",
                "trial.budget={gradients: 6000, reports: 4}",
            ],
            # Two arms at each report, on 8 tasks: 5 steps of two players on 5 images, 10 judged.
            "up to 3,840 go to looking at `inner` tasks at 4 reports (exp3s for algorithms",
        ),
    ],
)
def test_what_is_allowed_and_hardly_meant_is_warned_of(cli, space, settings, said):
    words = [word for setting in settings for word in ("-s", setting)]
    quiet = ("-s", "search.sampler=random", "-s", "search.pruner=none")
    told = cli("space", "check", space, "--draws", 1, *quiet, *words)
    assert told.code == 0
    assert (said in told.err) if said else not told.err
    if said:
        assert told.err.startswith("warning: -s: ")


def test_a_warning_names_its_line(cli, space):
    space.write_text(SPACE.replace("choice: [3, 5]", "choice: [3]"))
    (warning,) = cli("space", "check", space, "--draws", 1, "--json").json["warnings"][-1:]
    assert warning.startswith(f"{space}:6:")


def test_no_shipped_search_is_warned_of():
    from metasearch.cli.places import spaces
    from metasearch.search.config import SearchFile
    from metasearch.search.lint import findings

    file = spaces() / "classical.yaml"
    assert findings(str(file), SearchFile.load(file), []) == []
