"""What a reader must know in five seconds: what won, how sure that is, what it beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metasearch.errors import DataError
from metasearch.interval import paired_difference
from metasearch.observe.sheets import read_sheet
from metasearch.observe.text import briefly, interval, number
from metasearch.report.pictures import Picture, sheet_of, strip
from metasearch.report.story import Story, score_of
from metasearch.search.leaders import standard_of, standardised
from metasearch.search.ledger import Record
from metasearch.trial.report import FLOOR, REAL, SampleGrid

Standing = Literal["good", "open", "bad"]
BASELINES = ("joint", "scratch")  # what has no meta-learning
ROWS = 4  # tasks whose pictures stand at the top


@dataclass(frozen=True)
class Verdict:
    """One answer, and whether it is settled."""

    standing: Standing
    mark: str  # "settled" | "not settled" | ...
    text: str


@dataclass(frozen=True)
class Headline:
    """The top of the page."""

    kicker: str
    recipe: str
    drawn: Sequence[str]  # its settings that were searched
    score: str
    ends: str  # its 95 % interval
    unit: str
    place: str  # on the scale from real images to pixels
    verdicts: Sequence[Verdict]
    pictures: Sequence[tuple[str, Picture | None, Picture | None]]  # task, support, drawn
    pictured: str  # which tasks those are


def headline(story: Story) -> Headline | None:
    """Of a run in which a trial finished."""
    winner = story.winner
    if winner is None or winner.outcome is None:
        return None
    told = _told(story, winner)
    split, count = ("test", len(told["per_task"])) if story.evidence else ("search", _tasks(winner))
    pictures, pictured = _pictures(story, winner)
    how = "exported and judged on" if story.evidence else "which leads on"
    ends = (told.get("low"), told.get("high"))
    known = all(end is not None and math.isfinite(end) for end in ends)
    return Headline(
        kicker=f"{winner.info.name}, {how} {count} {split} tasks that it never trained on",
        recipe=_ensemble(story) or recipe_of(winner.info.config),
        drawn=[] if _ensemble(story) else briefly(winner.info.params),
        score=number(told["mean"]),
        ends=interval(told["mean"], *ends).partition(" ")[2] if known else "",
        unit=story.score_title,
        place=_place(story, winner),
        verdicts=[*_against(story), _among(story)],
        pictures=pictures,
        pictured=pictured,
    )


def _ensemble(story: Story) -> str:
    """What was exported together, with shares; nothing if one trial was exported."""
    told = (story.evidence or {}).get("ensemble") or {}
    if not told.get("taken"):
        return ""
    members = ", ".join(f"{m['name']} ({m['share']:.0%})" for m in told["members"])
    return f"{told['rule']} of {len(told['members'])} trials: {members}"


def recipe_of(config: Mapping[str, Any]) -> str:
    """Families and algorithms of a recipe in words."""
    rooms = [config.get(room) or () for room in ("models", "algorithms")]
    models, algorithms = (
        list(dict.fromkeys(str(m["name"]) for m in room if isinstance(m, Mapping) and "name" in m))
        for room in rooms
    )
    by = f", trained by {' + '.join(algorithms)}" if algorithms else ""
    return f"{' + '.join(models) or 'a recipe'}{by}"


def _told(story: Story, winner: Record) -> Mapping[str, Any]:
    if story.evidence:
        return story.evidence["splits"]["test"]
    outcome = winner.outcome
    assert outcome is not None
    return {"mean": score_of(winner), "low": outcome.low, "high": outcome.high}


def _tasks(winner: Record) -> int:
    return len(winner.last.per_task) if winner.last else 0


def _place(story: Story, winner: Record) -> str:
    """Where the score lies between real images and the floor."""
    if story.evidence:
        ends = {
            f"score/{key}": (story.evidence["baselines"].get(name, {}).get("test") or {}).get(
                "mean"
            )
            for key, name in (("real", REAL), ("floor", FLOOR))
        }
        known = {key: math.nan if value is None else value for key, value in ends.items()}
        share = standardised(story.evidence["splits"]["test"]["mean"], known)
    else:
        share = standard_of(winner)
    if share is None:
        return ""
    return f"{share:.2f} on the way from real images (0) to pixels drawn independently (1)"


def _against(story: Story) -> list[Verdict]:
    """The winner and its baselines, task by task: on test, or else those the search tried."""
    if not story.evidence:
        text = (
            "with joint and scratch on test tasks: export trains them at the same size and budget"
        )
        return [*_tried(story), Verdict("open", "not compared", text)]
    found = []
    for name, entry in story.evidence.get("against", {}).items():
        if "test" in entry:
            found.append(_versus(story, name, entry["test"]))
    algorithm = story.evidence.get("recipe", {}).get("algorithm")
    if algorithm in {"joint", "scratch"}:
        text = f"the recipe is {algorithm}, itself a baseline: no meta-algorithm beat it"
        found.append(Verdict("open", "a baseline won", text))
    return found


def _tried(story: Story) -> list[Verdict]:
    """The leader and the best trial of the search that meta-learns nothing, on search tasks."""
    records = [r for r in story.leaders.records if r.last]
    if not records or _only(records[0], BASELINES):
        return []
    found = []
    for name in BASELINES:
        rival = next((r for r in records if _only(r, (name,))), None)
        if rival is not None and (told := _compared(records[0], rival)) is not None:
            found.append(_versus(story, f"{rival.info.name}, the best {name} trial,", told))
    return found


def _compared(mine: Record, other: Record) -> dict[str, Any] | None:
    """Two trials on the tasks of their last reports; None if those differ."""
    a, b = (r.last.per_task if r.last else {} for r in (mine, other))
    if a.keys() != b.keys() or not a:
        return None
    gap = paired_difference(np.array([a[t] for t in a]), np.array([b[t] for t in a]))
    settled = bool(gap.low > 0 or gap.high < 0)
    return {"difference": gap.mean, "low": gap.low, "high": gap.high, "settled": settled}


def _only(record: Record, names: Sequence[str]) -> bool:
    """Whether a recipe learns by nothing but algorithms of these names."""
    algorithms = record.info.config.get("algorithms") or ()
    known = [a.get("name") if isinstance(a, Mapping) else a for a in algorithms]
    return bool(known) and all(name in names for name in known)


def _versus(story: Story, name: str, told: Mapping[str, Any]) -> Verdict:
    if told["low"] is None or told["high"] is None:  # of a single task
        return Verdict(
            "open", "not settled", f"whether it is better than {name}: one task says little"
        )
    gain = -story.sign * told["difference"]
    side = math.copysign(1.0, gain) if told["settled"] else 1.0  # a loss is told as its size
    low, high = sorted(-story.sign * side * told[end] for end in ("low", "high"))
    ends = f"[{number(low, like=gain)}, {number(high, like=gain)}]"
    if not told["settled"]:
        text = f"that it is better than {name}: by {number(gain)} {ends}"
        return Verdict("open", "not settled", text)
    word = "better" if gain > 0 else "worse"
    return Verdict(
        "good" if gain > 0 else "bad",
        "settled",
        f"{word} than {name} by {number(abs(gain))} {ends}",
    )


def _among(story: Story) -> Verdict:
    """The leader among the other trials of the search."""
    leaders = story.leaders
    finished, may = len(leaders.records), len(leaders.open)
    if finished < 2:
        return Verdict("open", "alone", "no other trial finished")
    if leaders.noise is None:
        return Verdict("open", "unknown", f"whether it is the best of {finished} finished trials")
    if leaders.all_alike:
        return Verdict(
            "open", "not settled", f"the {finished} finished trials differ by chance alone"
        )
    if may > 1:
        return Verdict(
            "open", "not settled", f"{may} of {finished} finished trials may be the best"
        )
    return Verdict("good", "settled", f"the first of {finished} finished trials on search tasks")


def _pictures(
    story: Story, winner: Record
) -> tuple[list[tuple[str, Picture | None, Picture | None]], str]:
    grid, where = _of_test(story), "test"
    if grid is None:
        grid, where = sheet_of(story, winner), "search"
    if grid is None:
        return [], ""
    rows = [
        (
            task,
            strip(
                grid.support[i], f"{grid.support.shape[1]} images of {task} it was shown", across=3
            ),
            strip(grid.after[i], f"what it draws of {task} after that"),
        )
        for i, task in enumerate(grid.tasks[:ROWS])
    ]
    return rows, where


def _of_test(story: Story) -> SampleGrid | None:
    if story.evidence_folder is None:
        return None
    path = story.evidence_folder / "samples.png"
    try:
        return read_sheet(path) if story.holds(path) else None
    except DataError:
        return None
