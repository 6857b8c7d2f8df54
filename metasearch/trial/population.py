"""The models and algorithms of one trial: who of them moves, and what the trial stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.base import Adapter, MetaAlgorithm
from metasearch.algorithms.mixture import AnyAdapter, MixtureAdapter
from metasearch.models.base import GenerativeModel, Learner
from metasearch.rng import Stream
from metasearch.selectors.base import (
    Arms,
    Axis,
    Choice,
    Evidence,
    Exchange,
    Exchanger,
    Feedback,
    Selector,
    State,
)
from metasearch.tasks.base import Shape
from metasearch.trial.checkpoint import arrays_to_tensors, tensors_to_arrays
from metasearch.trial.config import TrialConfig
from metasearch.trial.member import Member

NEGLIGIBLE = 1e-3  # shares below it are left out of what a trial stands for


@dataclass(frozen=True)
class Champion:
    """What a trial stands for: one model and algorithm, or several with shares."""

    adapter: AnyAdapter
    algorithm: MetaAlgorithm  # of the part with the largest share
    family: GenerativeModel  # likewise

    @property
    def parts(self) -> tuple[tuple[Adapter, float], ...]:
        """Adapters with their shares."""
        if isinstance(self.adapter, MixtureAdapter):
            return tuple(zip(self.adapter.parts, self.adapter.weights, strict=True))
        return ((self.adapter, 1.0),)


@dataclass
class Population:
    """The members, and the three selectors' memories."""

    config: TrialConfig
    members: list[Member]
    states: dict[Axis, State]  # the selectors' memories
    counts: dict[Axis, np.ndarray]  # of each task its draws, of the others the steps they played
    chances: dict[Axis, np.ndarray]  # the latest probabilities per arm
    shares: dict[Axis, np.ndarray] = field(default_factory=dict)  # of the champion
    marks: dict[Axis, np.ndarray] = field(default_factory=dict)  # `counts` at the last report

    @staticmethod
    def create(config: TrialConfig, shape: Shape, tasks: Arms, device: str) -> Population:
        """All members at their initialisation; `tasks` are the train tasks."""
        arms: dict[Axis, Arms] = {
            "tasks": tasks,
            "algorithms": Arms(len(config.algorithms)),
            "models": Arms(
                len(config.models), np.array([config.models.index(m) for m in config.models])
            ),
        }
        merges = isinstance(rule := config.strategy.models, Exchanger) and rule.merges
        members = [
            Member.create(config, i, shape, device, start=0 if merges else i)
            for i in range(len(config.models))
        ]
        return Population(
            config,
            members,
            states={axis: selector_of(config, axis).init(a) for axis, a in arms.items()},
            counts={axis: np.zeros(a.n, dtype=np.int64) for axis, a in arms.items()},
            chances={axis: np.full(a.n, 1 / max(a.n, 1)) for axis, a in arms.items()},
        )

    def pick(self, axis: Axis, k: int, rng: Stream, progress: float) -> Choice:
        """Ask a selector, and take down the chances it gave."""
        selector = selector_of(self.config, axis)
        choice, self.states[axis] = selector.choose(
            self.states[axis], k, rng.at(axis).numpy(), progress
        )
        self.chances[axis] = choice.probabilities
        return choice

    def count(self, tasks: Choice, algorithms: Choice, model: int) -> None:
        """Take down who had a part in a meta-step."""
        played: dict[Axis, tuple[int, ...]] = {
            "tasks": tasks.arms,
            "algorithms": algorithms.arms,
            "models": (model,),
        }
        for axis, arms in played.items():
            self.counts[axis][list(arms)] += 1

    def learn(self, axis: Axis, choice: Choice, feedback: Feedback) -> None:
        """Tell a selector what its choice brought."""
        selector = selector_of(self.config, axis)
        self.states[axis] = selector.update(self.states[axis], choice, feedback)

    def exchange(self, rng: Stream) -> None:
        """Let the members act on each other, if the rule for models says so."""
        selector = self.config.strategy.models
        if not isinstance(selector, Exchanger):
            return
        found, self.states["models"] = selector.exchange(self.states["models"], rng.numpy())
        self._apply(found)

    def _apply(self, found: Exchange) -> None:
        for to, source, role in found.copies:
            players = list(self.members[to].learner.family.players)
            player = dict(zip(("first", "second"), players, strict=False)).get(role, "")
            self.members[to].take(self.members[source], player)
        for member, factor in found.rates.items():
            self.members[member].factor *= factor
        if found.pull:
            pull_together(self.members, found.pull)

    def adapter(self, model: int, algorithm: int) -> Adapter:
        """What adapts with one member and one algorithm's inner loop, as on unseen tasks."""
        member = self.members[model]
        inner = self.config.algorithms[algorithm].inner.at_test()
        return Adapter(member.learner, inner, member.rates[algorithm])

    def leading(self, axis: Axis) -> int:
        """The arm in the light of which the other axis is judged.

        The one with the largest share if that is settled, else the one that played most.
        """
        return int(self.shares.get(axis, self.counts[axis]).argmax())

    def settle(self, axis: Axis, evidence: Evidence | None) -> None:
        """Decide on the shares of the arms in what the trial stands for.

        Drawn, where it is drawn, from the trial's seed, so that every report of a trial is about
        the same arms.
        """
        rng = Stream(self.config.seed).at("champion", axis).numpy()
        share = selector_of(self.config, axis).final(self.states[axis], evidence, rng)
        share = np.where(share < NEGLIGIBLE, 0.0, share)
        self.shares[axis] = share / share.sum()

    def champion(self) -> Champion:
        """What the trial stands for, by the shares that `settle` found."""
        algorithm = int(self.shares["algorithms"].argmax())
        shares = self.shares["models"]
        first = int(shares.argmax())
        family, chosen = self.config.models[first], self.config.algorithms[algorithm]
        found = [int(i) for i in np.flatnonzero(shares)]
        selector = self.config.strategy.models
        if len(found) == 1:
            return Champion(self.adapter(first, algorithm), chosen, family)
        if isinstance(selector, Exchanger) and selector.merges:
            return Champion(self.merged(shares, algorithm), chosen, family)
        parts = tuple(self.adapter(i, algorithm) for i in found)
        mixed = MixtureAdapter(parts, tuple(float(shares[i]) for i in found))
        return Champion(mixed, chosen, family)

    def merged(self, shares: np.ndarray, algorithm: int) -> Adapter:
        """What adapts with the members' weights averaged by `shares`."""
        found = [int(i) for i in np.flatnonzero(shares)]
        one = soup([self.members[i] for i in found], [float(shares[i]) for i in found])
        inner = self.config.algorithms[algorithm].inner.at_test()
        return Adapter(one.learner, inner, one.rates[algorithm])

    def freeze(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Tensors by file and plain state, copied, for a snapshot."""
        tensors: dict[str, dict[str, Tensor]] = {}
        for i, member in enumerate(self.members):
            tensors |= member.freeze(str(i))
        for axis, state in self.states.items():
            notes = {
                "counts_": self.counts[axis],
                "chances_": self.chances[axis],
                "shares_": self.shares.get(axis, np.empty(0)),
                "marks_": self.marks.get(axis, np.zeros_like(self.counts[axis])),
            }
            tensors[f"select-{axis}"] = arrays_to_tensors({**state, **notes})
        return tensors, {"factors": [member.factor for member in self.members]}

    def restore(
        self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Go back to what `freeze` gave."""
        for i, member in enumerate(self.members):
            member.thaw(tensors, str(i))
            member.factor = float(state["factors"][i])
        for axis in self.states:
            arrays = tensors_to_arrays(tensors[f"select-{axis}"])
            self.counts[axis] = arrays.pop("counts_")
            self.chances[axis] = arrays.pop("chances_")
            self.marks[axis] = arrays.pop("marks_")
            shares = arrays.pop("shares_")
            if len(shares):
                self.shares[axis] = shares
            self.states[axis] = arrays


def selector_of(config: TrialConfig, axis: Axis) -> Selector:
    """The rule that chooses among the arms of an axis."""
    found: Selector = getattr(config.strategy, axis)
    return found


def pull_together(members: Sequence[Member], share: float) -> None:
    """Move every member that share of the way to the mean of all.

    Source: Zhang, Choromanska & LeCun, "Deep Learning with Elastic Averaging SGD", 2015, eq. 5,
    with the mean of the members in the place of a moving centre.
    """
    with torch.no_grad():
        every = [member.named() for member in members]
        for name in every[0]:
            mean = torch.stack([own[name] for own in every]).mean(0)
            for own in every:
                own[name].lerp_(mean, share)


def soup(members: Sequence[Member], shares: Sequence[float]) -> Member:
    """One member whose weights are the weighted mean of several of the same family.

    Source: Wortsman et al., "Model soups", 2022, section 2.
    """
    merged = members[0].fork()
    with torch.no_grad():
        every = [member.named() for member in members]
        for name, value in merged.named().items():
            parts = [s * own[name] for s, own in zip(shares, every, strict=True)]
            value.copy_(torch.stack(parts).sum(0))
    return merged


def one_learner(champion: Champion) -> Learner:
    """The learner of the part with the largest share."""
    adapter, _ = max(champion.parts, key=lambda part: part[1])
    return adapter.learner
