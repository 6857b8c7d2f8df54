"""Search files as a whole: what is read from them, and what is refused where."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from optuna.pruners import MedianPruner, NopPruner

from metasearch import space
from metasearch.algorithms import Scratch
from metasearch.errors import ConfigError
from metasearch.models.gan import GAN
from metasearch.models.vae import VAE
from metasearch.registry import Schema, revive, to_data
from metasearch.rng import Stream
from metasearch.scores import SCORES
from metasearch.search.advisors import SAMPLERS, TPE, RandomSearch
from metasearch.search.config import SearchConfig, SearchFile, seconds
from metasearch.search.pruners import make_pruner
from metasearch.search.stopping import PRUNERS, Hyperband, Median
from metasearch.tasks import Glyphs
from metasearch.trial.config import TrialConfig, problems
from tests.search.plans import plan

GOOD = """\
search:
  trials: 8
  time: 1h30m
  sampler: {name: tpe, startup_trials: 4}
  pruner: hyperband
trial:
  tasks: {name: glyphs, shot: 5}
  score: mmd
  budget: {gradients: 20_000, tasks_per_step: {choice: [4, 8]}}
  outer: {lr: {log_uniform: [1e-4, 1e-2]}}
  models:
    - choice:
        - {name: vae, latent: {log_integers: [8, 64]}, beta: {uniform: [0.1, 4]}}
        - gan
  algorithms:
    - choice:
        - name: maml
          first_order: {choice: [true, false]}
          inner: {steps: {integers: [1, 5]}, lr: {log_uniform: [1e-3, 0.5]}}
        - {name: reptile, inner: {steps: {integers: [3, 12]}}}
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "omni vae.yaml"


@pytest.fixture
def load(path):
    def write_and_load(text: str, *overrides: str) -> SearchFile:
        path.write_text(text)
        return SearchFile.load(path, overrides)

    return write_and_load


def test_a_search_file_is_read(load):
    file = load(GOOD)
    assert file.search == SearchConfig(
        name="omni-vae",
        trials=8,
        time="1h30m",
        sampler=TPE(startup_trials=4),
        pruner=Hyperband(),
    )
    assert file.search.time_s == 5400
    assert [d.path for d in file.draws][:3] == ["budget.tasks_per_step", "outer.lr", "models[0]"]


def test_values_of_the_draws_make_a_recipe(load):
    config = load(GOOD).config({
        "budget.tasks_per_step": 4,
        "outer.lr": 1e-3,
        "models[0]": "vae",
        "models[0].vae.latent": 16,
        "models[0].vae.beta": 1.0,
        "algorithms[0]": "reptile",
        "algorithms[0].reptile.inner.steps": 7,
    })  # fmt: skip
    assert isinstance(config, TrialConfig)
    assert config.models == (VAE(latent=16),)
    assert config.algorithms[0].inner.steps == 7
    assert config.budget.gradients == 20_000
    assert config.budget.tasks_per_step == 4


def test_every_sampled_tree_makes_a_recipe_that_is_rebuilt_from_its_data(load):
    file = load(GOOD)
    for seed in range(50):
        config = file.trial(space.sample(file.space, space.random_suggester(Stream(seed))))
        assert revive(TrialConfig, to_data(config), "trial") == config


def test_what_a_run_folder_keeps_is_read_as_the_same_search(load):
    file = load(GOOD, "trial.outer.clip=1.5", "search.pruner=none", "search.name=mine")
    again = SearchFile.from_yaml(file.to_yaml())
    assert again == file
    assert again.to_yaml() == file.to_yaml()
    assert again.search.name == "mine"


def test_figrs_recipe_stands_beside_samples_and_not_beside_likelihoods(load):
    figr = "search.baselines=[joint, figr]"
    assert load(GOOD, figr).search.baselines == ("joint", "figr")
    with pytest.raises(ConfigError, match=r"search\.baselines: .*Or leave 'figr' out"):
        load(GOOD, figr, "trial.score=nll", "trial.models=[vae]")


def test_a_file_without_a_search_section_searches_with_the_defaults(load):
    file = load(GOOD[GOOD.index("trial:\n") :])
    assert file.search == SearchConfig(name="omni-vae")


def test_defaults_are_valid_and_short():
    assert Schema(SearchConfig).build({}) == SearchConfig()
    for table in (SAMPLERS, PRUNERS):
        for name in set(table) - {"threshold"}:
            made = revive(table, name, "")
            assert made.name == name
            assert revive(table, to_data(made), "") == made


@pytest.mark.parametrize(
    ("time", "expected"),
    [("150s", 150), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90), ("1d 2h", 93600), (20, 20.0)],
)
def test_durations_are_read_in_seconds(time, expected):
    assert seconds(time) == expected


