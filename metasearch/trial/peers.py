"""What the other models of a trial make of the images that one of them learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metasearch.models.base import EncoderModel, Learner, rows
from metasearch.models.conditions import conditioned
from metasearch.models.taught import PEERS, Taught
from metasearch.tasks.base import Episodes


def taught(
    learner: Learner, peers: Sequence[Learner], kappa: float, episodes: Episodes, done: float
) -> tuple[Learner, Episodes, int]:
    """The learner with its teachers, the episodes with what they say, and what asking cost.

    Peers speak as they are before they adapt to a task: each costs one gradient evaluation an
    image, on which nothing is differentiated. `done` is the spent share of the budget.
    """
    if not kappa or not peers:
        return learner, episodes, 0
    family = learner.family
    assert isinstance(family, EncoderModel), "checked with the file"
    said = [_said(peer, episodes, done) for peer in peers]
    support, query = (torch.stack(x).mean(0) for x in zip(*said, strict=True))
    heard = replace(
        episodes,
        support={**episodes.support, PEERS: support},
        query={**episodes.query, PEERS: query},
    )
    cost = len(peers) * (rows(episodes.support) + rows(episodes.query))
    return replace(learner, family=Taught(family, kappa)), heard, cost


def _said(peer: Learner, episodes: Episodes, done: float) -> tuple[Tensor, Tensor]:
    """Pixel means of the support and of the query."""
    family = peer.family
    assert isinstance(family, EncoderModel), "checked with the file"
    told = conditioned(family, episodes, progress=done)
    with torch.no_grad():
        (support,) = family.reconstruct(peer.nets, told.support).values()
        (query,) = family.reconstruct(peer.nets, told.query).values()
    return support, query
