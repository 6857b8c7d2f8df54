"""Which sampler suits which space, and how many trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metasearch import space
from metasearch.search.advisors import CMAES, GP, NSGA2, NSGA3, TPE, Auto, Grid, Sampler
from metasearch.space import Draw

FEW = 100  # trials up to which the model of a Gaussian process is quick enough to be asked
MANY = 1000  # trials from which populations find a front as well as densities do, and quicker


@dataclass(frozen=True)
class Job:
    """What a sampler is wanted for."""

    draws: Sequence[Draw]
    recipes: int | None  # how many there are; None if something continuous is drawn
    trials: int
    objectives: int = 1

    @staticmethod
    def of(tree: object, trials: int, objectives: int = 1) -> Job:
        """Sampling a tree with draws."""
        return Job(space.draws(tree), space.size(tree).configurations, trials, objectives)

    @property
    def nested(self) -> Draw | None:
        """A draw that only some recipes have."""
        return next((draw for draw in self.draws if draw.only_if), None)

    @property
    def wordy(self) -> Draw | None:
        """A draw among options that are no numbers between bounds."""
        return next((draw for draw in self.draws if draw.kind == "choice"), None)

    @property
    def endless(self) -> Draw | None:
        """A draw with more values than can be counted."""
        return next((draw for draw in self.draws if draw.kind.endswith("uniform")), None)


@dataclass(frozen=True)
class Pick:
    """A sampler, and why it was picked; without a reason, the user named it."""

    sampler: Sampler
    why: str = ""


def pick(sampler: Sampler, job: Job) -> Pick:
    """What `auto` stands for; any other sampler stands for itself."""
    if not isinstance(sampler, Auto):
        return Pick(sampler)
    if job.objectives > 1:
        return _for_a_front(job)
    if job.trials <= FEW:
        return Pick(GP(), f"one objective, and at most {FEW} trials")
    if job.nested is not None:
        return Pick(TPE(), f"{job.nested.path} is drawn in some branches only")
    if job.wordy is None and len(job.draws) > 1:
        return Pick(CMAES(), f"numbers without branches, and more than {FEW} trials")
    return Pick(TPE(), f"more than {FEW} trials, and not all draws are numbers")


def _for_a_front(job: Job) -> Pick:
    if job.trials < MANY or job.nested is not None:
        return Pick(TPE(), f"{job.objectives} objectives, and branches or below {MANY} trials")
    kind = NSGA2 if job.objectives == 2 else NSGA3
    return Pick(kind(), f"{job.objectives} objectives, no branches, and {job.trials} trials")


def misfit(sampler: Sampler, job: Job) -> str:
    """Why a sampler cannot do a job; empty if it can."""
    flat = isinstance(sampler, CMAES) or (isinstance(sampler, GP) and job.objectives > 1)
    if flat and job.nested is not None:
        path, label = job.nested.only_if[-1]
        return (
            f"{sampler.name!r} knows no branches here, and {job.nested.path!r} is drawn only if "
            f"{path!r} is {label!r}. Use tpe, qmc or random."
        )
    match sampler:
        case CMAES():
            return _no_evolution(job)
        case Grid():
            return _no_grid(job)
    return ""


def breeds(sampler: Sampler) -> bool:
    """Whether a sampler breeds from trials that finished, of which a race leaves few."""
    return isinstance(sampler, NSGA2 | NSGA3)


def _no_evolution(job: Job) -> str:
    if job.objectives > 1:
        return "'cma_es' knows one objective only. Use tpe, nsga2 or nsga3."
    if job.wordy is not None:
        return (
            f"'cma_es' draws numbers, and {job.wordy.path!r} is a choice. Use integers or uniform "
            "there, or another sampler, such as tpe or gp."
        )
    return "'cma_es' needs at least two draws. Use gp or tpe." if len(job.draws) < 2 else ""


def _no_grid(job: Job) -> str:
    if job.endless is not None:
        return (
            f"'grid' tries every recipe, and {job.endless.path!r} has endlessly many values. "
            "Draw it by choice or integers, or use qmc."
        )
    if job.recipes is not None and job.trials > job.recipes:
        return (
            f"'grid' has {job.recipes} recipes, and {job.trials} trials were asked for. "
            f"Set trials to at most {job.recipes}."
        )
    return ""
