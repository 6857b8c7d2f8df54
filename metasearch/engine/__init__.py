"""How tasks run at once: engines that give each task its own fast weights."""

from metasearch.engine.batched import Batched
from metasearch.engine.loop import Loop
from metasearch.registry import Table

ENGINES = Table("engine", {"batched": Batched, "loop": Loop}, room="engine")

__all__ = ["ENGINES", "Batched", "Loop"]
