"""One segment of a trial: which model plays, by which algorithms, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.base import Adapter, MetaAlgorithm, MetaGradient, MetaStep
from metasearch.algorithms.combine import blend, coordinates, with_surgery
from metasearch.algorithms.together import together
from metasearch.engine.base import InnerLoop
from metasearch.models.base import NoiseSource, Params
from metasearch.selectors.base import Choice, Feedback, Play
from metasearch.tasks.base import Episodes
from metasearch.trial.config import Outer
from metasearch.trial.member import Member
from metasearch.trial.validation import Validation

NOTHING_KNOWN: Mapping[InnerLoop, np.ndarray] = {}


@dataclass
class Turn:
    """A model and the algorithms that were chosen for it, for some meta-steps."""

    model: int
    choice: Choice  # of algorithms
    play: Play
    lanes: list[Member]  # the member itself; in a race one copy of it for each algorithm
    before: np.ndarray  # [arms, v] losses on `inner` at the start; [arms, 0] if nobody asked
    spent: np.ndarray  # [arms] gradient evaluations
    last: list[Params] = field(default_factory=list)  # the arms' gradients at the latest step
    aim: np.ndarray | None = None  # [d] where the `inner` tasks wanted to go at the start, if asked

    @staticmethod
    def begin(model: int, choice: Choice, play: Play, member: Member) -> Turn:
        """Nothing is played yet."""
        arms = len(choice.arms)
        lanes = [member.fork() for _ in range(arms)] if play == "race" else [member]
        return Turn(model, choice, play, lanes, np.empty((arms, 0)), np.zeros(arms))

    def step(
        self,
        algorithms: Sequence[MetaAlgorithm],
        step: MetaStep,
        episodes: Episodes,
        noise: NoiseSource,
        outer: Outer,
        surgery: np.random.Generator | None = None,
    ) -> list[MetaGradient]:
        """One meta-step of every lane on the same episodes; what each algorithm found.

        A lane's nets are trained by the losses of the family that `step` has.

        `surgery` orders the projections, if conflicts between tasks are to be projected out.
        """
        arms = [algorithms[arm] for arm in self.choice.arms]
        lanes = self.lanes if self.play == "race" else self.lanes * len(arms)
        steps = [
            replace(
                step,
                learner=replace(step.learner, nets=lane.learner.nets),
                rates=lane.rates[i],
            )
            for lane, i in zip(lanes, self.choice.arms, strict=True)
        ]
        if surgery is not None:
            each = zip(arms, steps, strict=True)
            found = [with_surgery(arm, own, episodes, noise, surgery) for arm, own in each]
        elif self.play == "blend":
            found = together(arms, steps, episodes, noise)
        else:
            each = zip(arms, steps, strict=True)
            found = [arm.meta_gradient(own, episodes, noise) for arm, own in each]
        self._move(found, outer, step.progress)
        self.spent += [mine.gradients for mine in found]
        return found

    def _move(self, found: Sequence[MetaGradient], outer: Outer, done: float) -> None:
        if self.play != "race":
            self._blended(found, outer, done)
            return
        for lane, mine, arm in zip(self.lanes, found, self.choice.arms, strict=True):
            if bool(mine.finite.any()):
                lane.move(mine.values, {arm: mine.rates}, outer, done)

    def _blended(self, found: Sequence[MetaGradient], outer: Outer, done: float) -> None:
        (member,) = self.lanes
        usable = [i for i, mine in enumerate(found) if bool(mine.finite.any())]
        if not usable:
            return
        weights = np.array([self.choice.weights[i] for i in usable])
        values = blend([found[i].values for i in usable], (weights / weights.sum()).tolist())
        rates = {self.choice.arms[i]: found[i].rates for i in usable}
        if len(found) > 1:
            self.last = [mine.values for mine in found]
        member.move(values, rates, outer, done)

    def adapters(self, algorithms: Sequence[MetaAlgorithm]) -> list[Adapter]:
        """What each arm would adapt with now."""
        lanes = self.lanes if self.play == "race" else self.lanes * len(self.choice.arms)
        return [
            Adapter(lane.learner, algorithms[arm].inner.at_test(), lane.rates[arm])
            for lane, arm in zip(lanes, self.choice.arms, strict=True)
        ]

    def measure(
        self,
        algorithms: Sequence[MetaAlgorithm],
        validation: Validation,
        known: Mapping[InnerLoop, np.ndarray] = NOTHING_KNOWN,
    ) -> tuple[np.ndarray, int]:
        """The arms' losses on `inner`, [arms, v], and what looking cost.

        In a blend there is one state, and one look at it serves all arms of one inner loop. What is
        `known` of the member by inner loop is not looked at again.
        """
        adapters = self.adapters(algorithms)
        seen: dict[Any, np.ndarray] = {}
        cost, rows = 0, []
        for i, adapter in enumerate(adapters):
            key = (i if self.play == "race" or adapter.rates else 0, adapter.inner)
            if key not in seen and adapter.inner in known and not adapter.rates:
                seen[key] = known[adapter.inner]
            if key not in seen:
                seen[key] = validation.losses(adapter)
                cost += validation.cost(adapter)
            rows.append(seen[key])
        return np.stack(rows), cost

    def feedback(self, after: np.ndarray, common: Params | None) -> Feedback:
        """What the algorithms brought; `common` is the gradient on the `inner` tasks."""
        before = self.before if self.before.shape == after.shape else np.full_like(after, np.nan)
        given = Feedback(before, after, after.copy(), self.spent.copy())
        if common is None or not self.last:
            return given
        vectors = coordinates([*self.last, common])
        return replace(given, sketch=vectors[:-1], common=vectors[-1])

    def only_model(self, models: int) -> Choice:
        """The model as a choice of its own, to tell its rule about."""
        return Choice((self.model,), (1.0,), np.full(models, 1 / models))

    def of_model(self, after: np.ndarray) -> Feedback:
        """What the model brought: by the algorithm that ended best, at the cost of all."""
        best = _first(after)
        before, end = self.before[[best]], after[[best]]
        return Feedback(before, end, end.copy(), np.array([self.spent.sum()]))

    def winner(self, after: np.ndarray) -> Member:
        """The lane with the lowest mean loss, where one that diverged is the worst."""
        return self.lanes[_first(after)] if self.play == "race" else self.lanes[0]

    def known(
        self, algorithms: Sequence[MetaAlgorithm], after: np.ndarray
    ) -> dict[InnerLoop, np.ndarray]:
        """The losses [v] of what goes on, by inner loop, as `measure` found them."""
        arms = [_first(after)] if self.play == "race" else range(len(after))
        return {algorithms[self.choice.arms[i]].inner.at_test(): after[i] for i in arms}

    def freeze(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """For a snapshot in the middle of a segment."""
        tensors: dict[str, dict[str, Tensor]] = {
            "turn": {
                "before": torch.from_numpy(self.before.copy()),
                "spent": torch.from_numpy(self.spent.copy()),
                "probabilities": torch.from_numpy(self.choice.probabilities.copy()),
            }
        }
        if self.aim is not None:
            tensors["turn"]["aim"] = torch.from_numpy(self.aim.copy())
        if self.play == "race":
            for i, lane in enumerate(self.lanes):
                tensors |= lane.freeze(f"lane-{i}")
        for i, gradient in enumerate(self.last):
            tensors[f"turn-gradient-{i}"] = {k: v.detach().clone() for k, v in gradient.items()}
        state = {
            "model": self.model,
            "arms": list(self.choice.arms),
            "weights": list(self.choice.weights),
            "play": self.play,
            "gradients": len(self.last),
        }
        return tensors, state

    @staticmethod
    def thaw(
        tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], member: Member
    ) -> Turn:
        """Go back to what `freeze` gave; `member` is restored already."""
        own = tensors["turn"]
        choice = Choice(
            tuple(state["arms"]), tuple(state["weights"]), own["probabilities"].cpu().numpy()
        )
        turn = Turn.begin(int(state["model"]), choice, state["play"], member)
        turn.before, turn.spent = own["before"].cpu().numpy(), own["spent"].cpu().numpy()
        turn.aim = own["aim"].cpu().numpy() if "aim" in own else None
        if turn.play == "race":
            for i, lane in enumerate(turn.lanes):
                lane.thaw(tensors, f"lane-{i}")
        turn.last = [dict(tensors[f"turn-gradient-{i}"]) for i in range(state["gradients"])]
        return turn


def _first(losses: np.ndarray) -> int:
    """Which of the arms [arms, v] has the lowest mean, where one that diverged is the worst."""
    return int(np.where(np.isfinite(losses), losses, np.inf).mean(1).argmin())
