"""The likelihood score against a family whose probabilities are known."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest
import torch

from metasearch.errors import ConfigError
from metasearch.models.base import Learner
from metasearch.scores import likelihood
from metasearch.scores.likelihood import NLL
from tests.scores.fakes import SHAPE, Factor, Fitted, subject, true_means


def exact(given):
    images = given.episodes.query["x"].unflatten(0, (given.tasks, -1))
    return -given.adapted.learner.family.exact(given.adapted.means, images).mean(1)


@pytest.mark.parametrize("bound", ["iwae", "elbo"])
@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_every_bound_is_the_exact_likelihood(bound, samples):
    given = subject(4)
    found = NLL(samples=samples, bound=bound)(given)
    torch.testing.assert_close(found, exact(given), rtol=1e-9, atol=1e-9)


def test_with_another_posterior_the_bound_comes_down_to_the_exact_value_as_samples_grow():
    given = subject(6, family=Factor(off=0.3, wide=1.2), query=300)
    found = [float(NLL(samples=k)(given).mean()) for k in (1, 4, 16, 64, 512)]
    truth = float(exact(given).mean())
    assert all(a > b for a, b in pairwise(found))
    assert truth - 0.01 < found[-1] < truth + 0.01 and found[0] > truth + 0.3


def test_the_elbo_misses_the_exact_value_by_the_divergence_of_its_posterior():
    family = Factor(off=0.1, wide=1.4)
    given = subject(6, family=family, query=40)
    deviation = 1 / math.sqrt(1 + float(family.loading.square().sum()) / family.noise**2)
    shift = family.off / deviation
    divergence = 0.5 * (family.wide**2 + shift**2 - 1) - math.log(family.wide)
    found = NLL(samples=200, bound="elbo")(given)
    torch.testing.assert_close(found, exact(given) + divergence, rtol=0, atol=0.05)


def test_chunks_change_no_number(monkeypatch):
    given = subject(5, family=Factor(off=0.2), query=9)
    whole = [NLL(samples=8, bound=bound)(given) for bound in ("iwae", "elbo")]
    monkeypatch.setattr(likelihood, "ROWS", 64)
    parts = [NLL(samples=8, bound=bound)(given) for bound in ("iwae", "elbo")]
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_diverged_task_leaves_the_others_equal_to_the_last_bit():
    means = true_means(5)
    means[1] = torch.nan
    whole, torn = NLL()(subject(5)), NLL()(subject(5, means=means))
    rest = [0, 2, 3, 4]
    assert torn[1].isnan() and torch.equal(whole[rest], torn[rest])


def test_a_family_without_likelihood_is_refused_in_words():
    class Sampler:
        name = "sampler"

    given = subject(3)
    other = Fitted(Learner(Sampler(), SHAPE, {}), given.adapted.means)
    with pytest.raises(ConfigError, match=r"'sampler' has no likelihood.*'mmd'"):
        NLL()(dataclasses.replace(given, adapted=other))


def test_no_samples_are_refused_in_words():
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        NLL(samples=0)
