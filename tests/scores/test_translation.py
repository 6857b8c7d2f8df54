"""Scores of translations: the truth scores zero, doing nothing what domains differ by."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from metasearch.errors import DataError
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.untouched import Untouched
from metasearch.rng import Stream
from metasearch.scores import SCORES
from metasearch.scores.base import Subject, lacks
from metasearch.tasks.base import Episodes
from tests.scores.fakes import Factor

A = torch.rand(6, 1, 4, 4, generator=Stream(0).torch(), dtype=torch.float64) - 1
B = A + 0.4
TASKS = ("g/one", "g/two")


class Adapted:
    """Nets of nobody, for two tasks."""

    def __init__(self, family):
        self.learner = Learner(family, (1, 4, 4), {})
        self.tasks, self.gradients, self.nets = 2, 0, {}


class Truth(Untouched):
    """Knows that "b" is 0.4 lighter."""

    def translate(self, nets, batch):
        return {"b": batch["a"] + 0.4, "a": batch["b"] - 0.4}


class Astray(Untouched):
    """Finds the way there and not the way back, which is 0.2 off."""

    def translate(self, nets, batch):
        return {"b": batch["a"] + 0.4, "a": batch["b"] - 0.2}


def scored(name, family, *, paired=True):
    part = {"a": A, "b": B}
    episodes = Episodes(TASKS, part, part, part, paired=paired)
    noise = noise_per_task(family, Stream(1), TASKS)
    return SCORES[name]()(Subject(Adapted(family), episodes, noise, None, 3))


@pytest.mark.parametrize(("name", "family", "want"), [
    ("paired", Truth(), 0),
    ("paired", Untouched(), 20),  # 0.4 of the 2 that light spans
    ("paired", Astray(), 0),  # the way back is not asked for
    ("cycle", Truth(), 0),
    ("cycle", Untouched(), 0),
    ("cycle", Astray(), 10),
    ("identity", Truth(), 20),
    ("identity", Untouched(), 0),
    ("identity", Astray(), 15),
])  # fmt: skip
def test_a_translation_scores_its_mean_absolute_difference_of_light(name, family, want):
    assert scored(name, family).tolist() == pytest.approx([want, want], abs=1e-9)


def test_without_knowing_the_truth_no_paired_error_is_told():
    with pytest.raises(DataError, match=r"does not say which images belong together.*paired: true"):
        scored("paired", Truth(), paired=False)


def test_only_the_task_that_went_wrong_is_lost():
    class Broken(Untouched):
        def translate(self, nets, batch):
            lost = batch["a"].clone()
            lost[:3] = math.nan
            return {"b": lost, "a": batch["b"]}

    found = scored("paired", Broken())
    assert found[0].isnan() and found[1].isfinite()


def test_a_family_that_draws_only_cannot_be_asked_for_translations():
    drawing = replace(Untouched())
    assert not lacks(drawing, "translation")
    assert lacks(object(), "translation") == "does not translate from one domain to another"
    assert not lacks(Factor(), "likelihood")
