"""Records as they have to be, from JSON that anybody may have changed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from metasearch.observe.base import Draw, Outcome, TrialInfo
from metasearch.registry import revive
from metasearch.trial.report import Cost, Report

BEHIND = "race:behind"  # the note of a trial with a report that was broken off for a time
_FLOATS = ("score", "low", "high", "before")


def revive_trial(number: int, data: Mapping[str, Any]) -> TrialInfo:
    """The trial in a record of its being asked.

    Raises:
        KeyError, ConfigError: something is missing or of another kind.
    """
    told = {"number": number, **{key: data[key] for key in ("name", "params", "config")}}
    info: TrialInfo = revive(TrialInfo, told, "trial")
    for name, value in info.params.items():
        if value is not None and not isinstance(value, str | int | float):
            raise ValueError(f"params.{name} is {_brief(value)}, no number and no word")
    return info


def revive_outcome(data: Mapping[str, Any]) -> Outcome:
    """The outcome in a record of a trial's end.

    Raises:
        ConfigError: something is missing or of another kind.
    """
    outcome: Outcome = revive(Outcome, data, "outcome")
    return outcome


def revive_end(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of a trial's end says, by the names of `ledger.Record`.

    Raises:
        KeyError, TypeError, ValueError, ConfigError: something is missing or of another kind.
    """
    return {
        "outcome": revive_outcome(data["outcome"]),
        "done_at": number_or_nan(data["done_at"]),
        "curve": tuple((step, number_or_nan(score)) for step, score in data["curve"]),
        "notes": checked_notes(data["notes"]),
        "last": revive_report(data["last"]) if data.get("last") else None,
    }


def checked_notes(notes: Any) -> Mapping[str, Any]:
    """What advisors remember of a trial, if it can be what they wrote.

    Raises:
        TypeError, ValueError: it cannot.
    """
    if not isinstance(notes, Mapping):
        raise TypeError(f"notes: {_brief(notes)} is no mapping")
    if BEHIND in notes:
        made, score = notes[BEHIND]
        if type(made) is not int or made < 1 or not math.isfinite(number_or_nan(score)):
            raise ValueError(f"notes: {BEHIND} is {_brief(notes[BEHIND])}")
    return notes


def revive_report(data: Mapping[str, Any]) -> Report:
    """The report in a line of reports.jsonl, where null stands for a number not finite.

    Raises:
        KeyError, TypeError, ValueError, ConfigError: something is missing or of another kind.
    """
    floats = {name: number_or_nan(data[name]) for name in _FLOATS}
    tables = {
        name: {key: number_or_nan(value) for key, value in data[name].items()}
        for name in ("per_task", "scalars")
    }
    cost = revive(Cost, data["cost"], "cost")
    made = Report(**{**data, **floats, **tables, "cost": cost})
    kinds = {"step": int, "final": bool, "lost": str, "behind": str}
    if any(type(getattr(made, name)) is not kind for name, kind in kinds.items()):
        raise ValueError(f"one of {', '.join(kinds)} is of another kind")
    if made.behind and (made.final or made.lost or not math.isfinite(made.score)):
        raise ValueError("behind is said of a report that is the last, was lost, or has no score")
    if not math.isfinite(made.cost.seconds):
        raise ValueError(f"cost.seconds is {made.cost.seconds}")
    return made


def number_or_nan(value: Any) -> float:
    """What JSON holds for a number: null is NaN.

    Raises:
        TypeError: it is no number.
        OverflowError: it is one that no float can hold.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{_brief(value)} is no number")
    return float(value)


def check_params(info: TrialInfo, draws: Sequence[Draw]) -> None:
    """See that what was drawn is of the kind of its draw.

    Raises:
        ValueError: a draw of numbers gave something else.
    """
    for draw in draws:
        value = info.params.get(draw.path, 0)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if draw.kind != "choice" and not number:
            raise ValueError(f"params.{draw.path} is {_brief(value)}, and was drawn as a number")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
