"""Which algorithm can meta-train which family, and why another cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from metasearch.algorithms.anil import ANIL
from metasearch.algorithms.base import MetaAlgorithm
from metasearch.algorithms.imaml import IMAML
from metasearch.algorithms.joint import Joint
from metasearch.algorithms.maml import MAML
from metasearch.algorithms.meta_sgd import MetaSGD
from metasearch.algorithms.reptile import Reptile
from metasearch.algorithms.scratch import Scratch
from metasearch.models.adversarial import Wasserstein
from metasearch.models.base import GenerativeModel


def misfit(algorithm: MetaAlgorithm, model: GenerativeModel) -> str:
    """Why an algorithm cannot meta-train a family; empty if it can.

    What is asked is what a family is made of, not what it is called.
    """
    rules = (_second_order, _implicit, _learned_rates, _turns, _judged_as_a_game, _between_players)
    for rule in rules:
        if reason := rule(algorithm, model):
            return reason
    return ""


def _second_order(algorithm: MetaAlgorithm, model: GenerativeModel) -> str:
    """Second derivatives of inner steps that do not have them."""
    if not isinstance(algorithm, MAML | ANIL | MetaSGD) or algorithm.first_order:
        return ""
    parts = list(_settings(model))
    if any(isinstance(x, Wasserstein) for _, x in parts):
        return (
            f"{algorithm.name!r} with second order takes the gradient penalty's third derivative, "
            "which its root does not have where the critic is flat. Set first_order: "
            "true, or use an objective with r1, which has no root."
        )
    if ("spectral", True) in parts:
        return (
            "spectral normalisation holds singular vectors constant, so its second derivative, "
            f"which {algorithm.name!r} with second order needs, is not the true one. Set "
            "first_order: true, or spectral: false."
        )
    return ""


def _implicit(algorithm: MetaAlgorithm, model: GenerativeModel) -> str:
    if not isinstance(algorithm, IMAML):
        return ""
    if len(model.players) > 1:
        return (
            "'imaml' solves for the minimum of one loss, and a game of several players has no such "
            "thing: the derivative of its steps is not symmetric. Use maml or reptile."
        )
    return ""


def _learned_rates(algorithm: MetaAlgorithm, model: GenerativeModel) -> str:  # noqa: ARG001
    if not isinstance(algorithm, IMAML | Joint | Reptile | Scratch):
        return ""
    if algorithm.inner.rates != "fixed":
        return (
            f"{algorithm.name!r} differentiates no inner step, so it cannot learn their rates. Set "
            "inner.rates: fixed, or use maml, anil or meta_sgd."
        )
    return ""


def _turns(algorithm: MetaAlgorithm, model: GenerativeModel) -> str:
    """Players that shall move several times, and all at once."""
    if algorithm.inner.play == "simultaneous" and len(set(model.turns)) < len(model.turns):
        return (
            f"play: simultaneous moves every player once, and those of {model.name!r} take "
            f"{len(model.turns)} turns. Set critic_steps and generator_steps to 1, or play: "
            "alternating."
        )
    return ""


def _judged_as_a_game(algorithm: MetaAlgorithm, model: GenerativeModel) -> str:
    if isinstance(algorithm, MAML) and algorithm.outer != "player_losses" and _alone(model):
        return (
            f"outer: {algorithm.outer} is for games, whose losses say little of what is drawn; "
            f"{model.name!r} has one loss, which is fit to be judged by. Set outer: player_losses."
        )
    return ""


def _between_players(algorithm: MetaAlgorithm, model: GenerativeModel) -> str:
    if not isinstance(algorithm, MAML) or algorithm.cross_player == "stop":
        return ""
    if algorithm.first_order or _alone(model):
        return (
            "cross_player: through follows derivatives from one player's steps into another's, for "
            "which it takes two players and first_order: false. Set cross_player: stop."
        )
    if algorithm.outer == "query_critic":
        return (
            "outer: query_critic judges by a critic that is forgotten, so nothing is followed into "
            "its steps. Set cross_player: stop, or outer: player_losses or mmd."
        )
    return ""


def _alone(model: GenerativeModel) -> bool:
    return len(model.players) == 1


def _settings(part: Any) -> Iterator[tuple[str, Any]]:
    """Every setting of a component and of the components in it."""
    for field in fields(part):
        value = getattr(part, field.name)
        yield field.name, value
        if is_dataclass(value):
            yield from _settings(value)