@pytest.mark.parametrize("time", ["", "fast", "1:30", "3w", "h", "1h30", "-3s"])
def test_other_words_are_no_durations(time):
    with pytest.raises(ValueError, match="a duration such as 150s, 20m or 1h30m"):
        seconds(time)


LINES = GOOD.splitlines()
WRONG = [  # override in the file: line to replace (from 1), new line, column, path, what is said
    (1, "serach:", 1, "serach", "known: search, trial. Did you mean 'search'?"),
    (2, "  trails: 8", 3, "search.trails", "Did you mean 'trials'?"),
    (2, "  trials: 0", 11, "search.trials", "trials must be at least 1"),
    (2, "  trials: 8.5", 11, "search.trials", "expected an integer, got 8.5."),
    (2, "  trials: '8'", 11, "search.trials", "Remove the quotes."),
    (2, "  trials: {integers: [1, 9]}", 11, "search.trials", "only what stands under `trial`"),
    (2, "  backend: slurm", 12, "search.backend", "one of 'ray', 'local'"),
    (2, "  max_concurrent: 0", 19, "search.max_concurrent", "null sets no limit"),
    (2, "  gpus_per_trial: -1", 19, "search.gpus_per_trial", "must not be negative"),
    (2, "  retries: -1", 12, "search.retries", "must not be negative"),
    (2, "  no_progress_timeout: soon", 24, "search.no_progress_timeout", "is a duration such as"),
    (2, "  no_progress_timeout: 0", 24, "search.no_progress_timeout", "null waits for ever"),
    (2, "  name: a/b", 9, "search.name", "letters, digits"),
    (2, "  confirm: {top: 0}", 18, "search.confirm.top", "at least 1"),
    (2, "  baselines: [joint, scrach]", 22, "search.baselines[1]", "Did you mean 'scratch'?"),
    (3, "  time: 1:30", 9, "search.time", "a duration such as 150s, 20m or 1h30m, got '1:30'"),
    (3, "  time: 0s", 9, "search.time", "null sets no limit"),
    (4, "  sampler: {name: tpe, startup_trials: -4}", 40, "search.sampler.startup_trials", "negat"),
    (4, "  sampler: tpa", 12, "search.sampler", "no sampler is called 'tpa'"),
    (5, "  pruner: {name: median, warm_up: 1}", 26, "search.pruner.warm_up", "mean 'warmup'?"),
    (5, "  pruner: {name: percentile, keep: 0}", 36, "search.pruner.keep", "between 0 and 100"),
    (5, "  pruner: {name: hyperband, reduction: 1}", 40, "search.pruner.reduction", "at least 2"),
    (5, "  pruner: threshold", 11, "search.pruner", "needs a bound"),
    (7, "  tasks: glyfs", 10, "trial.tasks", "no task source is called 'glyfs'"),
    (7, "  tasks: {name: glyphs, shots: 5}", 25, "trial.tasks.shots", "Did you mean 'shot'?"),
    (
        7,
        "  tasks: {name: glyphs, shot: {choice: [1, 5]}}",
        31,
        "trial.tasks.shot",
        "must be the same in all trials",
    ),
    (8, "  score: {choice: [mmd, jsd]}", 10, "trial.score", "must be the same in all trials"),
    (8, "  scores: mmd", 3, "trial.scores", "Did you mean 'score'?"),
    (8, "  score: nll", 0, "trial.models[0]", "'gan' cannot say how probable an image is"),
    (9, "  budget: {gradients: {integers: [1, 2]}}", 23, "trial.budget.gradients", "same in all"),
    (9, "  budget: {gradients: 2e4}", 23, "trial.budget.gradients", "got 20000.0. Write 20000."),
    (10, "  outer: {lr: {log_uniform: [0, 1]}}", 30, "trial.outer.lr", "a low bound above 0"),
    (10, "  outer: {lr: {log_uniform: [1e-2, 1e-4]}}", 29, "trial.outer.lr", "comes first"),
    (10, "  outer: {lr: {log_unifrom: [1, 2]}}", 15, "trial.outer.lr", "the draw 'log_uniform'?"),
    (10, "  outer: {lr: '1e-3'}", 15, "trial.outer.lr", "a number, got '1e-3'. Remove the quotes"),
    (10, "  outer: {schedule: cosin}", 21, "trial.outer.schedule", "Did you mean 'cosine'?"),
    (10, "  seed: {integers: [0, 9]}", 9, "trial.seed", "seeds are never drawn"),
    (10, "  engine: loops", 11, "trial.engine", "no engine is called 'loops'"),
    (10, "  strategy: {tasks: randm}", 21, "trial.strategy.tasks", "Did you mean 'random'?"),
    (
        13,
        "        - {name: vae, latent: {uniform: [8, 64]}}",
        31,
        "trial.models[0].vae.latent",
        "expected an integer, but 'uniform' draws any number. Use 'integers'.",
    ),
    (14, "        - gna", 11, "trial.models[0]", "no model is called 'gna'"),
    (14, "        - {name: vae}", 11, "trial.models[0].vae", "Give one a `label`."),
    (
        18,
        "          first_order: yes",
        24,
        "trial.algorithms[0].maml.first_order",
        "expected true or false, got 'yes'. Write true.",
    ),
    (
        20,
        "        - {name: reptile, inner: {steps: {integers: [-3, 12]}}}",
        42,
        "trial.algorithms[0].reptile.inner.steps",
        "must not be negative. It may be drawn as -3.",
    ),
    (20, "        - {name: reptile, inner: 3}", 34, "trial.algorithms[0].reptile.inner", "mapping"),
]


