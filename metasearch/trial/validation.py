"""What a trial may learn from while it trains: a few tasks of the split `inner`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.mixture import AnyAdapter, MixtureAdapter
from metasearch.engine.base import Adapted, Engine
from metasearch.models.base import Learner, LikelihoodModel, noise_per_task, rows
from metasearch.models.conditions import conditioned
from metasearch.rng import Stream
from metasearch.scores.base import Features, Subject, by_task
from metasearch.scores.mmd import kernel
from metasearch.selectors.base import Evidence
from metasearch.tasks.base import TaskDistribution
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import Panel, scored

SAMPLES = 16  # images generated per task, or as many as judging draws if those are fewer
LATENTS = 8  # of an importance-weighted bound, for the weights of a mixture
_NOISE = Stream(0).at("validation")


@dataclass(frozen=True)
class Validation:
    """Losses and evidence on `inner` tasks, paired: the same episodes and noise for every arm.

    All that it spends is paid from the trial's budget; see `cost`.
    """

    panel: Panel
    engine: Engine

    @staticmethod
    def gather(
        config: TrialConfig, data: TaskDistribution, features: Features | None, device: str
    ) -> Validation:
        """The first tasks of `inner`, one episode each, judged by the score that ranks."""
        few = replace(
            config.judging,
            tasks=config.strategy.validation,
            samples=max(min(SAMPLES, config.judging.samples), config.score.least),
        )
        alone = replace(config, judging=few, also=())
        return Validation(Panel.gather(alone, data, features, "inner", device), config.engine)

    @property
    def tasks(self) -> int:
        """How many."""
        return len(self.panel.tasks)

    def cost(self, adapter: AnyAdapter) -> int:
        """Gradient evaluations that one look at an adapter is charged for.

        Those of adapting, and one for each query image, on which nothing is differentiated but
        several scores spend as much.
        """
        episodes = self.panel.episodes
        parts = adapter.parts if isinstance(adapter, MixtureAdapter) else (adapter,)
        steps = sum(part.inner.steps * len(part.learner.family.turns) for part in parts)
        return rows(episodes.support) * steps + rows(episodes.query) * len(parts)

    def losses(self, adapter: AnyAdapter) -> np.ndarray:
        """The ranking score of each task after adaptation, [v]; lower is better."""
        score = self.panel.scores[0]
        found, _, _ = scored(adapter, self.engine, self.panel)
        return found[score.name] * (1 if score.direction == "minimize" else -1)

    def evidence(self, adapters: Sequence[AnyAdapter]) -> Evidence:
        """What is known of all arms, for whoever decides what the trial stands for."""
        losses = np.stack([self.losses(adapter) for adapter in adapters])
        adapted = [self._adapted(adapter) for adapter in adapters]
        families = [adapter.learner.family for adapter in adapters]
        if self.panel.scores[0].asks == "likelihood" and all(
            isinstance(family, LikelihoodModel) for family in families
        ):
            return Evidence(losses, log_likelihood=np.stack([self._nats(a) for a in adapted]))
        if self.panel.features is None:
            return Evidence(losses)
        gram, cross = self._kernels(adapted)
        return Evidence(losses, gram=gram, cross=cross)

    def payoff(self, learners: Sequence[Learner]) -> tuple[np.ndarray, int]:
        """Losses of a game's two players, each from every member, [2, n, n], and what it cost.

        Entry ``[r, i, j]`` is the loss of role `r` with the first player's nets from member `i` and
        the second's from member `j`, on the support of the `inner` tasks.
        """
        family = learners[0].family
        first, second = family.players
        images = conditioned(family, self.panel.episodes).support
        noise = noise_per_task(family, _NOISE, self.panel.tasks)
        n = len(learners)
        found = np.empty((2, n, n))
        with torch.no_grad():
            for i, j in product(range(n), repeat=2):
                nets = {name: learners[i].nets[name] for name in family.players[first]}
                nets |= {name: learners[j].nets[name] for name in family.players[second]}
                for role, player in enumerate((first, second)):
                    loss = family.loss(player, nets, images, noise(images, "payoff", player))
                    found[role, i, j] = float(loss.mean())
        return found, 2 * n * n * rows(images)

    def _adapted(self, adapter: AnyAdapter) -> Adapted:
        episodes = self.panel.episodes
        noise = noise_per_task(adapter.learner.family, _NOISE, episodes.tasks)
        return adapter.adapt(self.engine, episodes.support, self.tasks, noise)

    def _nats(self, adapted: Adapted) -> np.ndarray:
        """Log p of each query image, [q]."""
        family = adapted.learner.family
        assert isinstance(family, LikelihoodModel), "checked before"
        episodes = conditioned(family, self.panel.episodes)
        noise = noise_per_task(family, _NOISE, episodes.tasks)
        drawn = noise(episodes.query, "likelihood", samples=LATENTS)
        with torch.no_grad():
            nats = family.log_likelihood(adapted.nets, episodes.query, drawn)
        found: np.ndarray = nats.double().cpu().numpy()
        return found

    def _kernels(self, adapted: Sequence[Adapted]) -> tuple[np.ndarray, np.ndarray]:
        """Mean kernels between the arms' samples, and with real images, over tasks."""
        features = self.panel.features
        assert features is not None, "checked before"
        drawn, query = [], features(self._query())
        for a in adapted:
            noise = noise_per_task(a.learner.family, _NOISE, self.panel.tasks)
            subject = Subject(a, self.panel.episodes, noise, features, self.panel.samples)
            drawn.append(subject.sample_features)
        real = by_task(query, self.tasks)
        n = len(drawn)
        gram = np.empty((n, n))
        for i in range(n):
            for j in range(n):
                gram[i, j] = _mean_kernel(drawn[i], drawn[j], features.scale, same=i == j)
        cross = np.array([_mean_kernel(x, real, features.scale, same=False) for x in drawn])
        return gram, cross

    def _query(self) -> Tensor:
        episodes = self.panel.episodes
        return episodes.query[next(iter(episodes.query))]


def looks(config: TrialConfig) -> int:
    """Gradient evaluations that deciding what a trial stands for takes, at every report, at most.

    Of rules that look at `inner` tasks; see `Practice.crown`.
    """
    arms = [
        len(getattr(config, axis))
        for axis in ("models", "algorithms")
        if len(getattr(config, axis)) > 1 and "validation" in getattr(config.strategy, axis).needs
    ]
    dearest = max(
        config.tasks.shot * algorithm.inner.at_test().steps * len(family.turns) + config.tasks.query
        for algorithm, family in product(config.algorithms, config.models)
    )
    return sum(arms) * dearest * config.strategy.validation


def _mean_kernel(x: Tensor, y: Tensor, scale: float, *, same: bool) -> float:
    """The mean over tasks and pairs; of a set with itself, over pairs of different images."""
    k = kernel(x.double(), y.double(), scale)
    if not same:
        return float(k.mean())
    m = k.shape[1]
    off = k.sum((1, 2)) - k.diagonal(dim1=1, dim2=2).sum(1)
    return float((off / (m * (m - 1))).mean())
