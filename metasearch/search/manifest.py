"""What a run folder says of its search, in manifest.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metasearch.observe.base import Bound, Draw, SearchInfo, Watched


def describe(info: SearchInfo) -> dict[str, Any]:
    """A search as plain data for manifest.json, without the path of its folder."""
    data = asdict(info)
    del data["folder"]
    return data


def revive_info(data: Mapping[str, Any], folder: Path) -> SearchInfo:
    """The search that `describe` described."""
    draws = [
        Draw(
            **{
                **draw,
                "options": tuple(draw["options"]),
                "only_if": tuple((path, label) for path, label in draw["only_if"]),
            }
        )
        for draw in data["draws"]
    ]
    watched = tuple(Watched(**entry) for entry in data.get("watched", ()))
    made = {
        "folder": folder,
        "draws": draws,
        "watched": watched,
        "objectives": tuple(data.get("objectives", ())),
        "bounds": tuple(Bound(**entry) for entry in data.get("bounds", ())),
    }
    return SearchInfo(**{**data, **made})