@pytest.mark.parametrize(("line", "text", "column", "where", "said"), WRONG)
def test_a_wrong_line_is_named_with_its_path_and_what_is_allowed(
    path, load, line, text, column, where, said
):
    lines = [*LINES[: line - 1], text, *LINES[line:]]
    with pytest.raises(ConfigError) as caught:
        load("\n".join(lines))
    told = str(caught.value).splitlines()
    heads = [head for head in told if f" {where}: " in head]
    assert len(heads) == 1
    assert said in heads[0]
    if column:
        assert heads[0].startswith(f"{path}:{line}:{column}: ")
        assert told[told.index(heads[0]) + 1] == "    " + text


def test_a_missing_section_and_a_missing_setting_are_named(load):
    with pytest.raises(ConfigError, match=r":1:1: trial: is missing; it is a mapping"):
        load("search: {trials: 3}\n")
    with pytest.raises(ConfigError) as caught:
        load("trial:\n  score: mmd\n")
    assert places(caught.value) == [
        "1:1: trial.tasks",
        "1:1: trial.models",
        "1:1: trial.algorithms",
    ]


def places(error: Exception) -> list[str]:
    """Line, column and path of each fault."""
    heads = [line for line in str(error).splitlines() if ".yaml:" in line]
    return [":".join(head.partition(".yaml:")[2].split(":")[:3]) for head in heads]


def test_all_faults_of_both_sections_are_told_in_the_order_of_the_file(load):
    text = GOOD.replace("trials: 8", "trails: 8").replace("shot: 5", "shot: x")
    text = text.replace("steps: {integers: [1, 5]}", "steps: {integers: [5, 1]}")
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert places(caught.value) == [
        "2:3: search.trails",
        "7:31: trial.tasks.shot",
        "19:37: trial.algorithms[0].maml.inner.steps",
    ]


def test_a_fault_in_an_override_is_told_with_the_flag(load):
    with pytest.raises(ConfigError) as caught:
        load(GOOD, "trial.tasks.shot=x", "search.trials=many")
    assert str(caught.value).splitlines()[0].startswith("-s: search.trials: expected an integer")
    assert str(caught.value).splitlines()[3].startswith("-s: trial.tasks.shot: ")


def test_a_recipe_that_cannot_be_run_is_refused(load):
    file = load(GOOD)
    tree = space.sample(file.space, space.random_suggester(Stream(0)))
    with pytest.raises(ConfigError, match=r"trial\.algorithms: is empty"):
        file.trial({**tree, "algorithms": []})
    with pytest.raises(ConfigError, match=r"trial\.models\[0\]: 'gan' cannot say how probable"):
        file.trial({**tree, "score": "nll", "models": ["gan"]})
    with pytest.raises(ConfigError, match=r"^trial\.seed: expected an integer"):
        file.trial({**tree, "seed": "x"})


def test_a_likelihood_that_ranks_needs_models_that_have_one_and_one_that_is_watched_does_not():
    config = TrialConfig(
        tasks=Glyphs(),
        models=(VAE(), GAN()),
        algorithms=(Scratch(),),
        score=SCORES["mmd"](),
        also=(SCORES["jsd"](),),
    )
    assert list(problems(config)) == []
    assert list(problems(replace(config, also=(SCORES["nll"](),)))) == []
    ((path, _),) = problems(replace(config, score=SCORES["nll"]()))
    assert path == ("models", 1)


def test_by_default_nothing_prunes_beside_a_race_and_the_median_does_elsewhere():
    kinds = {}
    for races in (True, False):
        made = replace(plan(pruner=SearchConfig().pruner), races=races)
        kinds[races] = make_pruner(made.advice(RandomSearch()).pruner, reports=4)
    assert isinstance(kinds[True], NopPruner) and isinstance(kinds[False], MedianPruner)
    named = replace(plan(pruner=Median()), races=True)
    assert named.advice(RandomSearch()).pruner == Median()


def test_the_settings_of_a_search_load_neither_torch_nor_ray_nor_optuna():
    code = (
        "import sys, metasearch.search.config as c; c.SearchConfig(); "
        "sys.exit(bool({'torch', 'ray', 'optuna'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
