"""The critic's bound: chance, certainty, and what lies between."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from metasearch.errors import DataError
from metasearch.rng import Stream
from metasearch.scores.c2st import C2ST
from metasearch.scores.critic import TRUST, Critic, best_factor, covariates, cross_entropy
from metasearch.scores.jsd import JSD
from metasearch.tasks.base import Episodes
from tests.scores.fakes import Plain, real, subject


def drawn(place, *shape):
    return torch.randn(*shape, generator=Stream(8).at(place).torch(), dtype=torch.float64)


def posed(tasks, images, **settings):
    return subject(tasks, **settings).posing({"x": images.flatten(0, 1)})


def test_a_critic_without_opinion_has_cross_entropy_ln_2_and_accuracy_one_half():
    nats, right = cross_entropy(torch.zeros(3, 5), torch.zeros(3, 9))
    torch.testing.assert_close(nats, torch.full((3,), math.log(2)), rtol=0, atol=1e-6)
    assert torch.equal(right, torch.full((3,), 0.5))


def test_a_blind_critic_gives_zero():
    blind = Plain(matrix=torch.zeros(16, 3, dtype=torch.float64))
    given = subject(4, features=blind)
    zero = torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close(JSD()(given), zero, rtol=0, atol=1e-6)
    assert (C2ST()(given) == 0.5).all()


def test_both_sides_count_alike_however_many_images_they_have():
    real_logits, fake = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5]])
    nats, right = cross_entropy(real_logits, fake.expand(1, 1))
    many, also = cross_entropy(real_logits, fake.expand(1, 50))
    torch.testing.assert_close(nats, many)
    assert float(right) == float(also) == 0.25


def test_disjoint_supports_give_nearly_ln_2():
    values = JSD()(posed(12, real(12, 20, "far") + 6, query=10))
    assert (values > 0.67).all() and (values <= math.log(2)).all()
    assert (C2ST()(posed(12, real(12, 20, "far") + 6)) == 1).all()


def test_equal_distributions_give_zero_within_noise():
    values = torch.cat([JSD()(posed(24, real(24, 32, "same", k), query=10)) for k in range(3)])
    assert abs(float(values.mean())) < 0.005


def test_it_grows_with_the_share_of_wrong_samples():
    good, bad = real(24, 20, "good"), real(24, 20, "bad") + 0.7
    shares = [0, 5, 10, 20]
    mixed = [torch.cat([bad[:, :k], good[:, k:]], 1) for k in shares]
    values = [float(JSD()(posed(24, x)).mean()) for x in mixed]
    assert values == sorted(values) and values[-1] > values[0] + 0.2


def divergence(shift):
    """JSD of N(0, 1) and N(shift, 1), by quadrature; that of two Gaussians along a line."""
    grid = torch.linspace(-8, 8 + shift, 20001, dtype=torch.float64)
    p, q = (torch.exp(-((grid - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0.0, shift))
    middle = (p + q).clamp_min(1e-300) / 2
    each = (torch.trapezoid(a * (a.clamp_min(1e-300) / middle).log(), grid) for a in (p, q))
    return float(sum(each) / 2)


def test_a_critic_with_enough_images_comes_near_the_true_divergence_from_below():
    x, y = drawn("p", 24, 80, 1), drawn("q", 24, 80, 1) + 1
    critic = Critic.fit(x[:, :40], y[:, :40], ridge=0.01)
    nats, _ = cross_entropy(critic(x[:, 40:]), critic(y[:, 40:]))
    error = float(nats.std()) / math.sqrt(24)
    assert 0.7 * divergence(1) < math.log(2) - float(nats.mean()) < divergence(1) + 3 * error


@pytest.mark.parametrize("shift", [0.2, 1.5])
def test_a_critic_with_few_images_overestimates_no_divergence(shift):
    plain = Plain(matrix=torch.eye(16, dtype=torch.float64))
    values = []
    for k in range(40):
        parts = {n: drawn(f"{n}{k}", 3 * m, 1, 4, 4) for n, m in (("s", 5), ("q", 12), ("f", 12))}
        support, query, fake = ({"x": x} for x in parts.values())
        fake["x"][..., 0, 0] += shift
        episodes = Episodes(("a", "b", "c"), support, query, query)
        given = dataclasses.replace(subject(3, features=plain), episodes=episodes).posing(fake)
        values.append(JSD()(given).mean())
    found = torch.stack(values)
    error = float(found.std()) / math.sqrt(len(found))
    assert -0.02 < float(found.mean()) < divergence(shift) + 2 * error


def test_copies_of_the_support_are_told_from_new_images():
    base = subject(24)
    copies = base.episodes.support["x"].unflatten(0, (24, -1)).repeat(1, 4, 1, 1, 1)
    assert float(JSD()(posed(24, copies)).mean()) > 0.3


def test_one_image_over_and_over_scores_worse_than_real_images():
    same = real(24, 1, "one").expand(24, 20, 1, 4, 4)
    fresh = real(24, 20, "fresh")
    assert float(JSD()(posed(24, same)).mean()) > float(JSD()(posed(24, fresh)).mean()) + 0.02


def test_the_critic_is_at_the_minimum_of_its_loss():
    x, y = drawn("a", 60, 5), drawn("b", 90, 5) * 1.5 + 0.4
    critic = Critic.fit(x, y, ridge=0.1)
    weights = critic.weights.clone().requires_grad_()
    moved = Critic(critic.mean, critic.deviation, weights)
    nats, _ = cross_entropy(moved(x).unsqueeze(0), moved(y).unsqueeze(0))
    loss = nats.sum() + 0.05 * weights[:-1].square().sum()
    (slope,) = torch.autograd.grad(loss, weights)
    assert float(slope.abs().max()) < 1e-8


def test_the_factor_of_logits_is_the_best_one_and_zero_for_a_critic_that_is_wrong():
    x, y = drawn("l", 400) + 0.5, drawn("m", 400) - 0.3
    best = best_factor(x, y)
    around = [cross_entropy(k * x[None], k * y[None])[0] for k in (best - 0.05, best, best + 0.05)]
    assert around[1] < around[0] and around[1] < around[2]
    assert best_factor(y, x) == 0
    assert best_factor(x.abs() + 1, -y.abs() - 1) == TRUST


def test_covariates_are_offsets_from_the_support_and_distances_to_it():
    features, support = drawn("f", 2, 3, 4), drawn("s", 2, 5, 4)
    found = covariates(features, support)
    for t in range(2):
        for i in range(3):
            gaps = support[t] - features[t, i]
            offset = features[t, i] - support[t].mean(0)
            row = torch.cat([offset, offset.norm()[None], gaps.norm(dim=1).min()[None]])
            torch.testing.assert_close(found[t, i], row)


def test_too_few_images_or_no_ridge_is_refused_in_words():
    with pytest.raises(DataError, match=r"'jsd': got 3 samples and 8 query .* at least 4"):
        JSD()(subject(3, n_samples=3))
    for kind in (JSD, C2ST):
        with pytest.raises(ValueError, match="ridge must be above 0, got 0"):
            kind(ridge=0.0)


def test_accuracy_and_divergence_are_of_one_critic():
    near, far = (posed(24, real(24, 20, "apart") + shift) for shift in (0.1, 0.5))
    assert 0.5 < float(C2ST()(near).mean()) < float(C2ST()(far).mean()) <= 1
    sure = C2ST()(far) == 1
    assert (JSD()(far)[sure] > JSD()(far)[~sure].mean()).all()
