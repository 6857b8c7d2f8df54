"""Tasks folded into the batch: models see flat batches, only their layers know about tasks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Hashable
from functools import lru_cache
from typing import Literal

import torch

from metasearch.engine.base import Adapted, InnerLoop, Order
from metasearch.engine.folded import BatchedAdapted
from metasearch.engine.loop import Loop
from metasearch.engine.products import unrounded
from metasearch.engine.shared import Shared, modules_at, twins_at
from metasearch.engine.twins import UnknownLayer
from metasearch.errors import ConfigError
from metasearch.models.base import Learner, Params, example, noise_per_task
from metasearch.registry import component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch

log = logging.getLogger(__name__)


@component
class Batched:
    """All tasks at once: grouped convolutions, low-rank or stacked linear layers.

    A family with a layer it does not know, or that reaches into its layers' weights, runs on the
    loop: the same numbers, slower, with one line of notice.
    """

    name: Literal["batched"] = "batched"
    memory_mb: int = 4096  # for the tasks of a meta-step together; more of them run in parts

    def open(
        self,
        learner: Learner,
        tasks: int,
        inner: InnerLoop,
        *,
        order: Order = 1,
        rates: Params | None = None,
    ) -> Adapted:
        """Start every task at the meta-parameters.

        Raises:
            ConfigError: the family has no part called ``inner.adapts``.
        """
        if not learner.parameters():
            return Shared(learner, tasks, rates or {}, modules_at)
        form = formulation(learner)
        if inner.steps == 0 and form:  # one that rows of a task depend on each other in has none
            return Shared(learner, tasks, rates or {}, twins_at)
        if form is None:
            return Loop().open(learner, tasks, inner, order=order, rates=rates)
        thin = form == "low_rank"
        return BatchedAdapted(learner, tasks, inner, order, rates or {}, low_rank=thin)


Form = Literal["low_rank", "stacked"]


def formulation(learner: Learner) -> Form | None:
    """How a family's layers can be treated; None is the loop. Tried once per family and shape."""
    weight = next(iter(learner.parameters().values()))
    family: Hashable = learner.family  # type: ignore[assignment]  # a frozen dataclass
    with unrounded(weight):
        return _formulation(family, learner.shape, str(weight.device))


@lru_cache(maxsize=64)
def _formulation(family: Hashable, shape: tuple[int, int, int], device: str) -> Form | None:
    """The first that moves a small learner as the loop does.

    Its weights are shaken: behind one that starts at zero nothing would move at all.

    A loss that differentiates a net in its input uses the weights a second time, out of sight of
    a layer's outputs: the low-rank form then misses a part, and stacked weights do not.
    """
    probe = Learner.create(family, shape, Stream(0).at("probe"))  # type: ignore[arg-type]
    make = Stream(0).at("probe", "shaken").torch()
    with torch.no_grad():
        for p in probe.parameters().values():
            p.add_(torch.randn(p.shape, generator=make), alpha=0.1)
    _complain_of_state(probe)
    reason = _shared_weights(probe)
    forms: tuple[Form, ...] = () if reason else ("low_rank", "stacked")
    for form in forms:
        # What a form misses may be as small as its weight, and not every device knows doubles.
        reason = _difference(probe, "cpu", torch.float64, low_rank=form == "low_rank")
        if not reason and device != "cpu":
            reason = _difference(probe, device, torch.float32, low_rank=form == "low_rank")
        if not reason:
            return form
    log.warning("%s runs on the loop engine, task by task: %s", probe.family.name, reason)
    return None


def _complain_of_state(learner: Learner) -> None:
    """Refuse nets that answer the same question differently the second time."""
    family, place = learner.family, Stream(0).at("probe", "twice")
    batch = example(family.domains, learner.shape, 4, place)
    noise = family.draw(batch, place.at("noise"))
    for player in family.players:
        with contextlib.suppress(Exception):  # told where it is run in earnest
            first, again = (family.loss(player, learner.nets, batch, noise) for _ in range(2))
            if not torch.allclose(first, again, equal_nan=True):
                break
    else:
        return
    raise ConfigError(
        f"family {family.name!r}: the loss of {player!r} differs from one call to the next, on the "
        "same images and noise. Take what is random from the noise (no dropout), and keep no state "
        "in nets (no spectral_norm of torch's; `metasearch.models.spectral` has one without)."
    )


def _shared_weights(learner: Learner) -> str:
    for name, net in learner.nets.items():
        every = list(net.named_parameters(remove_duplicate=False))
        if len(every) != len(list(net.parameters())):
            return f"two layers of its {name} share weights"
    return ""


def _difference(learner: Learner, device: str, dtype: torch.dtype, *, low_rank: bool) -> str:
    """Why the twins cannot stand for the nets; empty if one inner step of each moves alike."""
    family, inner = learner.family, InnerLoop(steps=1, lr=0.1, clip=1.0)
    try:
        for net in learner.nets.values():
            net.to(device, dtype)
        place = Stream(0).at("probe", "images")
        drawn = example(family.domains, learner.shape, 4, place, dtype=dtype)
        batch: Batch = {domain: x.to(device) for domain, x in drawn.items()}
        noise = noise_per_task(family, Stream(0).at("probe"), ["a", "b"])(batch)
        twin: Adapted = BatchedAdapted(learner, 2, inner, 1, {}, low_rank=low_rank)
        for adapted in (both := (twin, Loop().open(learner, 2, inner))):
            for player in family.players:
                adapted.step(player, family.loss(player, adapted.nets, batch, noise))
        ours, theirs = (adapted.state(1) for adapted in both)
    except UnknownLayer as layer:
        return f"the layer {layer} is not known to the batched engine"
    except Exception as error:  # whatever a family may do to layers that it does not own
        return f"it uses its layers in a way of its own ({type(error).__name__}: {error})"
    start, share = learner.parameters(), 1e-8 if dtype is torch.float64 else 1e-2
    for name, mine in ours.items():
        moved = (theirs[name] - start[name]).norm()
        if (mine - theirs[name]).norm() > share * moved + 1e-3 * share:
            return f"{name} does not move as it should"
    return ""
