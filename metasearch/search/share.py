"""How much of a GPU a trial needs: recipes of the search run on one, and what they took at most.

An estimate: what takes more is told as out of memory, and tried once more on a larger share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from metasearch.errors import EnvironmentFault

HEADROOM = 1.15  # of what was measured, for recipes that were not
RECIPES = 4  # that are measured
MOST = 16  # trials on one card: beyond that they wait for each other
PROBE = "metasearch.search.share:probe"


@dataclass(frozen=True)
class Card:
    """A GPU, and the most that recipes took of its memory at once."""

    name: str
    total: int  # bytes
    peak: int  # bytes, with what the process itself takes; `total` or more if one did not fit

    @property
    def share(self) -> float:
        """One k-th, for as many trials as fit on it side by side with room to spare."""
        fitting = int(self.total / (HEADROOM * max(self.peak, 1)))
        return math.floor(1e4 / min(max(fitting, 1), MOST)) / 1e4  # Ray counts in such steps


@dataclass(frozen=True)
class Share:
    """What `gpus_per_trial: auto` was found to stand for."""

    gpus: float
    cards: tuple[Card, ...] = ()  # that were measured, one of each machine

    @staticmethod
    def of(cards: Iterable[Card]) -> Share:
        """The share that is enough on each of the cards; none without a card.

        Raises:
            EnvironmentFault: a recipe did not fit into a whole card.
        """
        found = tuple(cards)
        for card in found:
            if card.peak > card.total:
                raise EnvironmentFault(
                    f"a recipe of this search does not fit into {card.name} with "
                    f"{card.total / 2**30:.1f} GiB. Lower trial.engine.memory_mb, or use cards "
                    "with more memory."
                )
        return Share(max((card.share for card in found), default=0.0), found)

    def to_data(self) -> dict[str, Any]:
        """As it stands in manifest.json."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.cards:
            return "gpus_per_trial: auto is 0, for there is no GPU"
        seen = {
            f"{c.peak / 2**30:.1f} of {c.total / 2**30:.1f} GiB on {c.name}" for c in self.cards
        }
        return f"gpus_per_trial: auto is {self.gpus:g} ({'; '.join(sorted(seen))})"


def probe(recipes: Sequence[Mapping[str, Any]], cpus: int) -> Card | None:
    """Run each of the resolved recipes for a moment on the GPU of this process; None without one.

    A recipe that does not fit its data is passed over: a trial will say so. Whatever else goes
    wrong is raised, for it tells of the card or of the code.
    """
    import torch

    from metasearch.search.process import limit_threads

    limit_threads(cpus)
    if not torch.cuda.is_available():
        return None
    device = torch.device("cuda", torch.cuda.current_device())
    total = torch.cuda.get_device_properties(device).total_memory
    fits = all(_run(recipe) for recipe in recipes)
    free, _ = torch.cuda.mem_get_info(device)
    beside = total - free - torch.cuda.memory_reserved(device)  # the process itself, and others
    peak = torch.cuda.max_memory_reserved(device) + beside
    return Card(torch.cuda.get_device_name(device), total, peak if fits else total + 1)


def _run(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe fits into memory."""
    from metasearch.errors import MetasearchError
    from metasearch.search.rehearsal import measure
    from metasearch.trial.config import from_data
    from metasearch.trial.loop import bench_for

    try:
        config = from_data(recipe)
        measure(config, bench_for(config))
    except (MetasearchError, ValueError):
        return True
    except Exception as fault:
        if out_of_memory(fault):
            return False
        raise
    return True


def out_of_memory(fault: BaseException) -> bool:
    """Whether memory, of a card or of the machine, was not enough; torch has no one kind for it."""
    text = str(fault).lower()
    said = "out of memory" in text or "can't allocate" in text or "_alloc_failed" in text
    named = isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError"
    return named or (isinstance(fault, RuntimeError) and said)
