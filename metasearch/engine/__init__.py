"""How tasks run at once: engines that give each task its own fast weights."""

from metasearch.engine.loop import Loop
from metasearch.registry import Table

ENGINES = Table("engine", {"loop": Loop}, room="engine")

__all__ = ["ENGINES", "Loop"]
