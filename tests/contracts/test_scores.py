"""What every score promises, over the registry; no branch on a name."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from metasearch.errors import DataError
from metasearch.registry import revive, to_data
from metasearch.scores import SCORES
from metasearch.scores.base import anchor_score, lacks
from tests.scores.fakes import Factor, real, rearranged, subject, true_means


@pytest.fixture(params=list(SCORES))
def score(request):
    return SCORES[request.param]()


@pytest.fixture(params=[name for name, kind in SCORES.items() if kind().proper])
def proper(request):
    return SCORES[request.param]()


def test_the_family_of_these_tests_serves_every_score():
    assert not any(lacks(Factor(), kind().asks) for kind in SCORES.values())


def test_it_says_what_it_is(score):
    assert SCORES[score.name] is type(score)
    assert score.direction in {"minimize", "maximize"}
    assert score.unit
    assert score.looks_at in {"samples", "model", "learner"}
    flags = (score.proper, score.together, score.needs_features, score.needs_truth)
    assert all(isinstance(flag, bool) for flag in flags)
    assert score.looks_at != "samples" or score.asks == "drawing"
    assert score.least >= 1
    assert revive(SCORES, to_data(score), "score") == score


def test_it_gives_one_finite_double_per_task(score):
    values = score(subject(5))
    assert values.shape == (5,) and values.dtype == torch.float64
    assert values.isfinite().all() and not values.requires_grad


def test_it_is_a_function_of_the_subject_and_draws_from_no_global_generator(score):
    before = torch.get_rng_state()
    assert torch.equal(score(subject()), score(subject()))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_true_distribution_scores_better_than_a_wrong_one_in_every_task(proper):
    good, bad = proper(subject(8)), proper(subject(8, means=true_means(8) + 0.8))
    sign = 1 if proper.direction == "minimize" else -1
    assert (sign * good < sign * bad).all()


def test_it_worsens_step_by_step_as_the_model_moves_away(proper):
    means = [proper(subject(8, means=true_means(8) + shift)).mean() for shift in (0, 0.1, 0.2, 0.4)]
    sign = 1 if proper.direction == "minimize" else -1
    assert all(sign * a < sign * b for a, b in pairwise(means))


def test_reordering_tasks_reorders_values(score):
    order = [3, 0, 4, 1, 2]
    whole = subject(5)
    torch.testing.assert_close(
        score(rearranged(whole, order)), score(whole)[order], rtol=1e-9, atol=1e-9
    )


def test_a_score_that_does_not_look_at_all_together_gives_a_task_what_it_gets_alone(score):
    whole, some = subject(5), [0, 3]
    alike = torch.allclose(score(rearranged(whole, some)), score(whole)[some], rtol=1e-9, atol=1e-9)
    assert alike is not score.together


def test_the_order_of_images_does_not_matter(score):
    mix = torch.randperm(96, generator=torch.Generator().manual_seed(0))
    tidy = subject(4, n_samples=24).posing({"x": real(4, 24, "samples").flatten(0, 1)})
    mixed = tidy.posing({"x": _shuffle(tidy.samples["x"], 24, mix)})
    for part in (mixed.episodes.query, mixed.episodes.support):
        part["x"] = part["x"].unflatten(0, (4, -1)).flip(1).flatten(0, 1)
    torch.testing.assert_close(score(mixed), score(tidy), rtol=1e-9, atol=1e-9)


def _shuffle(images, n, mix):
    each = images.unflatten(0, (-1, n)).clone()
    return torch.stack([x[mix[mix < n]] for x in each]).flatten(0, 1)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_diverged_task_gets_nan_and_the_others_what_they_get_without_it(score, poison):
    means = true_means(5)
    means[2] = poison
    values = score(subject(5, means=means))
    rest = [0, 1, 3, 4]
    assert values[2].isnan()
    without = score(rearranged(subject(5), rest))
    torch.testing.assert_close(values[rest], without, rtol=1e-9, atol=1e-9)


def test_if_every_task_diverged_all_is_nan(score):
    assert score(subject(3, means=true_means(3) * torch.nan)).isnan().all()


def test_scores_of_samples_have_an_anchor_and_likelihoods_have_none(score):
    values = anchor_score(score, subject(6))
    assert values.shape == (6,)
    assert values.isfinite().all() if score.looks_at == "samples" else values.isnan().all()


def test_scores_of_samples_see_only_the_images_they_are_given(score):
    if score.looks_at != "samples":
        return
    images = {"x": real(5, 9, "other").flatten(0, 1)}
    one = score(subject(5).posing(images))
    two = score(subject(5, means=true_means(5) + 0.8).posing(images))
    assert torch.equal(one, two)


def test_too_few_images_on_a_side_are_refused_in_words(score):
    if score.least == 1:
        return
    enough = {"n_samples": score.least, "query": score.least}
    assert score(subject(3, **enough)).isfinite().all()
    for side, few in (("n_samples", "samples"), ("query", "query images")):
        with pytest.raises(DataError, match=rf"{score.name!r}: got .*{score.least - 1} {few}"):
            score(subject(3, **{**enough, side: score.least - 1}))
