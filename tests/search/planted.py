"""Trials with known ends: what happens in them stands in their config."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metasearch.errors import RunError
from metasearch.search.share import Card
from metasearch.trial.report import Cost, Halt, Pause, Report, SampleGrid

TRIAL = "tests.search.planted:trial"
MOMENT_S = 0.05
Race = Callable[[int, Mapping[str, float], int], Halt | None]
STRIDE = 100  # gradient evaluations from one report to the next


@dataclass(frozen=True)
class Mark:
    """A snapshot: how many reports were made, and how many moments of waiting for the next."""

    made: int
    waited: int = 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "made.json").write_text(json.dumps([self.made, self.waited]))


def trial(
    config: dict[str, Any],
    resume: Path | None,
    race: Race | None = None,
    hurry: Callable[[], bool] = lambda: False,
) -> Iterator[Report | Pause]:
    """Scores fall from 1 + `x` to `x`; `end` says what else happens, and at which report.

    `end` is a mapping with a `name`: "well", "nan", "raise", "memory", "mute" (no final report),
    "die" (the process exits), "hang"; with `once`, "die", "hang" and "memory" happen in the first
    attempt alone. With `tasks`, there are so many, judged eight at a time, and the trial may lose a
    race. After report `bend` scores rise. Before each report it waits for `pause` seconds in moments
    of `MOMENT_S`; with `snapshots`, it pauses between two of them where there is hurry. With
    `together`, it waits until so many have begun, for a minute at most.
    """
    total, x = config.get("reports", 4), float(config["x"])
    end = {"name": "well", "at": 2, **config.get("end", {})}
    made, waited = _made(resume) if resume else (0, 0)
    moments = math.ceil(round(config.get("pause", 0.0) / MOMENT_S, 6))
    note(config, "began", made)
    _wait_for(config)
    while made < total:
        while waited < moments:
            time.sleep(min(MOMENT_S, config["pause"]))
            waited += 1
            if config.get("snapshots") and hurry():
                note(config, "paused", made)
                yield Pause(Mark(made, waited))
        made, waited = made + 1, 0
        happens = end["name"] if made == end["at"] else "well"
        note(config, happens, made)
        if happens == "mute":
            return
        if happens == "die" and not (end.get("once") and resume):
            os._exit(7)
        if happens in {"memory", "hang"} and end.get("once") and resume:
            happens = "well"
        fallen = made if made <= config.get("bend", total) else 2 * config["bend"] - made
        made_report = report(config, made, total, score(x, fallen, total, happens))
        yield (told := _judged(made_report, race) if race else made_report)
        if told.lost:
            return


def _wait_for(config: Mapping[str, Any]) -> None:
    end = time.monotonic() + 60
    while others := config.get("together"):
        begun = Path(config["account"]).read_text().count('"began"')
        if begun >= others or time.monotonic() > end:
            return
        time.sleep(MOMENT_S)


def _judged(whole: Report, race: Race) -> Report:
    """The report, or that of a judgement that was broken off."""
    tasks = list(whole.per_task)
    for end in range(8, len(tasks) + 8, 8):
        seen = {task: whole.per_task[task] for task in tasks[:end]}
        halt = race(whole.step, seen, -(-len(tasks) // 8))
        if halt and halt.lost:
            mean, why = float(np.mean(list(seen.values()))), halt.lost
            return replace(whole, final=True, score=mean, per_task=seen, snapshot=None, lost=why)
        if halt:
            return replace(whole, score=halt.score, per_task=seen, scalars={}, behind=halt.behind)
    return whole


def score(x: float, made: int, total: int, happens: str = "well") -> float:
    """What a trial reports."""
    if happens == "raise":
        raise ValueError("planted fault")
    if happens == "memory":
        raise MemoryError("planted")
    if happens == "hang":
        time.sleep(3600)
    return math.nan if happens == "nan" else x + 1 - made / total


def report(config: Mapping[str, Any], made: int, total: int, value: float) -> Report:
    """One report, with a snapshot and pictures if the config wants them."""
    grid = np.full((1, 1, 2, 2, 1), made, np.uint8)
    return Report(
        step=made * STRIDE,
        final=made == total,
        cost=Cost(made * STRIDE, made, 0.1 * made),
        score=value,
        low=value - 0.1,
        high=value + 0.1,
        before=2.0,
        per_task=_per_task(config, value),
        scalars={"loss/x": value},
        samples=SampleGrid(("a",), grid, grid, grid) if config.get("pictures") else None,
        snapshot=Mark(made) if config.get("snapshots") else None,
    )


def _per_task(config: Mapping[str, Any], value: float) -> dict[str, float]:
    if not isinstance(config.get("tasks"), int):
        return {"a": value, "b": value}
    own = np.random.default_rng(int(config["x"] * 1e9)).normal(size=config["tasks"])
    scatter = 0.05 * (own - own.mean())
    return {f"{i:02d}": value + float(away) for i, away in enumerate(scatter)}


def card(recipes: Sequence[Mapping[str, Any]], cpus: int) -> Card:
    """A card of 16 GiB on which a recipe takes as many as it says."""
    assert cpus == 1, "as asked"
    return Card("planted", 16 * 2**30, round(max(r["takes"] for r in recipes) * 2**30))


def _made(resume: Path) -> tuple[int, int]:
    try:
        made, waited = json.loads((resume / "made.json").read_text())
        return int(made), int(waited)
    except ValueError as fault:
        raise RunError(f"{resume}: damaged") from fault


def note(config: Mapping[str, Any], what: str, made: int) -> None:
    """Keep an account of our own of what ran, for tests to compare with the ledger."""
    if "account" in config:
        line = json.dumps([config["x"], what, made, os.getpid()]) + "\n"
        handle = os.open(config["account"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())
        os.close(handle)
