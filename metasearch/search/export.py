"""Choosing the winner honestly and packing it: re-rank on `confirm`, open `test` once."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metasearch import __version__
from metasearch.algorithms.base import Adapter
from metasearch.bundle.base import Part
from metasearch.bundle.images import border
from metasearch.bundle.save import Contents, save_bundle
from metasearch.errors import NoUsableTrial, RunError
from metasearch.observe.grid import sample_grid
from metasearch.scores.features import ConvFeatures
from metasearch.search.anchors import anchors_of
from metasearch.search.baselines import Rival, against, train
from metasearch.search.files import read_json, to_json, write_atomically
from metasearch.search.ledger import Record, Run
from metasearch.search.worker import whole_checkpoints
from metasearch.tasks.base import Split
from metasearch.trial.config import TrialConfig, from_data
from metasearch.trial.judge import Panel, judge, measure
from metasearch.trial.loop import Bench, bench_for, champion_at
from metasearch.trial.population import Champion

OPENED = "test_opened.json"  # the record that the test tasks of this run were looked at
SHOWN: tuple[Split, ...] = ("search", "confirm", "test")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A finished trial, brought back from its last checkpoint."""

    record: Record
    config: TrialConfig
    champion: Champion

    @staticmethod
    def revive(record: Record, bench: Bench) -> Candidate:
        """Load what the trial stands for.

        Raises:
            RunError: its checkpoints are gone or damaged.
        """
        config = from_data(record.info.config)
        found = whole_checkpoints(record.folder)
        if not found:
            raise RunError(f"{record.folder}: no whole checkpoint is left; choose another trial.")
        return Candidate(record, config, champion_at(config, found[0], bench))

    @property
    def adapter(self) -> Adapter:
        """What adapts to an unseen task."""
        return self.champion.adapter

    def panel(self, bench: Bench, split: Split) -> Panel:
        """The tasks of a split as this trial's score judges them."""
        return Panel.gather(self.config, bench.data, bench.features, split, "cpu")


