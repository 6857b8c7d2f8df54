"""Who leads: the trials that ended, ranked and counted."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from metasearch.observe.base import Outcome, State, TrialInfo

Ended: TypeAlias = tuple[TrialInfo, Outcome]
_Key: TypeAlias = tuple[bool, float, int]
Direction: TypeAlias = Literal["minimize", "maximize"]


class Standing:
    """Trials as they end. One more costs the same, be it the tenth or the ten-thousandth.

    `leaders` are the complete ones with a finite score, best first, those that break a bound behind
    all others; earlier trials win ties. Pruned ones are left out: theirs is the score of a shorter
    training.
    """

    def __init__(self, direction: Direction, ended: Iterable[Ended] = ()) -> None:
        self.leaders: list[Ended] = []
        self._direction = direction
        self._keys: list[_Key] = []
        self._reasons: dict[State, Counter[str]] = {}
        self._size = 0
        for trial, outcome in ended:
            self.add(trial, outcome)

    def __len__(self) -> int:
        return self._size

    def add(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Count a trial that ended, and rank it."""
        self._size += 1
        self._reasons.setdefault(outcome.state, Counter())[outcome.reason] += 1
        key = _rank(trial, outcome, self._direction)
        if key is not None:
            place = bisect.bisect(self._keys, key)
            self._keys.insert(place, key)
            self.leaders.insert(place, (trial, outcome))

    def count(self, state: State) -> int:
        """How many ended so."""
        return self._reasons.get(state, Counter()).total()

    def causes(self, state: State) -> str:
        """Why trials ended so, most frequent first; empty if none did.

        >>> trial = TrialInfo(0, "0000-vae-maml", {}, {})
        >>> ended = [(trial, Outcome("failed", reason)) for reason in ("user", "timeout", "user")]
        >>> Standing("minimize", ended).causes("failed")
        '2 user, 1 timeout'
        """
        reasons = self._reasons.get(state, Counter())
        common = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{n} {reason}" for reason, n in common)


def ranked(ended: Sequence[Ended], direction: Direction) -> list[Ended]:
    """The leaders among trials that ended; see `Standing`."""
    return Standing(direction, ended).leaders


def _rank(trial: TrialInfo, outcome: Outcome, direction: Direction) -> _Key | None:
    """What a trial is sorted by, least first; None if it is not ranked."""
    if outcome.state != "complete" or outcome.score is None or not math.isfinite(outcome.score):
        return None
    cost = outcome.score if direction == "minimize" else -outcome.score
    return not outcome.kept, cost, trial.number
