"""Choosing the winner honestly and packing it: re-rank on `confirm`, open `test` once."""

from __future__ import annotations

import datetime
import hashlib
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from metasearch import __version__
from metasearch.algorithms.mixture import AnyAdapter
from metasearch.bundle.base import Part
from metasearch.bundle.images import border
from metasearch.bundle.save import Contents, save_bundle
from metasearch.errors import NoUsableTrial, RunError
from metasearch.observe.grid import sample_grid, to_png
from metasearch.registry import to_data
from metasearch.scores.features import ConvFeatures, one_thread
from metasearch.search.baselines import against, baseline, train
from metasearch.search.files import read_json, to_json, write_atomically
from metasearch.search.ledger import Record, Run
from metasearch.search.worker import whole_checkpoints
from metasearch.tasks.base import Split
from metasearch.trial.anchors import anchors_of
from metasearch.trial.checkpoint import MANIFEST
from metasearch.trial.config import TrialConfig, from_data
from metasearch.trial.judge import Panel, judge, measure, ranking_score
from metasearch.trial.loop import Bench, bench_for, champion_at
from metasearch.trial.population import Champion

OPENED = "test_opened.json"  # the record that the test tasks of this run were looked at
EVIDENCE = "evidence"  # what was found then, so that nobody needs to look again
SHOWN: tuple[Split, ...] = ("search", "confirm", "test")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A finished trial, brought back from its last checkpoint."""

    record: Record
    config: TrialConfig
    checkpoint: Path
    champion: Champion  # on the CPU, as `evaluate` judges

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
        champion = champion_at(replace(config, device="cpu"), found[0], bench)
        return Candidate(record, config, found[0], champion)

    @property
    def adapter(self) -> AnyAdapter:
        """What adapts to an unseen task."""
        return self.champion.adapter


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
    `test`, together with the baselines. `trial` skips the ranking. What was found on `test` is
    kept: the same trial is exported again without opening it.

    Raises:
        NoUsableTrial: no trial finished, or all diverge on `confirm`.
        RunError: the trial is unknown or damaged, `folder` is there already, or `test` was opened
            for another trial and not `again`.
    """
    if folder.exists():
        raise RunError(f"{folder} exists already. Choose another place, or remove it.")
    records = _candidates(run, trial, top)
    bench = bench_for(from_data(records[0].info.config))
    winner, ranking = _ranked([Candidate.revive(record, bench) for record in records], bench, tell)
    place = run.folder / EVIDENCE / f"{winner.record.info.name}-{_key(winner, bench, baselines)}"
    if not (place / "report.json").exists():
        _guard_test(run.folder, winner.record.number, again=again)
        tell("training baselines of the same size and budget")
        rivals = {
            name: train(run.folder, baseline(winner.config, winner.champion, name), bench)
            for name in baselines
            if name != winner.champion.algorithm.name  # a recipe is no rival of itself
        }
        tell("opening the test tasks")
        _record_opening(run.folder, winner, bench, again=again)
        _judge(winner, rivals, bench, place)
    report = {
        **(read_json(place / "report.json") or {}),
        "ranking": ranking,
        "test_openings": len(_openings(run.folder)),
    }
    _pack(run, winner, bench, report, place / "samples.png", folder)
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


def _ranked(
    candidates: Sequence[Candidate], bench: Bench, tell: Tell
) -> tuple[Candidate, list[dict[str, Any]]]:
    """Rank again on tasks that the search never used: the winner, and all of them."""
    config = candidates[0].config
    panel = _panel(config, bench, "confirm")
    sign = 1 if config.score.direction == "minimize" else -1
    found = []
    for candidate in candidates:
        score = measure(candidate.adapter, candidate.config.engine, panel)["mean"]
        tell(f"{candidate.record.info.name}: {score:.4g} on confirm")
        found.append((candidate, score))
    found.sort(key=lambda pair: math.inf if math.isnan(pair[1]) else sign * pair[1])
    winner, score = found[0]
    if math.isnan(score):
        raise NoUsableTrial(
            f"{winner.record.folder.parent}: every trial diverges on the confirm tasks, so there "
            "is nothing to export. Search with smaller inner rates."
        )
    return winner, [
        {
            "trial": c.record.number,
            "name": c.record.info.name,
            "search": c.record.outcome.score if c.record.outcome else None,
            "confirm": None if math.isnan(score) else score,
        }
        for c, score in found
    ]


