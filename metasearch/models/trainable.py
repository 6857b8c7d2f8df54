"""Which parameters cannot be meta-trained."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from metasearch.errors import ConfigError


def complain_of(parameters: Mapping[str, Tensor], family: str) -> None:
    """Refuse parameters by full name, "<net>.<path>", that an engine would not treat as they are.

    Raises:
        ConfigError: one is frozen, has no shape yet, or belongs to two nets.
    """
    owners: dict[int, str] = {}
    for name, p in parameters.items():
        net = name.partition(".")[0]
        if isinstance(p, UninitializedParameter):
            why = "gets its shape at the first call; give the sizes of lazy layers"
        elif not p.requires_grad:
            why = "is frozen, and nets are trained whole; register what is constant as a buffer"
        elif owners.setdefault(id(p), net) != net:
            why = f"is a parameter of {owners[id(p)]} as well; give each net its own"
        else:
            continue
        raise ConfigError(f"family {family!r}: {name} {why}.")
