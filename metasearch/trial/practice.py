"""How a trial meta-trains: what is practised, how and by whom, and what that brought."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.base import MetaGradient, MetaStep
from metasearch.engine.base import InnerLoop
from metasearch.models.base import Learner, LikelihoodModel, Params, noise_per_task, shared_noise
from metasearch.rng import Stream
from metasearch.scores.base import Features
from metasearch.scores.floors import PixelFloor, beta_bernoulli
from metasearch.selectors.base import Axis, Choice, Evidence, Exchanger, Teaching
from metasearch.tasks.base import Episodes, TaskDistribution, TaskId
from metasearch.trial.arms import task_arms
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import to_device
from metasearch.trial.lessons import direction, lessons, unadapted
from metasearch.trial.peers import taught
from metasearch.trial.population import Champion, Population, selector_of
from metasearch.trial.turn import NOTHING_KNOWN, Turn
from metasearch.trial.validation import Validation

SKETCH = 64  # numbers that a task's displacement is sketched in
JUDGED: tuple[Axis, Axis] = ("models", "algorithms")


@dataclass(frozen=True)
class Played:
    """One meta-step."""

    first: MetaGradient  # of the first algorithm that played
    gradients: int  # spent by all that played, and by looking


@dataclass
class Practice:
    """The population at work on the train tasks."""

    config: TrialConfig
    data: TaskDistribution
    device: str
    names: tuple[TaskId, ...]  # the train tasks, in the order of the task selector's arms
    population: Population
    validation: Validation | None  # None if no rule for algorithms or models asks for it
    guide: Validation | None  # the same for a rule for tasks that goes where `inner` tasks go
    reference: PixelFloor | None  # what the losses of tasks are held against; None likewise
    turn: Turn | None = None
    # Losses of a member on `inner`, from the end of a segment to the beginning of the next.
    known: tuple[int, Mapping[InnerLoop, np.ndarray]] = (-1, NOTHING_KNOWN)

    @staticmethod
    def open(
        config: TrialConfig, data: TaskDistribution, features: Features | None, device: str
    ) -> Practice:
        """Before the first meta-step."""
        names = tuple(data.tasks("train"))
        strategy, source = config.strategy, config.tasks
        looks = any("validation" in selector_of(config, axis).needs for axis in JUDGED)
        guided = {"validation", "sketch"} <= strategy.tasks.needs
        inner = Validation.gather(config, data, features, device) if looks or guided else None
        compares = strategy.tasks.kind != "random" and any(
            isinstance(family, LikelihoodModel) for family in config.models
        )
        return Practice(
            config,
            data,
            device,
            names,
            Population.create(
                config, data.shape, task_arms(strategy.tasks, data, names, features), device
            ),
            inner if looks else None,
            inner if guided else None,
            beta_bernoulli(data, shot=source.shot, query=source.query) if compares else None,
        )

    def step(self, number: int, done: float) -> Played:
        """One meta-batch: choose, adapt, differentiate, move, and tell the rules."""
        config, population = self.config, self.population
        select = Stream(config.seed).at("select", number)
        looked = 0
        if number % config.strategy.segment == 0 or self.turn is None:
            looked = self.close(number)
            self.turn, cost = self._begin(select, done)
            looked += cost
        turn = self.turn
        tasks = population.pick("tasks", config.budget.tasks_per_step, select, done)
        population.count(tasks, turn.choice, turn.model)
        rng = Stream(config.seed).at("train", number)
        episodes = self.data.episodes(
            [self.names[i] for i in tasks.arms],
            shot=config.tasks.shot,
            query=config.tasks.query,
            rng=rng.at("episodes"),
        )
        here = to_device(episodes, self.device)
        member = population.members[turn.model]
        if wants_progress := "before" in config.strategy.tasks.needs:
            before, cost = unadapted(turn.lanes[0].learner, here, rng, done)
        learner, heard, asked = self._taught(turn, here, done)
        looked += asked
        found = self._play(turn, learner, tasks, heard, rng, done)
        told = replace(lessons(member.learner, found[0], episodes, self.reference), common=turn.aim)
        if wants_progress:
            after, more = unadapted(turn.lanes[0].learner, here, rng, done)
            told, looked = replace(told, before=before, after=after), looked + cost + more
        population.learn("tasks", tasks, told)
        return Played(found[0], sum(x.gradients for x in found) + looked)

    def _begin(self, rng: Stream, done: float) -> tuple[Turn, int]:
        """Choose a model and its algorithms for the next segment; what looking at them cost."""
        config, population = self.config, self.population
        play = config.strategy.algorithms.play
        k = 1 if play == "one" else len(config.algorithms)
        algorithms = population.pick("algorithms", k, rng, done)
        (model,) = population.pick("models", 1, rng, done).arms
        turn = Turn.begin(model, algorithms, play, population.members[model])
        aimed = 0
        if self.guide is not None:
            found = self._on_inner(self.guide, turn, done, sketch=SKETCH)
            turn.aim, aimed = direction(found), found.gradients
        if self.validation is None:
            return turn, aimed
        known = self.known[1] if self.known[0] == model else NOTHING_KNOWN
        turn.before, cost = turn.measure(config.algorithms, self.validation, known)
        turn.spent += (aimed + cost) / len(algorithms.arms)
        return turn, aimed + cost

    def _play(
        self,
        turn: Turn,
        learner: Learner,
        tasks: Choice,
        episodes: Episodes,
        rng: Stream,
        done: float,
    ) -> list[MetaGradient]:
        config = self.config
        equal = len(set(tasks.weights)) == 1
        weights = torch.tensor(tasks.weights, device=self.device) * len(tasks.arms)
        step = MetaStep(
            config.engine,
            learner,
            progress=done,
            weights=None if equal else weights,
            sketch=SKETCH if "sketch" in config.strategy.tasks.needs else 0,
        )
        noise = shared_noise(learner.family, rng.at("noise"))
        surgery = rng.at("surgery").numpy() if tasks.surgery else None
        return turn.step(config.algorithms, step, episodes, noise, config.outer, surgery)

    def _taught(self, turn: Turn, episodes: Episodes, done: float) -> tuple[Learner, Episodes, int]:
        """Who plays, what it sees, and what asking the other models cost, if its rule asks any."""
        rule, members = self.config.strategy.models, self.population.members
        learner = members[turn.model].learner
        if not isinstance(rule, Teaching):
            return learner, episodes, 0
        peers = [member.learner for i, member in enumerate(members) if i != turn.model]
        return taught(learner, peers, rule.kappa, episodes, done)

    def close(self, number: int) -> int:
        """End a segment: tell the rules what it brought; what looking cost.

        The winner of a race takes the place of its member.
        """
        turn, self.turn = self.turn, None
        self.known = (-1, NOTHING_KNOWN)
        if turn is None:
            return 0
        config, population = self.config, self.population
        if self.validation is None:
            self._exchange(number)
            return 0
        after, cost = turn.measure(config.algorithms, self.validation)
        common, more = self._common(turn)
        turn.spent += (cost + more) / len(turn.choice.arms)
        if turn.play == "race":
            population.members[turn.model].take(turn.winner(after))
        population.learn("algorithms", turn.choice, turn.feedback(after, common))
        told = turn.of_model(after)
        if "payoff" in config.strategy.models.needs:
            payoff, extra = self.validation.payoff([m.learner for m in population.members])
            told, more = replace(told, payoff=payoff), more + extra
        population.learn("models", turn.only_model(len(config.models)), told)
        self._exchange(number)
        if not isinstance(config.strategy.models, Exchanger):  # who may have changed the member
            self.known = (turn.model, turn.known(config.algorithms, after))
        return cost + more

    def _exchange(self, number: int) -> None:
        self.population.exchange(Stream(self.config.seed).at("exchange", number))

    def _common(self, turn: Turn) -> tuple[Params | None, int]:
        """The meta-gradient on the `inner` tasks, if the rule for algorithms compares with it."""
        if "sketch" not in self.config.strategy.algorithms.needs or not turn.last:
            return None, 0
        assert self.validation is not None, "a rule with sketches validates"
        found = self._on_inner(self.validation, turn, 1.0)
        return found.values, found.gradients

    def _on_inner(
        self, inner: Validation, turn: Turn, done: float, *, sketch: int = 0
    ) -> MetaGradient:
        """What the first algorithm of a segment finds on the `inner` tasks."""
        config, first = self.config, turn.choice.arms[0]
        member, episodes = self.population.members[turn.model], inner.panel.episodes
        step = MetaStep(
            config.engine, member.learner, member.rates[first], progress=done, sketch=sketch
        )
        noise = noise_per_task(
            member.learner.family, Stream(config.seed).at("common"), episodes.tasks
        )
        return config.algorithms[first].meta_gradient(step, episodes, noise)

    def crown(self) -> tuple[Champion, int]:
        """What the trial stands for at this moment, and what deciding it cost."""
        cost = 0
        for axis in JUDGED:
            evidence, spent = self._evidence(axis)
            self.population.settle(axis, evidence)
            cost += spent
        return self.population.champion(), cost

    def reserve(self) -> int:
        """What `close` and `crown` may yet cost: a trial stops that much before its budget."""
        if self.validation is None:
            return 0
        models, algorithms = len(self.config.models), len(self.config.algorithms)
        adapters = [self.population.adapter(m, a) for m in range(models) for a in range(algorithms)]
        dearest = max(self.validation.cost(adapter) for adapter in adapters)
        looks = sum(self._contested(axis) for axis in JUDGED)
        if self._merges:  # as many again: of the merged weights
            looks += self._contested("models")
        return dearest * (algorithms + looks)

    def _contested(self, axis: Axis) -> int:
        """How many arms are looked at for the sake of an axis."""
        arms = len(getattr(self.config, axis))
        return arms if arms > 1 and "validation" in selector_of(self.config, axis).needs else 0

    @property
    def _merges(self) -> bool:
        rule = self.config.strategy.models
        return isinstance(rule, Exchanger) and rule.merges

    def _evidence(self, axis: Axis) -> tuple[Evidence | None, int]:
        arms = self._contested(axis)
        if self.validation is None or not arms:
            return None, 0
        population = self.population
        algorithm, model = population.leading("algorithms"), population.leading("models")
        adapters = [
            population.adapter(i, algorithm) if axis == "models" else population.adapter(model, i)
            for i in range(arms)
        ]
        cost = sum(self.validation.cost(adapter) for adapter in adapters)
        evidence = self.validation.evidence(adapters)
        if axis == "models" and self._merges:
            evidence = replace(evidence, loss_of=self._loss_of_merged)
            cost += arms * self.validation.cost(adapters[0])
        return evidence, cost

    def _loss_of_merged(self, shares: np.ndarray) -> float:
        assert self.validation is not None, "a rule that merges validates"
        merged = self.population.merged(shares, self.population.leading("algorithms"))
        losses = self.validation.losses(merged)
        return float(losses.mean()) if np.isfinite(losses).all() else math.inf

    def freeze(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Tensors by file and plain state, copied, for a snapshot."""
        tensors, state = self.population.freeze()
        if self.turn is None:
            return tensors, {**state, "turn": None}
        more, turn = self.turn.freeze()
        return tensors | more, {**state, "turn": turn}

    def restore(
        self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Go back to what `freeze` gave."""
        self.population.restore(tensors, state)
        turn = state["turn"]
        if turn is not None:
            member = self.population.members[turn["model"]]
            self.turn = Turn.thaw(tensors, turn, member)
