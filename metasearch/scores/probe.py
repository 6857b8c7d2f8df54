"""What the codes of classes never seen are good for: to tell these classes apart."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metasearch.errors import ConfigError
from metasearch.models.base import EncoderModel
from metasearch.registry import at_least, component
from metasearch.scores.base import Ability, Direction, Sight, Subject, by_task


@component
class Probe:
    """The share of a task's query images that a probe on codes gives to this task, among all.

    A probe learns from the support of every task that is judged, and says of each query image which
    task it is from: at chance 1 / tasks, so compare only what was judged on as many. Codes are
    those of the nets before adaptation, since codes of different nets have nothing in common.

    `linear` is a least-squares classifier on standardised codes, with `ridge` in units of their
    variance; `nearest` takes the class of the nearest standardised code.

    Source: Alain & Bengio, "Understanding intermediate layers using linear classifier probes",
    2017. Differs: least squares to one-hot targets, which has a closed form.
    """

    name: Literal["probe"] = "probe"
    kind: Literal["linear", "nearest"] = "linear"
    ridge: float = 1.0

    direction: ClassVar[Direction] = "maximize"
    unit: ClassVar[str] = "of query images"
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "learner"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    asks: ClassVar[Ability] = "encoding"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse a reward for large weights."""
        at_least(self, ridge=0)

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], in [0, 1]; tasks that diverged are no classes.

        Raises:
            ConfigError: the family has no encoder.
        """
        learner = subject.adapted.learner
        family, tasks = learner.family, subject.tasks
        if not isinstance(family, EncoderModel):
            raise ConfigError(
                f"score 'probe': {family.name!r} has no encoder. Use a family that has one, such "
                "as 'vae', or a score of samples such as 'mmd'."
            )
        episodes = subject.episodes
        with torch.no_grad():
            support, query = (
                by_task(family.encode(learner.nets, batch).flatten(1).double(), tasks)
                for batch in (episodes.support, episodes.query)
            )
        images = by_task(subject.samples[subject.domain], tasks)
        keep = images.flatten(1).isfinite().all(1)
        keep &= support.flatten(1).isfinite().all(1) & query.flatten(1).isfinite().all(1)
        found = torch.full((tasks,), torch.nan, dtype=torch.float64, device=keep.device)
        if bool(keep.any()):
            told = self.told(support[keep], query[keep])
            right = told == torch.arange(len(told), device=told.device).unsqueeze(1)
            found[keep] = right.double().mean(1)
        return found

    def told(self, support: Tensor, query: Tensor) -> Tensor:
        """The task that each query code [t, m, d] is given to, [t, m], from those of [t, k, d]."""
        tasks, shot, _ = support.shape
        known, asked = support.flatten(0, 1), query.flatten(0, 1)
        middle, unit = known.mean(0), known.std(0, correction=0).clamp_min(1e-12)
        known, asked = (known - middle) / unit, (asked - middle) / unit
        if self.kind == "nearest":
            best = torch.cdist(asked, known).argmin(1) // shot
        else:
            truth = torch.eye(tasks, dtype=known.dtype, device=known.device)
            truth = truth.repeat_interleave(shot, 0) - 1 / tasks
            square = known.T @ known / len(known)
            square += (self.ridge + 1e-9) * torch.eye(len(square), dtype=known.dtype).to(square)
            weights = torch.linalg.solve(square, known.T @ truth / len(known))
            best = (asked @ weights).argmax(1)
        return best.reshape(tasks, -1)
