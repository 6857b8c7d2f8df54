"""What is told of a run, as plain data with keys that stay. Reads the run folder alone."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metasearch.search.ledger import Record, Run


def of_run(run: Run) -> dict[str, Any]:
    """A search in one look: how far it is, who leads, what failed."""
    from metasearch.search.stragglers import stragglers

    leader = next(iter(run.best()), None)
    return {
        "name": run.info.name,
        "folder": str(run.folder),
        "state": run.state,
        "score": {
            "name": run.info.score,
            "unit": run.info.unit,
            "direction": run.info.direction,
        },
        "trials": {
            "wanted": run.info.trials,
            "asked": len(run.trials),
            "complete": run.count("complete"),
            "pruned": run.count("pruned"),
            "failed": run.count("failed"),
            "open": sum(t.outcome is None for t in run.trials),
        },
        "best": of_trial(leader) if leader else None,
        "pruned": _by_reason(run, "pruned"),
        "failures": _by_reason(run, "failed"),
        "stragglers": [vars(straggler) for straggler in stragglers(run)],
        "elapsed_s": run.elapsed_s,
        "time_s": run.info.time_s,
        "created_at": run.manifest.get("created_at"),
        "versions": dict(run.manifest.get("versions", {})),
    }


def _by_reason(run: Run, state: str) -> list[dict[str, Any]]:
    """Outcomes of one state, the most frequent reason first."""
    found: dict[str, list[Record]] = defaultdict(list)
    for trial in run.trials:
        if trial.outcome and trial.outcome.state == state:
            found[trial.outcome.reason].append(trial)
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "reason": reason,
            "count": len(trials),
            "trials": [t.number for t in trials],
            "example": _last_line(trials[0]),
        }
        for reason, trials in ranked
    ]


def of_trial(trial: Record) -> dict[str, Any]:
    """A trial in one row."""
    outcome = trial.outcome
    return {
        "trial": trial.number,
        "name": trial.info.name,
        "state": outcome.state if outcome else "open",
        "reason": outcome.reason if outcome else "",
        "detail": outcome.detail if outcome else "",
        "score": outcome.score if outcome else None,
        "low": outcome.low if outcome else None,
        "high": outcome.high if outcome else None,
        "step": outcome.step if outcome else 0,
        "seconds": outcome.seconds if outcome else None,
        "error": _last_line(trial),
        "params": dict(trial.info.params),
    }


def kept(trial: Record) -> bool:
    """Whether a finished trial keeps all bounds of its search."""
    return trial.outcome is not None and trial.outcome.kept


def of_trial_in_full(trial: Record) -> dict[str, Any]:
    """All that is known of a trial."""
    said = trial.said()
    reports = [report for report in said if report.whole]
    return {
        **of_trial(trial),
        "folder": str(trial.folder),
        "ran_on": trial.ran_on(),
        "asked_at": trial.asked_at,
        "done_at": trial.done_at,
        "config": dict(trial.info.config),
        "curve": [
            {"step": r.step, "score": r.score, "low": r.low, "high": r.high} for r in reports
        ],
        "behind": next((report.behind for report in said if report.behind), ""),
        "before": reports[-1].before if reports else None,
        "per_task": dict(reports[-1].per_task) if reports else {},
        "traceback": _text(trial.folder / "error.txt"),
        "samples": [str(p) for p in sorted((trial.folder / "samples").glob("*.png"), key=_step)],
    }


def _last_line(trial: Record) -> str:
    error = trial.outcome.error if trial.outcome else ""
    return error.strip().rpartition("\n")[2]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _step(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else 0
