"""Search for the recipe that meta-learns a generative model of a new class from few images."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metasearch.api import Plan, Result, Search, Trial, load, open, register
    from metasearch.bundle.load import Bundle, load_bundle
    from metasearch.registry import component

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "Plan",
    "Result",
    "Search",
    "Trial",
    "__version__",
    "component",
    "load",
    "load_bundle",
    "open",
    "register",
]

_WHERE = {
    "Bundle": "bundle.load",
    "load_bundle": "bundle.load",
    "component": "registry",
    "register": "api.plugins",
    "Result": "api.results",
    "Trial": "api.results",
    "open": "api.results",
    "Plan": "api.searches",
    "Search": "api.searches",
    "load": "api.searches",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: torch alone takes seconds."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"metasearch.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'metasearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
