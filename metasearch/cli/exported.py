"""What `export` and `quickstart` say of the winner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metasearch.cli.output import table
from metasearch.observe.text import interval, number

SPLITS = ("search", "confirm", "test")


def report_text(report: Mapping[str, Any]) -> str:
    """The winner's scores beside those it is compared with, and how it was chosen."""
    from metasearch.bundle.remarks import remarks

    parts = [_scores(report), _board(report), "\n".join(remarks(report))]
    return "\n\n".join(part for part in parts if part)


def _scores(report: Mapping[str, Any]) -> str:
    score = report["score"]
    splits = [s for s in SPLITS if s in report["splits"]]
    rows = [["the recipe", *(_cell(report["splits"].get(s)) for s in splits)]]
    rows.append(["without adapting", *(_cell(report["splits"][s].get("before")) for s in splits)])
    for name, entry in report["baselines"].items():
        rows.append([name, *(_cell(entry.get(s)) for s in splits)])
    title = f"{score['name']} in {score['unit']}, {_better(score)} is better"
    lines = [
        f"{title}; 95 % intervals over tasks",
        table(["", *(f"{s} tasks" for s in splits)], rows),
    ]
    for name, entry in report["against"].items():
        if "test" in entry:
            found = entry["test"]
            difference = interval(found["difference"], found["low"], found["high"])
            settled = "settled" if found["settled"] else "not settled"
            lines.append(f"minus {name}, task by task: {difference}, {settled}")
    if (algorithm := report["recipe"]["algorithm"]) in {"joint", "scratch"}:
        lines.append(f"the recipe is {algorithm!r}, itself a baseline: no meta-algorithm beat it")
    return "\n".join(lines)


def _board(report: Mapping[str, Any]) -> str:
    """The candidates on `confirm`, which the search never used."""
    ranking = report.get("ranking", {})
    rows = ranking.get("rows", [])
    if len(rows) < 2:
        return ""
    standard = any(row["standard"] is not None for row in rows)
    tracks = ranking["tracks"]
    shown = []
    for row in rows:
        like = row["search"]
        cells = [row["name"], number(like), number(row["shrunk"], like=like)]
        cells.append(interval(row["confirm"], row["low"], row["high"]))
        cells += [number(row["standard"])] * standard
        cells += [number(row["watched"].get(name)) for name in tracks]
        cost = "-" if row["cost"] is None else f"{row['cost']:.0f}"
        shown.append([*cells, cost, _mark(row, report)])
    head = ["ranked on confirm tasks", "search", "shrunk", "confirm"] + ["0 to 1"] * standard
    head += [f"{name} in {board['unit']}" for name, board in tracks.items()]
    text = table([*head, "cost", ""], shown)
    for name, board in tracks.items():
        first = next(r["name"] for r in rows if r["trial"] == board["trials"][0])
        text += f"\nby {name}, which not every family has, {first} is first"
    return text


def _mark(row: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    words = ["exported"] if row["trial"] == report["trial"] else []
    if row["settled"] is False:
        words.append("not settled")
    return ", ".join(words)


def _better(score: Mapping[str, Any]) -> str:
    return "lower" if score["direction"] == "minimize" else "higher"


def _cell(entry: Mapping[str, Any] | None) -> str:
    return interval(entry["mean"], entry.get("low"), entry.get("high")) if entry else "-"