def _panel(config: TrialConfig, bench: Bench, split: Split) -> Panel:
    return Panel.gather(config, bench.data, bench.features, split, "cpu")


def _key(winner: Candidate, bench: Bench, baselines: Sequence[str]) -> str:
    """Of all that the evidence depends on: weights, recipe, data and code."""
    features = bench.features.fingerprint if bench.features else ""
    parts = [
        (winner.checkpoint / MANIFEST).read_text("utf-8"),
        to_data(winner.config),
        [bench.data.fingerprint, features, __version__, torch.__version__, *baselines],
    ]
    return hashlib.sha256(to_json(parts).encode()).hexdigest()[:12]


def _judge(winner: Candidate, rivals: Mapping[str, AnyAdapter], bench: Bench, place: Path) -> None:
    """Score the winner and its rivals on every split that is shown, and keep what was found."""
    config, adapter = winner.config, winner.adapter
    panels = {split: _panel(config, bench, split) for split in SHOWN}
    with one_thread():  # as `evaluate` does
        verdicts = {s: judge(adapter, config.engine, panel) for s, panel in panels.items()}
    splits = {s: ranking_score(verdicts[s], panel) for s, panel in panels.items()}
    found = {
        name: {s: measure(rival, config.engine, panel) for s, panel in panels.items()}
        for name, rival in rivals.items()
    }
    score = config.score
    report = {
        "format": 1,
        "score": {"name": score.name, "unit": score.unit, "direction": score.direction},
        "trial": winner.record.number,
        "recipe": {
            "model": winner.champion.family.name,
            "algorithm": winner.champion.algorithm.name,
        },
        "splits": splits,
        "baselines": found
        | anchors_of(config, bench, adapter.learner, panels, verdicts["test"].domain),
        "against": {
            name: {s: against(splits[s], entry[s]) for s in SHOWN} for name, entry in found.items()
        },
    }
    place.mkdir(parents=True, exist_ok=True)
    (place / "samples.png").write_bytes(to_png(sample_grid(verdicts["test"].grid)))
    write_atomically(place / "report.json", to_json(report) + "\n")  # last: then all is there


def _openings(folder: Path) -> list[dict[str, Any]]:
    return list((read_json(folder / OPENED) or {"openings": []})["openings"])


def _guard_test(folder: Path, trial: int, *, again: bool) -> None:
    """The test tasks are opened once; looking again for another trial would be choosing by them.

    Raises:
        RunError: they were opened for another trial.
    """
    trials = [entry["trial"] for entry in _openings(folder)]
    if trials and trial not in trials and not again:
        raise RunError(
            f"{folder}: the test tasks were opened for trial {trials[0]}, not for trial {trial}; "
            "choosing between trials by them would make the figure worthless. Export --trial "
            f"{trials[0]}, or add --again, which is recorded in the report."
        )


def _record_opening(folder: Path, winner: Candidate, bench: Bench, *, again: bool) -> None:
    """Before anything is looked at: an export that is killed has opened them all the same."""
    entry = {
        "trial": winner.record.number,
        "at": _now(),
        "data": bench.data.fingerprint,
        "again": again,
    }
    write_atomically(folder / OPENED, to_json({"openings": [*_openings(folder), entry]}) + "\n")


def _pack(
    run: Run, winner: Candidate, bench: Bench, report: dict[str, Any], samples: Path, folder: Path
) -> None:
    contents = Contents(
        parts=[Part(adapter, share) for adapter, share in winner.champion.parts],
        config=winner.config,
        report=report,
        provenance=_provenance(run, winner, bench),
        border=border(_panel(winner.config, bench, "train").episodes.support),
        features=bench.features if isinstance(bench.features, ConvFeatures) else None,
        samples=samples.read_bytes(),
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
        "created": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
