"""Precision, recall, density and coverage by hand on a line, and what each is blind to."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from metasearch.scores.balls import covered, distances, radii
from metasearch.scores.coverage import Coverage
from metasearch.scores.density import Density
from metasearch.scores.precision import Precision
from metasearch.scores.recall import Recall
from metasearch.tasks.base import Episodes
from tests.scores.fakes import Plain, real, subject

ALL = (Precision, Recall, Density, Coverage)


@dataclasses.dataclass(frozen=True)
class First(Plain):
    """The first pixel alone."""

    def __call__(self, images):
        return images.flatten(1)[:, :1].double()


def on_a_line(query, samples):
    """One task whose images are points on a line."""

    def images(points):
        x = torch.zeros(len(points), 1, 4, 4, dtype=torch.float64)
        x[:, 0, 0, 0] = torch.tensor(points)
        return {"x": x}

    episodes = Episodes(("g/t",), images([0.0]), images(query), images([0.0]))
    base = dataclasses.replace(subject(1, features=First()), episodes=episodes)
    return base.posing(images(samples))


def scores(query, samples, k=1):
    given = on_a_line(query, samples)
    return [round(float(kind(k=k)(given)), 4) for kind in ALL]


def test_a_ball_reaches_to_the_kth_nearest_other_image():
    x = torch.tensor([[[0.0], [1.0], [3.0], [7.0]]])
    assert radii(x, 1).tolist() == [[1, 1, 2, 4]]
    assert radii(x, 2).tolist() == [[3, 2, 3, 6]]


def test_equal_images_are_at_distance_zero_exactly():
    x = real(2, 6, "copies").flatten(2)
    assert (distances(x, x).diagonal(dim1=1, dim2=2) == 0).all()


def test_the_edge_of_a_ball_belongs_to_it():
    x, y = torch.tensor([[[1.0]]]), torch.tensor([[[0.0], [1.0]]])
    assert covered(x, y, 1).tolist() == [[[True, True]]]


def test_by_hand():
    # Query balls: 0 +- 1, 1 +- 1, 4 +- 3. Sample balls: 0.5 +- 2, 2.5 +- 2, 9 +- 6.5.
    precision, recall, density, coverage = scores([0.0, 1.0, 4.0], [0.5, 2.5, 9.0])
    assert precision == round(2 / 3, 4)  # 9 lies in none
    assert recall == 1.0
    assert density == round(3 / 3, 4)  # 0.5 in two balls, 2.5 in one
    assert coverage == 1.0


def test_with_more_neighbours_balls_grow_and_density_counts_shares_of_them():
    # Query balls with k = 2: 0 +- 4, 1 +- 3, 4 +- 3, 5 +- 4.
    precision, _, density, coverage = scores([0.0, 1.0, 4.0, 5.0], [0.5, 2.5, 7.5, 9.5], k=2)
    assert (precision, coverage) == (0.75, 1.0)
    assert density == (2 + 4 + 1) / 4 / 2


def test_one_good_image_over_and_over_is_precise_and_covers_little():
    line = [0.0, 1.0, 2.0, 3.0, 4.0]
    precision, recall, density, coverage = scores(line, [2.0] * 5)
    assert precision == 1 and recall == 0.2
    assert density > 1
    assert coverage == 0.6


def test_one_far_sample_wins_recall_and_not_coverage():
    line = [0.0, 1.0, 2.0, 3.0, 4.0]
    _, recall, _, coverage = scores(line, [100.0, 220.0, 221.0])
    assert recall == 1 and coverage == 0


def test_a_mode_that_is_dropped_lowers_recall_and_coverage_and_not_precision():
    line = [0.0, 1.0, 2.0, 20.0, 21.0, 22.0]
    whole = scores(line, [0.4, 1.4, 1.9, 20.4, 21.4, 21.9])
    half = scores(line, [0.25, 0.5, 1.25, 1.5, 1.75, 2.0])
    assert whole == [1, 1, whole[2], 1]
    assert half[0] == 1 and half[1] == 0.5 and half[3] == 0.5


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind().name)
def test_means_over_tasks_are_those_of_all_tasks_images(kind):
    given = subject(6)
    x, y = given.sample_features, given.query_features
    balls = covered(y, x, 3) if kind is Recall else covered(x, y, 3)
    pooled = {
        Precision: balls.any(2),
        Recall: balls.any(2),
        Density: balls.double().sum(2) / 3,
        Coverage: balls.any(1),
    }[kind]
    assert float(kind()(given).mean()) == pytest.approx(float(pooled.double().mean()))


def test_density_of_real_images_is_about_one():
    images = {"x": real(40, 30, "density").flatten(0, 1)}
    assert float(Density()(subject(40).posing(images)).mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind().name)
def test_more_neighbours_need_more_images_and_none_is_refused(kind):
    assert kind(k=5).least == 7
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        kind(k=0)
