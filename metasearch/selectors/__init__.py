"""Who gets a turn: one file per rule."""

from metasearch.registry import Table
from metasearch.selectors.random import Random

SELECTORS = Table("selector", {"random": Random}, room="selectors")
