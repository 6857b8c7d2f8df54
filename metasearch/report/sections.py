"""The tables of the page: trials, splits, candidates, failures, versions."""

from __future__ import annotations

import math
import shlex
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metasearch.observe.base import Draw, Outcome
from metasearch.observe.text import briefly, flat, gist, number, span
from metasearch.report.story import Story, score_of
from metasearch.search.leaders import Place
from metasearch.search.ledger import Record

SPLITS = ("search", "confirm", "test")
SHOWN = 1500  # trials in the table
LINES = 6  # of an error
WHY = {
    "pruner": "behind others at the same budget, stopped by the pruner",
    "race": "worse than the leader on the same tasks, stopped by racing",
    "non_finite": "diverged: the score is no finite number",
    "time": "stopped when the time of the search was over",
    "gradients": "stopped when the gradient evaluations of the search were spent",
    "gpu_hours": "stopped when the GPU hours of the search were spent",
    "objective": "one of its objectives is no finite number",
    "user": "raised an error",
    "out_of_memory": "ran out of memory",
    "infrastructure": "its worker died",
    "preempted": "its machine was taken away",
    "timeout": "took too long",
}


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    order: float | str | None = None  # what it is sorted by, if not its text
    number: bool = False
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of a row names it."""

    caption: str
    head: Sequence[tuple[str, bool]]  # title, and is it a number
    rows: Sequence[Sequence[Cell]]
    sortable: bool = True


def trials_table(story: Story) -> Table:
    """Every trial: the finished by rank, then the others."""
    places = {p.record.number: (i, p) for i, p in enumerate(story.leaders.places, 1)}
    rest = [(None, r) for r in story.run.trials if r.number not in places]
    ordered = [*(((i, p), p.record) for i, p in places.values()), *rest]
    rows = [_trial_row(story, record, placed) for placed, record in ordered[:SHOWN]]
    head = [
        ("trial", False), ("rank", True), ("score", True), ("95 % interval", True),
        ("shrunk", True), ("behind", True), ("settled", False), ("state", False),
        ("gradients", True), ("time", True), ("drawn", False),
    ]  # fmt: skip
    more = len(ordered) - len(rows)
    caption = f"All trials, {story.score_title}" + (f"; {more} more are left out" if more else "")
    return Table(caption, head, rows)


def _trial_row(story: Story, record: Record, placed: tuple[int, Place] | None) -> list[Cell]:
    rank, place = placed or (None, None)
    like = score_of(story.leaders.records[0]) if story.leaders.records else None
    outcome = record.outcome or Outcome("failed", "")
    return [
        Cell(record.info.name, record.number, strong=record is story.winner),
        _number_cell(rank, text=str(rank)),
        _number_cell(outcome.score, like),
        Cell(_ends(outcome.low, outcome.high, like), number=True),
        _number_cell(place.shrunk if place else None, like),
        _number_cell(place.behind if place else None, like),
        Cell("not settled" if place and place.settled is False else ""),
        Cell(_state(record)),
        _number_cell(outcome.step or None, text=f"{outcome.step:,}"),
        _number_cell(outcome.seconds or None, text=span(outcome.seconds)),
        Cell(" · ".join(briefly(record.info.params))),
    ]


def _state(record: Record) -> str:
    if record.outcome is None:
        return "open"
    state, reason = record.outcome.state, record.outcome.reason
    return "finished" if state == "complete" else f"{state}: {reason}"


def recipe_table(story: Story) -> Table | None:
    """The winner's recipe, what was drawn marked."""
    if story.winner is None:
        return None
    info = story.winner.info
    draws = [draw for draw in story.run.info.draws if draw.path in info.params]
    searched = {setting_of(draw) for draw in draws}
    rows = [
        [
            Cell(path, strong=path in searched),
            Cell(_short(value)),
            Cell("drawn" if path in searched else ""),
        ]
        for path, value in flat(info.config)
    ]
    head = [("setting", False), ("value", False), ("", False)]
    return Table("The recipe, as it can be run again", head, rows)


def setting_of(draw: Draw) -> str:
    """Where in a resolved config a draw is: the names of branches are in its path alone.

    >>> setting_of(Draw("a.vae.b", "choice", (1, 2), only_if=(("a", "vae"),)))
    'a.b'
    """
    path = draw.path
    for above, label in reversed(draw.only_if):
        path = path.replace(f"{above}.{label}.", f"{above}.", 1)
    return path


def _short(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) < 400 else text[:400] + "…"


def splits_table(story: Story) -> Table | None:
    """The winner and all it is compared with, on every split."""
    evidence = story.evidence
    if not evidence:
        return None
    splits = [s for s in SPLITS if s in evidence["splits"]]
    like = evidence["splits"]["test"]["mean"]
    own = evidence["splits"]
    entries = {"this recipe": own, "without adapting": {s: own[s].get("before") for s in splits}}
    entries |= evidence["baselines"]
    rows = []
    for name, entry in entries.items():
        cells = [Cell(name, strong=name == "this recipe")]
        for split in splits:
            told = entry.get(split) or {}
            cells += [
                _number_cell(told.get("mean"), like),
                Cell(_ends(told.get("low"), told.get("high"), like), number=True),
            ]
        rows.append(cells)
    head = [("", False)]
    for split in splits:
        head += [(f"{split} tasks", True), ("95 % interval", True)]
    return Table(f"{story.score_title}", head, rows)


