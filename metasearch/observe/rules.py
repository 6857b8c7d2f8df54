"""What each rule of a strategy would have found for the same budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metasearch.drawing.charts import Axis, Curve, curves
from metasearch.drawing.scene import Scene, series
from metasearch.observe.base import SearchInfo
from metasearch.observe.standing import Direction, Ended
from metasearch.observe.text import number
from metasearch.observe.trends import Expected, expected_best_of

AXES = ("tasks", "algorithms", "models")
FEW = 2  # trials of a rule below which nothing is said of it
SIZE = (520.0, 300.0)


@dataclass(frozen=True)
class OfRule:
    """The trials in which a rule chose on an axis, whatever else they drew."""

    rule: str
    gradients: float  # mean that a trial spent, so that rules are compared by what they cost
    best: Sequence[Expected]  # of 1, 2, ... of these trials

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self.best)


def by_rule(ended: Sequence[Ended], direction: Direction) -> dict[str, list[OfRule]]:
    """Axis -> its rules by name, where at least two rules were tried often enough to tell.

    Other settings differ between these trials as well: this compares what searches over one rule
    each would have found, not what a rule alone does.
    """
    groups: dict[str, dict[str, list[Ended]]] = {axis: defaultdict(list) for axis in AXES}
    for trial, outcome in ended:
        for axis, rule in rules_of(trial.config).items():
            groups[axis][rule].append((trial, outcome))
    found = {}
    for axis, rules in groups.items():
        told = [_of(rule, some, direction) for rule, some in sorted(rules.items())]
        told = [one for one in told if one.trials >= FEW]
        if len(told) > 1:
            found[axis] = told
    return found


def rules_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Axis -> the rule that chooses there, of a resolved recipe."""
    strategy = config.get("strategy")
    chosen = strategy if isinstance(strategy, Mapping) else {}
    named = {axis: chosen.get(axis) for axis in AXES}
    return {
        axis: str(rule.get("name") if isinstance(rule, Mapping) else rule)
        for axis, rule in named.items()
        if rule
    }


def _of(rule: str, ended: Sequence[Ended], direction: Direction) -> OfRule:
    spent = sum(outcome.step for _, outcome in ended) / len(ended)
    return OfRule(rule, spent, expected_best_of(ended, direction))


def rule_curves(search: SearchInfo, ended: Sequence[Ended]) -> dict[str, Scene]:
    """Axis -> the best score to be expected of each rule, over the gradients that takes."""
    unit = f" in {search.unit}" if search.unit else ""
    found = {}
    for axis, rules in by_rule(ended, search.direction).items():
        lines = [
            Curve(
                one.rule,
                [(e.trials * one.gradients, e.mean, float("nan"), float("nan")) for e in one.best],
                series(i),
                dots=True,
            )
            for i, one in enumerate(rules)
        ]
        marks = curves(
            lines,
            Axis("gradient evaluations", low=0.0),
            Axis(f"{search.score}{unit}"),
            lower_is_better=search.direction == "minimize",
            size=SIZE,
        )
        ends = "; ".join(
            f"{one.rule}, the best of {one.trials}: {number(one.best[-1].mean)}" for one in rules
        )
        found[axis] = Scene(*SIZE, f"Expected best by rule for {axis}", f"{ends}.", marks)
    return found
