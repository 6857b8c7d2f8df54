"""Search for the recipe that meta-learns a generative model of a new class from few images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metasearch.bundle.load import Bundle, load_bundle

__version__ = "0.1.0"
__all__ = ["Bundle", "__version__", "load_bundle"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in {"Bundle", "load_bundle"}:
        from metasearch.bundle import load

        return getattr(load, name)
    raise AttributeError(f"module 'metasearch' has no attribute {name!r}")
