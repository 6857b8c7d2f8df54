"""How each task's weights moved, in a few numbers: enough to compare directions of tasks."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from metasearch.rng import Stream


@lru_cache(maxsize=512)
def signs(name: str, side: str, rows: int, dims: int, device: str) -> Tensor:
    """Random signs [rows, dims], the same for a parameter wherever and whenever they are made."""
    make = Stream(0).at("sketch", name, side).torch()
    return (2.0 * torch.randint(2, (rows, dims), generator=make) - 1).to(device)


def of_stacked(name: str, moved: Tensor, dims: int) -> Tensor:
    """Sketch a stack of tensors [T, ...] to [T, dims]: ``sum_oi M_oi a_o b_i`` for each of `dims`.

    Inner products of sketches are those of the tensors in expectation, up to a factor `dims`, as in
    the lemma of Johnson & Lindenstrauss. Products of signs, one of the first axis and one of the
    others, need no projection of the tensor's own size (Kronecker-structured projections: Jin,
    Kolda & Ward, 2021).
    """
    flat = moved.reshape(moved.shape[0], moved.shape[1] if moved.dim() > 1 else 1, -1).float()
    a = signs(name, "out", flat.shape[1], dims, str(flat.device))
    b = signs(name, "in", flat.shape[2], dims, str(flat.device))
    return torch.einsum("tod,od->td", flat @ b, a)


def of_product(name: str, outs: Tensor, inputs: Tensor, dims: int) -> Tensor:
    """The same of ``outs^T inputs`` for outs [T, r, o] and inputs [T, r, i], not multiplied out."""
    a = signs(name, "out", outs.shape[2], dims, str(outs.device))
    b = signs(name, "in", inputs.shape[2], dims, str(outs.device))
    return ((outs.float() @ a) * (inputs.float() @ b)).sum(1)
