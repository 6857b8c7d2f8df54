"""What a meta-step brought to the tasks it was on: all that a rule for tasks is told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.base import MetaGradient, outer_losses
from metasearch.engine.shared import Shared
from metasearch.models.base import Learner, LikelihoodModel, shared_noise
from metasearch.models.conditions import conditioned
from metasearch.rng import Stream
from metasearch.scores.floors import PixelFloor
from metasearch.selectors.base import Feedback
from metasearch.tasks.base import Episodes


def lessons(
    learner: Learner, found: MetaGradient, episodes: Episodes, reference: PixelFloor | None
) -> Feedback:
    """The loss of the player that moves last, as the game's outcome; NaN where a task diverged.

    Where the family knows likelihoods, it is also held against those of the `reference`.
    """
    tasks = len(episodes.tasks)
    after = np.full(tasks, np.nan)
    if found.losses:
        finite = found.finite.cpu().numpy()
        after = np.where(finite, _last(found.losses).double().cpu().numpy(), np.nan)
    floor = np.zeros(tasks)
    if reference is not None and isinstance(learner.family, LikelihoodModel):
        floor = reference.nll(episodes).numpy()
    return Feedback(
        np.full((tasks, 1), np.nan),
        after[:, None],
        (after - floor)[:, None],
        np.full(tasks, found.gradients / tasks),
        None if found.sketch is None else found.sketch.double().cpu().numpy(),
    )


def unadapted(
    learner: Learner, episodes: Episodes, rng: Stream, done: float
) -> tuple[np.ndarray, int]:
    """Query loss of each task at the meta-parameters [tasks, 1], and what it cost.

    Before a meta-step and after it, on the same images and with the same noise, for rules that go
    by progress.
    """
    tasks = len(episodes.tasks)
    noise = shared_noise(learner.family, rng.at("unadapted"))
    episodes = conditioned(learner.family, episodes, progress=done)
    with torch.no_grad():
        losses = outer_losses(Shared(learner, tasks, {}), episodes.query, noise)
    last = _last(losses).reshape(tasks, -1).mean(1, keepdim=True)
    return last.double().cpu().numpy(), sum(len(x) for x in losses.values())


def direction(found: MetaGradient) -> np.ndarray | None:
    """Where the tasks of a meta-gradient want to go together, [d]: the mean of their unit sketches.

    None if no task stayed finite.
    """
    assert found.sketch is not None, "asked for with a sketch"
    rows = found.sketch.double().cpu().numpy()[found.finite.cpu().numpy()]
    rows = rows[np.isfinite(rows).all(1)]
    if not len(rows):
        return None
    mean: np.ndarray = (rows / np.maximum(np.linalg.norm(rows, axis=1), 1e-30)[:, None]).mean(0)
    return mean


def _last(losses: Mapping[str, Tensor]) -> Tensor:
    return list(losses.values())[-1]
