"""KID against its definition, per task and over all of them."""

from __future__ import annotations

import pytest
import torch

from metasearch.rng import Stream
from metasearch.scores.kid import KID, polynomial
from metasearch.scores.pooling import relative
from tests.scores.fakes import Plain, real, rearranged, subject, true_means


def slow(x, y):
    """The U-statistic of MMD^2, by three double loops."""
    n, m = len(x), len(y)

    def k(a, b):
        return ((float(a @ b) + 1) / 2) ** 3

    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j)
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
    xy = sum(k(a, b) for a in x for b in y)
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)


def test_per_task_it_is_the_double_loop_of_its_definition():
    given = subject(3, n_samples=6, query=5)
    expected = [
        100 * slow(x, y) for x, y in zip(given.sample_features, given.query_features, strict=True)
    ]
    torch.testing.assert_close(KID()(given), torch.tensor(expected, dtype=torch.float64))


def test_pooled_it_is_the_definition_over_all_tasks_and_all_but_one():
    given = subject(4, n_samples=4, query=3)
    x, y, _ = relative(KID(), given)
    whole = slow(x.flatten(0, 1), y.flatten(0, 1))
    expected = []
    for task in range(4):
        left = [k for k in range(4) if k != task]
        without = slow(x[left].flatten(0, 1), y[left].flatten(0, 1))
        expected.append(100 * (4 * whole - 3 * without))
    found = KID(pooled=True)(given)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_of_a_single_task_pooling_is_that_task():
    given = subject(1, n_samples=4, query=3)
    x, y, _ = relative(KID(), given)
    assert float(KID(pooled=True)(given)) == pytest.approx(100 * slow(x[0], y[0]))


@pytest.mark.parametrize("pooled", [False, True])
def test_equal_distributions_give_zero_on_average(pooled):
    means = []
    for k in range(12):
        images = {"x": real(10, 12, "same", k).flatten(0, 1)}
        means.append(KID(pooled=pooled)(subject(10).posing(images)).mean())
    found = torch.stack(means)
    spread = float(found.std())
    # The query is the same throughout, so the average keeps some of its noise.
    assert abs(float(found.mean())) < 2 * spread
    assert spread < 0.2 * float(KID(pooled=pooled)(subject(10, means=true_means(10) + 0.8)).mean())


def test_pooled_too_it_sees_that_classes_are_mixed_up():
    given = subject(12, n_samples=30, features=Plain(scale=0.5))
    mixed = given.posing(rearranged(given, [*range(1, 12), 0]).samples)
    assert float(KID(pooled=True)(mixed).mean()) > float(KID(pooled=True)(given).mean()) + 5


def test_pooled_it_promises_what_every_score_does():
    poisoned = true_means(5)
    poisoned[2] = torch.nan
    values = KID(pooled=True)(subject(5, means=poisoned))
    rest = [0, 1, 3, 4]
    assert values[2].isnan()
    torch.testing.assert_close(values[rest], KID(pooled=True)(rearranged(subject(5), rest)))
    nothing = KID(pooled=True)(subject(3, means=true_means(3) * torch.nan))
    assert nothing.shape == (3,) and nothing.isnan().all()


def test_the_kernel_is_one_where_features_are_of_unit_length_and_equal():
    x = torch.nn.functional.normalize(torch.randn(2, 3, 4, generator=Stream(1).torch()), dim=2)
    torch.testing.assert_close(polynomial(x, x).diagonal(dim1=1, dim2=2), torch.ones(2, 3))


def test_torchmetrics_gives_the_same_number_up_to_its_scale():
    from torchmetrics.image import kid

    given = subject(2, n_samples=9, query=9)
    x, y = given.sample_features, given.query_features
    theirs = kid.poly_mmd(x[0], y[0], degree=3, gamma=1.0, coef=1.0)
    assert float(KID()(given)[0]) == pytest.approx(100 * float(theirs) / 8)
