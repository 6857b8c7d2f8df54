"""Searches over planted trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metasearch.search.advisors import RandomSearch, Sampler
from metasearch.search.config import SearchConfig
from metasearch.search.run import Plan
from metasearch.search.stopping import Median, Pruner


def plan(
    space: Mapping[str, Any] | None = None,
    *,
    sampler: Sampler | None = None,
    pruner: Pruner | None = None,
    **search: Any,
) -> Plan:
    """A search over `x` in [0, 1], lower is better; further keys go into its trials."""
    config = SearchConfig(
        **{
            "name": "planted",
            "backend": "local",
            "trials": 6,
            "sampler": sampler or RandomSearch(),
            "pruner": pruner or Median(startup_trials=2),
            **search,
        }
    )
    tree = {"x": {"uniform": [0.0, 1.0]}, **(space or {})}
    return Plan(config, tree, "distance", "", "minimize", reports=tree.get("reports", 4))
