"""The verb `compare`: two runs, or two trials, on the same unseen tasks. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from metasearch.cli import facts
from metasearch.cli.output import Json, note, pairs, result, result_json
from metasearch.cli.places import find_run, names_of_runs

if TYPE_CHECKING:
    from metasearch.search.compare import Comparison, Side

Which = typer.Argument(
    metavar="RUN[:TRIAL]", help="A run, by its best trial; or RUN:3.", autocompletion=names_of_runs
)


def compare(
    a: Annotated[str, Which],
    b: Annotated[str, Which],
    as_json: Json = False,
) -> None:
    """Compare the best of two runs task by task, and say whether the difference is settled.

    Both must have been judged alike: on the same tasks, by the same score, with the same episodes.

    Example: metasearch compare vae-search gan-search

    Example: metasearch compare quickstart:3 quickstart:7
    """
    from metasearch.search.compare import compare as paired

    told = paired(_side(a), _side(b))
    if as_json:
        result_json(data(told))
        return
    result(text(told))
    for remark in told.remarks:
        note(remark)


def _side(which: str) -> Side:
    from metasearch.search.compare import Side
    from metasearch.search.ledger import open_run

    run, colon, trial = which.rpartition(":")
    if colon and trial.isdecimal():
        return Side.of(open_run(find_run(run)), int(trial))
    return Side.of(open_run(find_run(which)))


def data(told: Comparison) -> dict[str, Any]:
    """All that `compare` says, as plain data with keys that stay."""
    info, gap = told.a.run.info, told.difference
    sides = {
        key: {"run": side.run.info.name, **facts.of_trial(side.record)}
        for key, side in (("a", told.a), ("b", told.b))
    }
    return {
        "score": {"name": info.score, "unit": info.unit, "direction": info.direction},
        **sides,
        "tasks": len(gap.values),
        "difference": {"mean": gap.mean, "low": gap.low, "high": gap.high},
        "settled": told.settled,
        "better": told.better,
        "remarks": list(told.remarks),
    }


def text(told: Comparison) -> str:
    """The two scores, their difference, and the verdict."""
    from metasearch.observe.text import interval

    info, gap = told.a.run.info, told.difference
    better = "lower" if info.direction == "minimize" else "higher"
    rows: list[tuple[str, object]] = []
    for side in (told.a, told.b):
        outcome = side.record.outcome
        assert outcome is not None, "only trials that ended are compared"
        rows.append((side.label, interval(outcome.score, outcome.low, outcome.high)))
    rows.append(("first minus second", interval(gap.mean, gap.low, gap.high)))
    verdict = "not settled: the interval of the difference holds 0"
    if told.better:
        winner = told.a if told.better == "a" else told.b
        verdict = f"settled: {winner.label} is better"
    head = f"{info.score} in {info.unit}, {better} is better; {len(gap.values)} tasks, pair by pair"
    return f"{head}\n{pairs(rows)}\n{verdict}"
