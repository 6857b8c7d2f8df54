"""What every sampler promises, over the table; and which sampler suits which space."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from cmaes import CMA

from metasearch import space
from metasearch.errors import ConfigError
from metasearch.observe.base import Bound, Outcome, TrialInfo
from metasearch.registry import to_data
from metasearch.rng import Stream
from metasearch.search import journal, remembered
from metasearch.search.advice import Advice
from metasearch.search.advisors import (
    CMAES,
    GP,
    NSGA2,
    NSGA3,
    QMC,
    SAMPLERS,
    TPE,
    Auto,
    Grid,
    RandomSearch,
)
from metasearch.search.config import SearchFile
from metasearch.search.evolution import Evolution
from metasearch.search.fit import Job, misfit, pick
from metasearch.search.journal import generation_of
from metasearch.search.ledger import Record
from metasearch.search.points import Points
from metasearch.search.run import run_search
from metasearch.search.stopping import NoPruner
from metasearch.search.study import Study
from tests.search.plans import plan
from tests.search.planted import TRIAL

NUMBERS = {
    "x": {"uniform": [0.0, 1.0]},
    "y": {"log_uniform": [0.01, 1.0]},
    "n": {"integers": [1, 9]},
}
FINITE = {
    "n": {"integers": [1, 5]},
    "m": {"choice": [{"name": "a", "k": {"integers": [1, 3]}}, "b"]},
}
NESTED = {"x": {"uniform": [0.0, 1.0]}, **FINITE}
# A few trials each, so that models are asked and generations end within a dozen.
SMALL = {
    "tpe": TPE(startup_trials=3), "gp": GP(startup_trials=3), "cma_es": CMAES(population=4),
    "nsga2": NSGA2(population=3), "nsga3": NSGA3(population=3),
}  # fmt: skip


def tree_for(name):
    return FINITE if name == "grid" else NUMBERS


@pytest.fixture(params=[name for name in SAMPLERS if name != "auto"])
def sampler(request):
    return SMALL.get(request.param) or SAMPLERS[request.param]()


@pytest.fixture
def build(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(tree, sampler, past=(), seed=0, **more):
            advice = Advice("s", "minimize", seed, sampler, NoPruner(), reports=1, **more)
            study = Study(tmp_path / "journal", tree, advice, past)
            stack.callback(study.close)
            return study

        yield make


def score(params):
    return sum((float(value) - 0.3) ** 2 for value in params.values() if not isinstance(value, str))


def tell(study, asked):
    """End a trial: most complete, some stopped, some failed; returns its record."""
    value, number = score(asked.params), asked.number
    study.report(number, 100, value)
    outcome = (
        Outcome("failed", "user") if number % 7 == 5
        else Outcome("pruned", "pruner", score=value, step=100) if number % 5 == 3
        else Outcome("complete", "finished", score=value, low=value, high=value, step=100)
    )  # fmt: skip
    info = TrialInfo(number, f"{number:04d}", asked.params, asked.config)
    notes = json.loads(json.dumps({**asked.notes, **study.notes(number)}))  # as the ledger has them
    study.tell(number, "x", outcome)
    return Record(info, None, 1.0, outcome, 2.0, ((100, value),), notes)


def test_a_suggestion_is_a_function_of_seed_number_and_past(sampler, build):
    tree, trials = tree_for(sampler.name), 14
    trials = 6 if sampler.name == "gp" else trials  # it is slow
    whole, straight = build(tree, sampler), []
    for _ in range(trials):
        straight.append(asked := whole.ask())
        tell(whole, asked)
    past = []
    for number in range(trials):
        study = build(tree, sampler, past)
        asked = study.ask()
        assert (asked.params, asked.seed) == (straight[number].params, straight[number].seed)
        past.append(tell(study, asked))


@pytest.mark.parametrize("kind", [NSGA2, NSGA3])
def test_generations_are_bred_from_the_same_however_far_back_samplers_see(kind, build, monkeypatch):
    """And a study that is built again goes on alike, generation by generation."""
    asked = {}
    monkeypatch.setattr(remembered, "BEST", 2)
    for latest in (1000, 2):
        monkeypatch.setattr(journal, "LATEST", latest)
        for rebuilt in (False, True):
            study, past = build(NUMBERS, kind(population=3)), []
            for number in range(21):
                if rebuilt and number % 8 == 7:
                    study = build(NUMBERS, kind(population=3), past)
                past.append(tell(study, study.ask()))
            asked[latest, rebuilt] = [record.info.params for record in past]
            study.close()
            seen = study._study.get_trials(deepcopy=False)
            assert len(seen) == 21 if latest == 1000 else 2 < len(seen) <= 2 + 2 + 3 + 3
    assert all(params == asked[1000, False] for params in asked.values())
    generations = [generation_of(record.notes) for record in past]
    assert generations[-1] > 3


def test_another_seed_asks_something_else(sampler, build):
    asked = [[study.ask().params for _ in range(4)] for study in (
        build(tree_for(sampler.name), sampler, seed=1), build(tree_for(sampler.name), sampler, seed=2))]  # fmt: skip
    assert asked[0] != asked[1]


def test_what_is_asked_lies_within_bounds_and_is_not_always_the_same(sampler, build):
    tree = tree_for(sampler.name)
    study, seen = build(tree, sampler), []
    for _ in range(5 if sampler.name == "gp" else 12):
        asked = study.ask()
        assert space.resolve(tree, asked.params) == asked.config
        seen.append(json.dumps(asked.params))
        tell(study, asked)
    assert len(set(seen)) > len(seen) / 2


@pytest.mark.parametrize(
    "sampler", [GP(startup_trials=5), CMAES(population=6), TPE(startup_trials=5)]
)
def test_a_model_of_what_went_well_beats_chance(sampler, build):
    tree = {"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}}

    def late(sampler, trials):
        study, found = build(tree, sampler), []
        for _ in range(trials):
            asked = study.ask()
            value = score(asked.params)
            study.tell(asked.number, "x", Outcome("complete", "finished", score=value, step=1))
            found.append(value)
        return np.mean(found[-8:])

    trials = {"cma_es": 60, "tpe": 30, "gp": 14}[sampler.name]
    assert late(sampler, trials) < 0.5 * late(RandomSearch(), 200)


def test_a_grid_asks_every_recipe_once(build):
    study = build(FINITE, Grid())
    asked = [json.dumps(study.ask().params, sort_keys=True) for _ in range(20)]
    assert len(set(asked)) == space.size(FINITE).configurations == 20


def test_a_grid_passes_by_what_was_tried_first_or_in_a_smaller_space(build, tmp_path):
    first = tuple({"n": n} for n in (3, 1))
    advice = Advice("s", "minimize", 0, Grid(), NoPruner(), reports=1, first=first)
    asked = []
    for trials in (4, 8):  # from 1 to 4, then extended
        study = Study(tmp_path / f"{trials}", {"n": {"integers": [1, trials]}}, advice, asked)
        asked = [*asked, *(tell(study, study.ask()) for _ in range(4))]
        study.close()
        assert sorted(record.info.params["n"] for record in asked) == [*range(1, trials + 1)]
    assert [record.info.params["n"] for record in asked[:2]] == [3, 1]


def test_a_spread_sequence_fills_every_cell(build):
    study = build({"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}}, QMC())
    asked = [study.ask().params for _ in range(16)]
    for path in ("x", "y"):
        assert {int(16 * params[path]) for params in asked} == set(range(16))


@pytest.mark.parametrize("late", [(), (3, 17, 18, 30)], ids=["in order", "late ones"])
def test_an_evolution_is_the_same_as_one_that_is_told_everything_anew(late):
    """Beside the package told generation by generation, whenever trials end."""
    rng, size = Stream(0).at("evolved").numpy(), 5
    told = [(n, {"x": x, "y": y}, (0, (x - 0.3) ** 2 + (y - 0.7) ** 2, 0.0))
            for n, (x, y) in enumerate(rng.uniform(size=(45, 2)))]  # fmt: skip
    tree = {"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}}
    evolution = Evolution(CMAES(population=size), tree, seed=4)
    over = [one for one in told if one[0] not in late] + [told[n] for n in late]
    for i, one in enumerate(over, start=1):
        evolution.tell(*one)
        known = sorted(over[:i])
        plain = CMA(
            np.full(2, 0.5), 0.17, np.array([[0, 1.0]] * 2), population_size=size,
            seed=Stream(4).at("cma_es", i).key % 2**32,
        )  # fmt: skip
        for start in range(0, i - size + 1, size):
            some = sorted(known[start : start + size], key=lambda each: each[2])
            plain.tell([(np.array([p["x"], p["y"]]), k) for k, (_, p, _) in enumerate(some)])
        assert [*evolution.suggest(i).values()] == pytest.approx(plain.ask(), rel=1e-6)


def test_an_evolution_keeps_away_from_what_breaks_a_bound(build):
    """The score is best at 0, where the bound is broken by most."""
    bound = Bound("copying", at_most=0.3)
    tree = {"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}}
    study = build(tree, CMAES(population=8), bounds=(bound,))
    for _ in range(100):
        asked = study.ask()
        outcome = Outcome("complete", "finished", score=asked.params["x"], step=1)
        scalars = {"score/copying": 0.7 - asked.params["x"]}
        study.tell(asked.number, "x", outcome, scalars)
        late = asked.params["x"]
    assert 0.39 < late < 0.6


@pytest.mark.parametrize("settings", [TPE(startup_trials=8), GP(startup_trials=8)])
def test_the_first_points_of_what_models_are_spread_evenly_over_each_draw(settings, build):
    tree = {"x": {"uniform": [0.0, 1.0]}, "c": {"choice": ["a", "b", "c", "d"]}}
    study = build(tree, settings)
    asked = [study.ask().params for _ in range(8)]
    assert sorted(int(8 * params["x"]) for params in asked) == list(range(8))
    assert sorted(params["c"] for params in asked) == sorted(2 * "abcd")


@pytest.mark.parametrize("settings", [TPE(startup_trials=8), GP(startup_trials=8)])
def test_after_points_of_ones_own_so_many_are_spread_that_all_make_as_many_recipes(settings):
    tree = {"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}}
    first = [{"x": 0.5, "y": 0.5}] * 3 + [{"x": 0.25}]  # one from three seeds, and another
    points = Points(settings, tree, 0, first)
    assert points.at(3) == {"x": 0.25}
    asked = [points.at(number) for number in range(4, 10)]
    assert points.at(10) is None, "the model is asked"
    for path in ("x", "y"):
        assert sorted(int(6 * params[path]) for params in asked) == list(range(6))


@pytest.mark.parametrize("settings", [TPE(startup_trials=2), GP(startup_trials=2)])
def test_no_recipe_is_asked_twice_as_long_as_there_are_others(settings, build):
    tree = {"n": {"integers": [1, 4]}, "m": {"choice": ["a", "b"]}}
    asked = [tell(study, study.ask()) for study in [build(tree, settings)] for _ in range(8)]
    assert len({json.dumps(record.info.params, sort_keys=True) for record in asked}) == 8
    again = build(tree, settings, asked[:6])
    params = [again.ask().params for _ in range(2)]
    assert params == [record.info.params for record in asked[6:]], "built again, it knows what was"
    assert again.ask().params in params + [r.info.params for r in asked], "what there is, once more"


def test_a_branch_counts_as_what_is_drawn_in_it(build):
    study = build(FINITE, TPE(startup_trials=2))  # 20 recipes
    seen = {json.dumps(tell(study, study.ask()).info.params, sort_keys=True) for _ in range(20)}
    assert len(seen) >= 19, "once a branch is known, nothing in it is asked twice"


def test_in_nested_spaces_only_what_is_picked_is_asked(build):
    for sampler in (
        TPE(startup_trials=3),
        GP(startup_trials=3),
        QMC(),
        RandomSearch(),
        SMALL["nsga2"],
    ):
        study = build(NESTED, sampler)
        for _ in range(10):
            asked = study.ask()
            assert ("m.a.k" in asked.params) == (asked.params["m"] == "a")
            tell(study, asked)


@pytest.mark.parametrize(
    ("sampler", "tree", "trials", "said"),
    [
        (CMAES(), NESTED, 9, "'cma_es' knows no branches here, and 'm.a.k' is drawn only if 'm'"),
        (CMAES(), {"x": {"choice": [1, 2]}, "y": {"uniform": [0, 1]}}, 9, "'x' is a choice"),
        (CMAES(), {"x": {"uniform": [0, 1]}}, 9, "at least two draws"),
        (Grid(), NUMBERS, 9, "'x' has endlessly many values"),
        (Grid(), FINITE, 21, "Set trials to at most 20"),
    ],
)
def test_a_sampler_that_does_not_suit_the_space_is_refused(sampler, tree, trials, said):
    assert said in misfit(sampler, Job.of(tree, trials))


def test_a_process_knows_branches_of_one_objective_alone():
    assert not misfit(GP(), Job.of(NESTED, 9))
    assert "'gp' knows no branches here" in misfit(GP(), Job.of(NESTED, 9, objectives=2))


def test_what_suits_is_not_refused():
    for name in SAMPLERS:
        assert not misfit(SAMPLERS[name](), Job.of(tree_for(name), 20))


@pytest.mark.parametrize(
    ("tree", "trials", "objectives", "name"),
    [
        (NESTED, 100, 1, "gp"),
        (NESTED, 101, 1, "tpe"),
        (NUMBERS, 100, 1, "gp"),
        (NUMBERS, 101, 1, "cma_es"),
        ({**NUMBERS, "c": {"choice": ["a", "b"]}}, 101, 1, "tpe"),
        (NUMBERS, 100, 2, "tpe"),
        (NUMBERS, 2000, 2, "nsga2"),
        (NUMBERS, 2000, 3, "nsga3"),
        (NESTED, 2000, 3, "tpe"),
    ],
)
def test_auto_picks_by_space_trials_and_objectives(tree, trials, objectives, name):
    job = Job.of(tree, trials, objectives)
    picked = pick(Auto(), job)
    assert picked.sampler.name == name and picked.why and not misfit(picked.sampler, job)
    assert pick(TPE(), job).sampler == TPE() and not pick(TPE(), job).why


def test_what_auto_picked_is_in_the_manifest_and_stays_when_more_trials_are_wanted(tmp_path):
    tree = {"y": {"uniform": [0.0, 1.0]}}
    for trials in (3, 300):
        made = plan(tree, sampler=Auto(), trials=trials, time=None if trials == 3 else 0.001)
        run = run_search(made, tmp_path / "r", trial=TRIAL).run
        assert run.manifest["sampler"]["picked"] == to_data(GP())
        assert run.manifest["sampler"]["why"] == "one objective, and at most 100 trials"


def test_a_file_with_an_unfit_sampler_is_refused_with_its_place():
    text = """
search: {sampler: grid}
trial:
  tasks: {name: glyphs}
  models: [{name: vae}]
  outer: {lr: {uniform: [0.1, 0.2]}}
  algorithms: [{name: reptile}]
  score: mmd
"""
    with pytest.raises(ConfigError, match=r"search\.sampler: 'grid' tries every recipe"):
        SearchFile.from_yaml(text)


@pytest.mark.parametrize("wrong", [
    (GP, {"startup_trials": 0}), (CMAES, {"population": 3}), (CMAES, {"spread": 0.0}),
    (NSGA2, {"population": 1}), (NSGA3, {"population": 1}),
])  # fmt: skip
def test_settings_of_samplers_are_checked(wrong):
    kind, settings = wrong
    with pytest.raises(ValueError, match=next(iter(settings))):
        kind(**settings)
