"""What a task may keep beside all weights: a few numbers that its decoder hears."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Code(nn.Module):
    """Numbers that are heard with every vector: what `adapts: code` moves, and nothing else.

    Source: Zintgraf et al., "Fast Context Adaptation via Meta-Learning" (CAVIA), 2019, section 3.
    Differs: their start is zero and learned like any other weight, where CAVIA keeps it at zero.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """[n, d] to [n, d + size]."""
        return torch.cat([x, self.value.expand(x.shape[0], -1)], 1)
