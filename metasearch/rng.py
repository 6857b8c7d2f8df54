"""Randomness as data: every draw is a function of (seed, purpose, step).

No generator state exists between draws, so there is none to save: a resumed trial equals an
uninterrupted one, and one draw more in one place changes no other place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Stream:
    """A named place in the tree of all randomness.

    >>> Stream(0).at("noise", 3).numpy().random() == Stream(0).at("noise", 3).numpy().random()
    True
    >>> Stream(0).at("noise", 3).key == Stream(0).at("noise", 4).key
    False
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def at(self, *purpose: str | int) -> Stream:
        """The stream of a purpose below this one, such as ``at("episodes", step)``."""
        return Stream(self.seed, self.path + purpose)

    @property
    def key(self) -> int:
        """63 bits that name this place; equal on every machine and Python version."""
        text = "\x1f".join([str(self.seed), *(f"{type(p).__name__}:{p}" for p in self.path)])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

    def numpy(self) -> np.random.Generator:
        """A fresh NumPy generator that starts at this place."""
        return np.random.Generator(np.random.PCG64(self.key))

    def torch(self, device: str | torch.device = "cpu") -> torch.Generator:
        """A fresh torch generator that starts at this place. CPU and CUDA draw differently."""
        import torch

        return torch.Generator(device).manual_seed(self.key)


@contextmanager
def global_torch_draws_from(stream: Stream) -> Iterator[None]:
    """Let code that can only draw from torch's global generator draw from `stream`.

    For the constructors of `nn.Module`s, which take no generator. The global state is put back.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream.key)
        yield
