"""The GPU of a worker between two trials: what is left on it, and whether it can be used at all."""

from __future__ import annotations

import gc
import re
import sys

from metasearch.search.share import out_of_memory

CROWDED = 64 * 2**20  # bytes that trials may leave behind, beside what the first left

_LOST = re.compile(r"CUDA error|cuDNN error|CUBLAS_STATUS_|CUSOLVER_STATUS_|device-side assert")


class Card:
    """What trials of this process left on its GPU. Without one, nothing.

    Tasks and features stay there for the next trial, so what the first trial leaves is taken to be
    those.
    """

    def __init__(self) -> None:
        """Nothing ran yet."""
        self.held = 0  # bytes
        self._first: int | None = None

    def clear(self) -> None:
        """Let go of what nobody uses any more, and see what is left."""
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return
        gc.collect()
        torch.cuda.empty_cache()
        self.held = torch.cuda.memory_allocated()
        self._first = self.held if self._first is None else self._first

    @property
    def crowded(self) -> bool:
        """Whether so much is left that the next trial would lack it."""
        return self.held > (self._first or 0) + CROWDED


def context_lost(fault: BaseException) -> bool:
    """Whether nothing can be computed on the GPU in this process any more.

    After an error of a kernel CUDA answers every call with an error; other libraries may recover,
    or not, and say as little.
    """
    lost = isinstance(fault, RuntimeError) and bool(_LOST.search(str(fault)))
    return lost and not out_of_memory(fault)
