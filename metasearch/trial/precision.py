"""Which device a trial computes on, and in which precision it multiplies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from metasearch.errors import ConfigError

Precision = Literal["float32", "tf32", "bf16"]


@contextmanager
def multiplying(precision: Precision, device: str) -> Iterator[None]:
    """Products and convolutions in this precision; weights and all else stay in float32.

    `float32` is plain float32 also where torch would round by itself: recent GPUs round the inputs
    of convolutions to ten bits, which is `tf32`. `bf16` rounds inputs to seven bits and answers
    too. What was set before is set again at the end. Attention that torch has an operation for
    takes the form that has second derivatives.
    """
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    _allow(flags, [precision == "tf32"] * 2)
    try:
        # Backward passes are taken inside as well, so that their products round alike. Rounded
        # weights are not kept: inner steps move the weights in place, and they would be stale.
        kind, rounds = torch.device(device).type, precision == "bf16"
        with (
            torch.autocast(kind, torch.bfloat16, enabled=rounds, cache_enabled=False),
            sdpa_kernel(SDPBackend.MATH),  # the others cannot be differentiated twice
        ):
            yield
    finally:
        _allow(flags, before)


def _allow(flags: tuple[object, ...], values: list[bool]) -> None:
    for flag, value in zip(flags, values, strict=True):
        flag.allow_tf32 = value  # type: ignore[attr-defined]


def pick_device(wanted: str) -> str:
    """`auto` is the GPU the trial was given, or the CPU.

    Raises:
        ConfigError: a device was asked for by name that torch cannot use.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"trial.device: torch cannot use {wanted!r} here ({error}). Use auto or cpu."
        ) from error
    return wanted
