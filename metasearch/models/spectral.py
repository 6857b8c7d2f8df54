"""Spectral normalisation: layers whose largest singular value is one, without any memory.

The usual implementation carries singular vectors from step to step in buffers. Fast weights are
functions of the meta-parameters, so nothing may be carried: the vectors are found anew from a fixed
start, for one matrix or for those of many tasks at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

ROUNDS = 6  # of power iteration; the value is then within a tenth, from below


class SpectralLinear(nn.Linear):
    """A linear layer that uses its weight divided by its largest singular value."""

    def forward(self, x: Tensor) -> Tensor:
        """[n, ..., in] to [n, ..., out]."""
        return F.linear(x, unit_norm(self.weight.unsqueeze(0))[0], self.bias)


class SpectralConv2d(nn.Conv2d):
    """A convolution that uses its weight divided by its largest singular value, as a matrix."""

    def forward(self, x: Tensor) -> Tensor:
        """[n, in, h, w] to [n, out, h', w']."""
        return self._conv_forward(x, unit_norm(self.weight.unsqueeze(0))[0], self.bias)


def unit_norm(weights: Tensor) -> Tensor:
    """Weights [T, out, ...] of T tasks, each divided by its largest singular value.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018,
    eq. 8 and algorithm 1: a convolution counts as the matrix [out, in * k * k], and the singular
    vectors are constants of the derivative. Differs: they are not carried from step to step.
    """
    matrices = weights.flatten(2)
    value = largest_singular_value(matrices).clamp_min(1e-12)
    return weights / value.reshape(-1, *[1] * (weights.dim() - 1))


def largest_singular_value(matrices: Tensor) -> Tensor:
    """Of each matrix [T, out, in], [T]: u' W v, with u and v constants of the derivative."""
    with torch.no_grad():
        index = torch.arange(matrices.shape[2], dtype=matrices.dtype, device=matrices.device)
        v = F.normalize(torch.cos(index), dim=0).expand(matrices.shape[0], -1).unsqueeze(2)
        for _ in range(ROUNDS):
            u = F.normalize(matrices @ v, dim=1)
            v = F.normalize(matrices.mT @ u, dim=1)
    return (u * (matrices @ v)).sum((1, 2))


def with_unit_norm(net: nn.Module) -> nn.Module:
    """The net with spectral normalisation in each linear layer and convolution, in place."""
    for name, child in net.named_children():
        setattr(net, name, with_unit_norm(child))
    if type(net) is nn.Linear:
        made: nn.Module = SpectralLinear(net.in_features, net.out_features, net.bias is not None)
    elif type(net) is nn.Conv2d:
        made = SpectralConv2d(
            net.in_channels,
            net.out_channels,
            net.kernel_size,  # type: ignore[arg-type]  # its own tuples, which torch types loosely
            net.stride,  # type: ignore[arg-type]
            net.padding,  # type: ignore[arg-type]
            bias=net.bias is not None,
        )
    else:
        return net
    made.load_state_dict(net.state_dict())
    return made
