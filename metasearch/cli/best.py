"""The verb `best`: who leads, by how much, and whether that is settled. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from metasearch.cli import facts
from metasearch.cli.output import Json, note, pairs, result, result_json, table
from metasearch.cli.places import RunName, called, command, find_run

ROOM = 60  # characters at the end of a line for what was drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metasearch.observe.base import SearchInfo, Watched
    from metasearch.observe.standing import Ended
    from metasearch.search.leaders import Leaders, Place
    from metasearch.search.ledger import Record, Run


def best(
    run: RunName,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    as_json: Json = False,
) -> None:
    """Rank the trials that finished, with their 95 % intervals, and say what is not settled.

    Example: metasearch best quickstart -n 3
    """
    from metasearch.search.leaders import Leaders
    from metasearch.search.ledger import open_run

    found = open_run(find_run(run))
    leaders = Leaders.of(found)
    if as_json:
        ended = [(t.info, t.outcome) for t in found.trials if t.outcome]
        more = {
            "repeated": [vars(one) for one in leaders.repeated],
            **_of_rules(found.info, ended),
            "front": front_rows(found),
        }
        result_json({**told(found.info, leaders, n), **more})
        return
    if not leaders.records:
        note(f"no trial of {found.info.name} has finished. See: {command('status', run)}")
        return
    result(text(found, leaders, n))
    if found.info.objectives:
        result(front_text(found))


def told(info: SearchInfo, leaders: Leaders, n: int) -> dict[str, Any]:
    """All that `best` says, as plain data with keys that stay."""
    return {
        "score": {"name": info.score, "unit": info.unit, "direction": info.direction},
        "bounds": [str(bound) for bound in info.bounds],
        "best": [_row(place) for place in leaders.places[:n]],
        "selection": {
            "finished": len(leaders.records),
            "may_be_best": [place.record.number for place in leaders.open],
            "noise": leaders.noise,
            "spread": leaders.spread,
            "optimism": leaders.optimism,
            "all_alike": leaders.all_alike,
        },
        "tracks": {
            score.name: [
                {"trial": record.number, "name": record.info.name, "value": value}
                for record, value in leaders.by_watched(score)[:n]
            ]
            for score in leaders.tracks()
        },
    }


def _of_rules(info: SearchInfo, ended: Sequence[Ended]) -> dict[str, Any]:
    """What each rule of a strategy would have found."""
    from metasearch.observe.rules import by_rule

    return {
        "by_rule": {
            axis: [
                {
                    "rule": one.rule,
                    "trials": one.trials,
                    "gradients_per_trial": one.gradients,
                    "expected_best": [expected.mean for expected in one.best],
                }
                for one in rules
            ]
            for axis, rules in by_rule(ended, info.direction).items()
        },
    }


def _row(place: Place) -> dict[str, Any]:
    names = ("shrunk", "standard", "behind", "settled")
    more = {name: getattr(place, name) for name in names}
    watched = dict(place.record.last.scalars) if place.record.last else {}
    scores = {k.removeprefix("score/"): v for k, v in watched.items() if k.startswith("score/")}
    kept = facts.kept(place.record)
    return {**facts.of_trial(place.record), **more, "kept": kept, "watched": scores}


def text(run: Run, leaders: Leaders, n: int) -> str:
    """The leaders as tables, one per track, and what to make of them."""
    info = run.info
    tracks = leaders.tracks()
    title = f"{info.score} in {info.unit}, {_better(info.direction)} is better"
    parts = [f"samples of every family: {title}"] if tracks else []
    parts.append(_samples(info, leaders.places[:n]))
    for score in tracks:
        title = f"{score.name} in {score.unit}, {_better(score.direction)} is better"
        parts.append(f"\nlikelihood of the families that have one: {title}")
        parts.append(_likelihoods(score, leaders.by_watched(score)[:n]))
    parts += _repeated(info, leaders)
    parts += _settings(called(run.folder), leaders.places[:n])
    remarks = list(_remarks(info, leaders))
    return "\n".join([*parts, *(["", *remarks] if remarks else [])])


def _repeated(info: SearchInfo, leaders: Leaders) -> list[str]:
    """The recipes that were trained from several seeds, as a table."""
    from metasearch.observe.text import number

    if not leaders.repeated:
        return []
    assert leaders.luck is not None, "it is known where recipes were repeated"
    rows = [
        [
            ", ".join(f"{n:04d}" for n in one.trials),
            number(one.mean),
            number(one.deviation),
            number(one.shrunk, like=one.mean),
        ]
        for one in leaders.repeated
    ]
    title = (
        f"\none recipe from several seeds: {info.score} in {info.unit}; the seed alone moves a "
        f"score by {number(leaders.luck)} (one standard deviation)"
    )
    return [title, table(["trials", "mean", "deviation", "shrunk"], rows)]


def front_rows(run: Run) -> list[dict[str, Any]]:
    """The Pareto front as plain data; empty with one objective."""
    from metasearch.search.front import front

    return [
        {
            "trial": p.record.number,
            "name": p.record.info.name,
            "values": dict(p.values),
            "kept": facts.kept(p.record),
        }
        for p in front(run)
    ]


def front_text(run: Run) -> str:
    """The Pareto front as a table."""
    from metasearch.observe.text import number
    from metasearch.search.front import front, under

    peaks, names = front(run), (run.info.score, *run.info.objectives)
    title = f"\nfront: no other trial is better in all of {', '.join(names)}{under(run)}"
    rows = [[p.record.info.name, *(number(p.values[n]) for n in names)] for p in peaks]
    return f"{title}\n{_with_drawn(['trial', *names], rows, [p.record for p in peaks])}"


def _with_drawn(
    head: Sequence[str], rows: Sequence[Sequence[object]], records: Sequence[Record]
) -> str:
    """A table, with what was drawn at the end of each line if all of that is short."""
    from metasearch.observe.text import drawn

    said = [drawn(record.info.params) for record in records]
    if not _short(said):
        return table(head, rows)
    return table([*head, "drawn"], [[*row, end] for row, end in zip(rows, said, strict=True)])


def _short(said: Sequence[str]) -> bool:
    return max(map(len, said), default=0) <= ROOM


def _settings(run: str, places: Sequence[Place]) -> list[str]:
    """What the first drew, one below the other, where it is too much for a line."""
    from metasearch.observe.text import drawn, setting

    if not places or _short([drawn(place.record.info.params) for place in places]):
        return []
    first = places[0].record
    told = pairs([(path, setting(value)) for path, value in first.info.params.items()])
    others = f"; of others: {command('show', run, 'TRIAL')}" if len(places) > 1 else ""
    return [f"\ndrawn by {first.info.name}{others}", told]


def _samples(info: SearchInfo, places: Sequence[Place]) -> str:
    from metasearch.observe.text import interval, number

    standard = any(place.standard is not None for place in places)
    shrunk = any(place.shrunk is not None for place in places)
    head = ["", "trial", f"{info.score} in {info.unit}"]
    head += ["0 to 1"] * standard + ["shrunk"] * shrunk + ["behind", ""]
    rows = []
    for i, place in enumerate(places, 1):
        outcome = place.record.outcome
        assert outcome is not None
        like = outcome.score
        row: list[object] = [i, place.record.info.name]
        row.append(interval(outcome.score, outcome.low, outcome.high))
        row += [f"{place.standard:.2f}" if place.standard is not None else "-"] * standard
        row += [number(place.shrunk, like=like)] * shrunk
        row.append(number(place.behind, like=like) if place.behind is not None else "")
        row.append("not settled" if place.settled is False else "")
        rows.append(row)
    return _with_drawn(head, rows, [place.record for place in places])


def _likelihoods(score: Watched, found: Sequence[tuple[Record, float]]) -> str:
    from metasearch.observe.text import number

    rows = [[i, record.info.name, number(value)] for i, (record, value) in enumerate(found, 1)]
    return _with_drawn(["", "trial", score.name], rows, [record for record, _ in found])


def _remarks(info: SearchInfo, leaders: Leaders) -> list[str]:
    from metasearch.observe.text import number

    finished, lines = len(leaders.records), []
    if info.bounds and not any(facts.kept(record) for record in leaders.records):
        bounds = " and ".join(map(str, info.bounds))
        lines.append(f"None of the {finished} finished trials keeps {bounds}; all are ranked.")
    if any(place.standard is not None for place in leaders.places):
        lines.append("0 to 1: from real images of the same tasks to pixels drawn independently.")
    if leaders.noise is None:
        return lines
    may = len(leaders.open)
    if leaders.all_alike:
        lines.append(
            f"Nothing is settled: the {finished} finished trials differ by no more than chance "
            f"makes equal ones differ (standard error {number(leaders.noise)})."
        )
    elif may > 1:
        lines.append(
            f"{may} of {finished} finished trials may be the best; `behind` is the mean over the "
            "same tasks."
        )
    else:
        lines.append(f"The first is settled against the other {finished - 1}.")
    if leaders.optimism:
        luck = (
            f"{number(leaders.optimism)} (in {info.unit})"
            if info.unit
            else number(leaders.optimism)
        )
        lines.append(
            f"The first of so many looks about {luck} better than it is; `shrunk` takes that off, "
            "and export ranks the best anew on other tasks."
        )
    return lines


def _better(direction: str) -> str:
    return "lower" if direction == "minimize" else "higher"
