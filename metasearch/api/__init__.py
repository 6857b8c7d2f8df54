"""The same from Python, for notebooks: load a search, run it, look at what it found.

All of it is reached through the package itself: `metasearch.load`, `metasearch.open`.
"""

from metasearch.api.plugins import register
from metasearch.api.results import Plots, Result, Trial, open
from metasearch.api.searches import Plan, Search, load

__all__ = ["Plan", "Plots", "Result", "Search", "Trial", "load", "open", "register"]
