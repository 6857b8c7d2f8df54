"""The winner beside what it is compared with: on test tasks if they were opened, else on search."""

from __future__ import annotations

import math
from collections.abc import Mapping

from metasearch.bundle.remarks import SINGLE
from metasearch.drawing.charts import Row, intervals, scene
from metasearch.drawing.scene import Scene
from metasearch.observe.text import interval, number
from metasearch.report.story import Story, score_of
from metasearch.trial.report import FLOOR, REAL

LEARNED = (
    "this recipe", "joint", "joint + fine-tune", "scratch", "figr", "without adapting", SINGLE,
)  # fmt: skip


def ladder(story: Story) -> Scene | None:
    """The winner between real images and what takes no learning, beside its baselines."""
    rows = _on_test(story) if story.evidence else _on_search(story)
    if not rows:
        return None
    marks, height = intervals(rows, story.score_title)
    about = "; ".join(f"{row.name}: {row.value}" for row in rows)
    return scene(marks, "The winner and what it is compared with", about, (900.0, height))


def _on_test(story: Story) -> list[Row]:
    assert story.evidence is not None
    splits, baselines = story.evidence["splits"], story.evidence["baselines"]
    found = {"this recipe": splits["test"]}
    found |= {name: entry["test"] for name, entry in baselines.items() if "test" in entry}
    like = splits["test"]["mean"]
    rows = [_row(name, told, like) for name, told in found.items() if _finite(told["mean"])]
    before = splits["test"].get("before")
    if before and _finite(before["mean"]):
        rows.append(_row("without adapting", before, like))
    return sorted(rows, key=lambda row: story.sign * row.mean)


def _row(name: str, told: Mapping[str, float], like: float) -> Row:
    """A row of the ladder; ours in colour, what learned nothing hollow."""
    mean, low, high = (_number(told.get(end)) for end in ("mean", "low", "high"))
    colour = "accent" if name == "this recipe" else "ink"
    learned = name in LEARNED
    text = interval(mean, low, high) if name == "this recipe" else number(mean, like=like)
    return Row(name, mean, low, high, colour if learned else "soft", text, hollow=not learned)


def _on_search(story: Story) -> list[Row]:
    rows = []
    for i, record in enumerate(story.leaders.records[:3]):
        outcome = record.outcome
        assert outcome is not None
        low, high = _number(outcome.low), _number(outcome.high)
        text = interval(outcome.score, outcome.low, outcome.high)
        rows.append(
            Row(record.info.name, score_of(record), low, high, "ink" if i else "accent", text)
        )
    last = story.leaders.records[0].last if rows else None
    if last is not None:
        ends = {
            REAL: last.scalars.get("score/real", math.nan),
            "the first, not adapted": last.before,
            FLOOR: last.scalars.get("score/floor", math.nan),
        }
        rows += [
            Row(name, value, math.nan, math.nan, "soft", number(value, last.score), hollow=True)
            for name, value in ends.items()
            if math.isfinite(value)
        ]
    return sorted(rows, key=lambda row: story.sign * row.mean)


def gap(story: Story) -> Scene | None:
    """The recipe and its baselines on the tasks it was chosen by, ranked by, and never seen."""
    if not story.evidence:
        return None
    entries = {"this recipe": story.evidence["splits"], **story.evidence["baselines"]}
    rows = [
        _gap_row(name, split, told)
        for name, entry in entries.items()
        if name in LEARNED
        for split, told in entry.items()
        if _finite(told["mean"])
    ]
    marks, height = intervals(rows, story.score_title)
    about = "; ".join(f"{row.name}: {row.value}" for row in rows)
    return scene(marks, "From search to confirm to test", about, (900.0, height))


def _gap_row(name: str, split: str, told: Mapping[str, float]) -> Row:
    mean, low, high = (_number(told.get(end)) for end in ("mean", "low", "high"))
    colour = "accent" if name == "this recipe" else "soft"
    return Row(f"{name}, {split}", mean, low, high, colour, interval(mean, low, high))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
