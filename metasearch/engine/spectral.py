"""Layers with spectral normalisation: each task's weight by its own largest singular value."""

from __future__ import annotations

from torch import Tensor

from metasearch.engine.convlayers import ColumnConv, GroupedConv
from metasearch.engine.layers import StackedLinear
from metasearch.models.spectral import unit_norm


class SpectralStackedLinear(StackedLinear):
    """The twin of a `SpectralLinear`."""

    def weight(self) -> Tensor:
        """Normalised, [T, out, in]."""
        return unit_norm(self.fast["weight"])


class SpectralGroupedConv(GroupedConv):
    """The twin of a wide `SpectralConv2d`."""

    def weight(self) -> Tensor:
        """Normalised, [T, out, in, k, k]."""
        return unit_norm(self.fast["weight"])


class SpectralColumnConv(ColumnConv):
    """The twin of a `SpectralConv2d` of few channels."""

    def weight(self) -> Tensor:
        """Normalised, [T, out, in, k, k]."""
        return unit_norm(self.fast["weight"])