def export(
    run: Run,
    folder: Path,
    *,
    trial: int | None = None,
    top: int = 5,
    baselines: Sequence[str] = ("joint", "scratch"),
    again: bool = False,
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """Write the best trial of a run as a bundle and return its report.

    The best `top` by `search` are ranked again on `confirm`; the first of those is judged on
    `test`, together with the baselines. `trial` skips the ranking.

    Raises:
        NoUsableTrial: no trial finished.
        RunError: the trial is unknown or damaged, or `test` was opened for another and not `again`.
        FileExistsError: `folder` is there already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; choose another place or remove it.")
    records = _candidates(run, trial, top)
    bench = bench_for(from_data(records[0].info.config))
    winner, confirm, ranking = _confirm(records, bench, tell)
    _guard_test(run.folder, winner.record.number, again=again)
    tell("training baselines of the same size and budget")
    rivals = [
        train(run.folder, winner.config, winner.champion, name, bench)
        for name in baselines
        if name != winner.champion.algorithm.name  # a recipe is no rival of itself
    ]
    tell("opening the test tasks")
    report = _report(run, winner, bench, rivals, confirm)
    report["ranking"] = ranking
    _record_test(run.folder, winner, bench, report)
    _save(run, winner, bench, report, folder)
    return report


def _candidates(run: Run, trial: int | None, top: int) -> list[Record]:
    if trial is None:
        best = run.best(top)
        if not best:
            raise NoUsableTrial(
                f"{run.folder}: no trial finished, so there is nothing to export. "
                f"`metasearch status {run.folder}` says what became of them."
            )
        return best
    found = [r for r in run.trials if r.number == trial]
    if not found or found[0].outcome is None or found[0].outcome.state != "complete":
        known = ", ".join(str(r.number) for r in run.best(10)) or "none"
        raise RunError(f"{run.folder}: trial {trial} did not finish; finished trials: {known}.")
    return found


def _confirm(
    records: Sequence[Record], bench: Bench, tell: Tell
) -> tuple[Candidate, dict[str, Any], list[dict[str, Any]]]:
    """Rank again on tasks that the search never used."""
    found = []
    for record in records:
        candidate = Candidate.revive(record, bench)
        entry = _measure(candidate, bench, "confirm")
        tell(f"{record.info.name}: {entry['mean']:.4g} on confirm")
        found.append((candidate, entry))
    sign = 1 if found[0][0].config.score.direction == "minimize" else -1
    found.sort(key=lambda pair: sign * pair[1]["mean"])
    ranking = [
        {
            "trial": c.record.number,
            "name": c.record.info.name,
            "search": c.record.outcome.score if c.record.outcome else None,
            "confirm": entry["mean"],
        }
        for c, entry in found
    ]
    return (*found[0], ranking)


def _measure(candidate: Candidate, bench: Bench, split: Split) -> dict[str, Any]:
    panel = candidate.panel(bench, split)
    return measure(candidate.adapter, candidate.config.engine, panel)


def _report(
    run: Run,
    winner: Candidate,
    bench: Bench,
    rivals: Sequence[Rival],
    confirm: dict[str, Any],
) -> dict[str, Any]:
    splits = {
        "search": _measure(winner, bench, "search"),
        "confirm": confirm,
        "test": _measure(winner, bench, "test"),
    }
    report: dict[str, Any] = {
        "format": 1,
        "score": {
            "name": run.info.score,
            "unit": run.info.unit,
            "direction": run.info.direction,
        },
        "trial": winner.record.number,
        "splits": splits,
        "baselines": {},
        "against": {},
    }
    for rival in rivals:
        entry = {
            split: measure(rival.adapter, winner.config.engine, winner.panel(bench, split))
            for split in SHOWN
        }
        report["baselines"][rival.name] = entry
        report["against"][rival.name] = {s: against(splits[s], entry[s]) for s in SHOWN}
    report["baselines"] |= anchors_of(winner.config, bench, winner.adapter.learner, SHOWN)
    return report


def _guard_test(folder: Path, trial: int, *, again: bool) -> None:
    """The test tasks are opened once; looking again for another trial would be choosing by them.

    Raises:
        RunError: they were opened for another trial.
    """
    opened = read_json(folder / OPENED)
    if opened is None or again:
        return
    trials = {entry["trial"] for entry in opened["openings"]}
    if trials != {trial}:
        raise RunError(
            f"{folder}: the test tasks were opened for trial {min(trials)}; choosing between "
            f"trials by them would make the figure worthless. Export --trial {min(trials)}, or "
            "add --again, which is recorded in the report."
        )


def _record_test(folder: Path, winner: Candidate, bench: Bench, report: Mapping[str, Any]) -> None:
    opened = read_json(folder / OPENED) or {"openings": []}
    entry = {
        "trial": winner.record.number,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": bench.data.fingerprint,
        "mean": report["splits"]["test"]["mean"],
    }
    opened["openings"].append(entry)
    write_atomically(folder / OPENED, to_json(opened) + "\n")


def _save(run: Run, winner: Candidate, bench: Bench, report: dict[str, Any], folder: Path) -> None:
    opened = read_json(run.folder / OPENED) or {"openings": []}
    report["test_openings"] = len(opened["openings"])
    panel = winner.panel(bench, "test")
    grid = judge(winner.adapter, winner.config.engine, panel).grid
    features = run.folder / "features.safetensors"
    if isinstance(bench.features, ConvFeatures):
        bench.features.save(features)
    contents = Contents(
        parts=[Part(winner.adapter)],
        config=winner.config,
        report=report,
        provenance=_provenance(run, winner, bench),
        border=border(panel.episodes.support),
        features=features if features.exists() else None,
        samples=sample_grid(grid),
    )
    save_bundle(contents, folder)


def _provenance(run: Run, winner: Candidate, bench: Bench) -> dict[str, Any]:
    return {
        "search": run.info.name,
        "trial": winner.record.info.name,
        "seed": winner.config.seed,
        "data": winner.config.tasks.name,
        "data_fingerprint": bench.data.fingerprint,
        "features": bench.features.fingerprint if bench.features else "none",
        "gradient_evaluations": winner.config.budget.gradients,
        "metasearch": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
