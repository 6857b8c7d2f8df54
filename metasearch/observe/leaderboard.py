"""Who leads, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from metasearch.observe.base import SearchInfo
from metasearch.observe.columns import Column, cells
from metasearch.observe.standing import Ended
from metasearch.observe.text import interval, markdown_table, setting


def leaderboard(
    search: SearchInfo, columns: Sequence[Column], leaders: Sequence[Ended], most: int = 10
) -> str:
    """The best trials in Markdown, with their scores and the settings that come first."""
    if not leaders:
        return "No trial has finished yet."
    shown = [column for column in columns if column.first]
    rows = []
    for place, (trial, outcome) in enumerate(leaders[:most], 1):
        row = cells(shown, trial.params)
        score = interval(outcome.score, outcome.low, outcome.high)
        drew = [setting(row.get(column.name, "")) for column in shown]
        rows.append([place, trial.name, score, *drew])
    head = ["", "trial", score_title(search), *(column.name for column in shown)]
    return f"Scores in {search.unit}.\n\n{markdown_table(head, rows)}"


def score_title(search: SearchInfo) -> str:
    """The score with an arrow to where it is good."""
    return f"{search.score} {'↓' if search.direction == 'minimize' else '↑'}"
