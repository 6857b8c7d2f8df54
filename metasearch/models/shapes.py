"""Nets made of shapes alone: whether they can be built, and what is in them, in no time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from metasearch.models.base import GenerativeModel, Learner
from metasearch.tasks.base import Shape


def of_shapes(family: GenerativeModel, shape: Shape) -> Learner:
    """A learner whose weights have no memory; the same one for equal families, not to be changed.

    Raises:
        ConfigError: the shape does not suit the nets.
    """
    try:
        return _built(family, shape)  # type: ignore[arg-type]  # components have a hash
    except TypeError:  # but for somebody's family with a setting that has none
        return _built.__wrapped__(family, shape)


@lru_cache(maxsize=256)  # the branches of a search file hold few models, each in many recipes
def _built(family: GenerativeModel, shape: Shape) -> Learner:
    with torch.device("meta"), _Unfilled():
        return Learner(family, shape, dict(family.build(shape)))


class _Unfilled(TorchFunctionMode):
    """Weights that have no memory need no values; drawing them takes longer than all the rest."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