def candidates_table(story: Story) -> Table | None:
    """How the best of the search did on `confirm`, which chose among them."""
    evidence = story.evidence or {}
    rows_told = evidence.get("ranking", {}).get("rows", [])
    if len(rows_told) < 2:
        return None
    like = rows_told[0]["confirm"]
    rows = [
        [
            Cell(row["name"], row["trial"], strong=row["trial"] == evidence["trial"]),
            _number_cell(row["search"], like),
            _number_cell(row.get("shrunk"), like),
            _number_cell(row["confirm"], like),
            Cell(_ends(row["low"], row["high"], like), number=True),
            _number_cell(row["cost"], text=number(row["cost"])),
            Cell("not settled" if row["settled"] is False else ""),
        ]
        for row in rows_told
    ]
    head = [
        ("candidate", False), ("search", True), ("shrunk", True), ("confirm", True),
        ("95 % interval", True), ("cost to adapt", True), ("", False),
    ]  # fmt: skip
    return Table("The best of the search, ranked again on confirm tasks", head, rows)


@dataclass(frozen=True)
class Trouble:
    """Trials that ended alike before their end."""

    state: str
    why: str
    gist: str  # the last line of the error, of several without its numbers
    trials: Sequence[str]
    example: str  # the last lines of the first one's error
    commands: Sequence[str]  # that show or repeat it


def troubles(story: Story) -> list[Trouble]:
    """Failed trials grouped by cause, then those that were stopped, the most frequent first."""
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in story.run.trials:
        outcome = record.outcome
        if outcome and outcome.state != "complete":
            cause = gist(outcome.error) if outcome.state == "failed" else ""
            groups[outcome.state, outcome.reason, cause].append(record)
    order = sorted(groups.items(), key=lambda item: (item[0][0] != "failed", -len(item[1])))
    return [_trouble(story, *key, records) for key, records in order]


def _trouble(
    story: Story, state: str, reason: str, cause: str, records: Sequence[Record]
) -> Trouble:
    first = records[0]
    outcome = first.outcome
    error = (outcome.error or outcome.detail) if outcome else ""
    shown = error.strip().splitlines()[-LINES:]
    lines = [line if len(line) < 300 else line[:300] + "…" for line in shown]
    return Trouble(
        state=state,
        why=WHY.get(reason, reason),
        gist=lines[-1] if cause and len(records) == 1 else cause,
        trials=[record.info.name for record in records],
        example="\n".join(lines),
        commands=[
            f"metasearch {verb} {called(story)} {first.number}"
            for verb in ("show", *(["reproduce"] if state == "failed" else []))
        ],
    )


def provenance(story: Story) -> list[tuple[str, str]]:
    """Where this comes from: data, versions, times."""
    manifest = story.run.manifest
    data = manifest.get("data") or {}
    splits = ", ".join(f"{n} {split}" for split, n in (data.get("splits") or {}).items())
    versions = ", ".join(f"{name} {v}" for name, v in (manifest.get("versions") or {}).items())
    sat = len(manifest.get("sittings") or [])
    found = [
        ("data", str(data.get("source", "")) + (f": {splits} tasks" if splits else "")),
        ("data fingerprint", str(data.get("fingerprint", ""))),
        ("features of the score", str(data.get("features") or "none")),
        ("seed of the sampler", str(manifest.get("seed", ""))),
        ("begun", _when(manifest.get("created_at"))),
        ("searched for", f"{span(story.run.elapsed_s)} in {sat} sitting{'s' * (sat != 1)}"),
        ("versions", versions),
    ]
    return [(name, text) for name, text in found if text]


def commands(story: Story) -> list[tuple[str, str]]:
    """What to do next, and what to type for it."""
    name = called(story)
    best = shlex.quote(f"{story.run.folder.resolve().name}-best")
    found = []
    if story.run.state == "stopped":
        found.append(("go on", f"metasearch resume {name}"))
    if story.leaders.records:
        export = f"metasearch export {name} -o {best}"
        draw = f"metasearch generate {best} --support my-images -n 16 -o samples.png"
        found += [("pack the winner with its evidence", export), ("draw your own class", draw)]
    found.append(("see curves and samples", f"metasearch tensorboard {name}"))
    found.append(("write this page anew", f"metasearch report {name}"))
    return found


def called(story: Story) -> str:
    """What to type for a run where its folder is known by name."""
    return shlex.quote(story.run.folder.resolve().name)


def _when(unix: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix)) if unix else ""


def _ends(low: float | None, high: float | None, like: float | None) -> str:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{number(low, like=like)}, {number(high, like=like)}]"


def _number_cell(value: float | None, like: float | None = None, *, text: str = "") -> Cell:
    if value is None or not math.isfinite(value):
        return Cell("–", math.inf, number=True)
    return Cell(text or number(value, like=like), value, number=True)


def summary(story: Story) -> Mapping[str, Any]:
    """Counts of a run."""
    run = story.run
    states = {"complete": "finished", "pruned": "pruned", "failed": "failed"}
    counts = [(word, run.count(state)) for state, word in states.items()]
    still = sum(r.outcome is None for r in run.trials)
    told = [f"{n} {word}" for word, n in [*counts, ("open", still)] if n]
    return {
        "state": run.state,
        "trials": f"{len(run.trials)} of {run.info.trials} trials: {', '.join(told) or 'none yet'}",
        "elapsed": span(run.elapsed_s),
    }
