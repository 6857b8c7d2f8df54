"""How many tasks fit in memory at once: measured on one task, never guessed from a formula."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from metasearch.engine.base import InnerLoop, Order
from metasearch.models.base import Learner, example, rows
from metasearch.rng import Stream
from metasearch.tasks.base import Batch

# An inner step that is differentiated through keeps its own backward pass too: up to three more
# passes' worth of what the forward pass keeps, for kernels of derivatives keep their arguments.
_SECOND_ORDER = 4


def tasks_at_once(
    learner: Learner, inner: InnerLoop, order: Order, support: Batch, tasks: int, bytes_: int
) -> int:
    """How many of `tasks` keep a meta-step below `bytes_`, at least one.

    Counts what a backward pass keeps of a loss on one task's support, and the fast weights with
    their gradients and moments; images and the meta-parameters themselves are small beside it.
    """
    per_task, given = rows(support) // tasks, support.get("given")
    family: Hashable = learner.family  # type: ignore[assignment]  # a frozen dataclass
    kept = _kept(family, learner.shape, per_task, given.shape[1] if given is not None else 0)
    weights = sum(p.numel() * p.element_size() for p in learner.parameters().values())
    if order == 2:
        need = (inner.steps + 1) * (kept * _SECOND_ORDER + 3 * weights)
    else:
        need = kept + weights * (4 if inner.optimizer == "adam" or inner.momentum else 2)
    return max(1, min(tasks, bytes_ // max(need, 1)))


@lru_cache(maxsize=64)
def _kept(family: Hashable, shape: tuple[int, int, int], images: int, given: int) -> int:
    """Bytes that the backward pass of one loss on so many images keeps, weights left out.

    Each image is given `given` others, if the family asks for any.
    """
    learner = Learner.create(family, shape, Stream(0).at("probe"))  # type: ignore[arg-type]
    batch = example(learner.family.domains, shape, images, Stream(0).at("probe"), given=given)
    if given:
        batch = {**batch, "set": torch.zeros(images)}  # those of one task share what they are given
    noise = learner.family.draw(batch, Stream(0).at("probe"))
    own = {p.untyped_storage().data_ptr() for p in learner.parameters().values()}
    most = 0
    for player in learner.family.players:
        seen: dict[int, int] = {}

        def note(x: Tensor, seen: dict[int, int] = seen) -> Any:
            storage = x.untyped_storage()
            if storage.data_ptr() not in own:
                seen[storage.data_ptr()] = storage.nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            loss = learner.family.loss(player, learner.nets, batch, noise)
        most = max(most, sum(seen.values()))
        del loss
    return most
