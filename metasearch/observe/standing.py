"""Who leads: the trials that ended, ranked and counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

from metasearch.observe.base import Outcome, State, TrialInfo

Ended: TypeAlias = tuple[TrialInfo, Outcome]
Direction: TypeAlias = Literal["minimize", "maximize"]


def ranked(ended: Sequence[Ended], direction: Direction) -> list[Ended]:
    """Complete trials with a finite score, best first; earlier trials win ties.

    Pruned ones are left out: theirs is the score of a shorter training.
    """
    sign = 1.0 if direction == "minimize" else -1.0
    keyed = [
        ((sign * outcome.score, trial.number), (trial, outcome))
        for trial, outcome in ended
        if outcome.state == "complete"
        and outcome.score is not None
        and math.isfinite(outcome.score)
    ]
    return [pair for _, pair in sorted(keyed, key=lambda entry: entry[0])]


def count(ended: Sequence[Ended], state: State) -> int:
    """How many ended so."""
    return sum(outcome.state == state for _, outcome in ended)


def causes(ended: Sequence[Ended], state: State) -> str:
    """Why trials ended so, most frequent first; empty if none did.

    >>> trial = TrialInfo(0, "0000-vae-maml", {}, {})
    >>> ended = [(trial, Outcome("failed", reason)) for reason in ("user", "timeout", "user")]
    >>> causes(ended, "failed")
    '2 user, 1 timeout'
    """
    reasons = Counter(outcome.reason for _, outcome in ended if outcome.state == state)
    common = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {reason}" for reason, n in common)
