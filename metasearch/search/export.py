"""Choosing the winner honestly and packing it: re-rank on `confirm`, open `test` once."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from metasearch import __version__
from metasearch.algorithms.mixture import AnyAdapter
from metasearch.bundle.base import Part
from metasearch.bundle.images import border
from metasearch.bundle.remarks import SINGLE
from metasearch.bundle.save import Contents, save_bundle
from metasearch.errors import NoUsableTrial, RunError
from metasearch.observe.base import SearchInfo
from metasearch.registry import to_data
from metasearch.scores.features import ConvFeatures
from metasearch.search.baselines import baseline, itself, train
from metasearch.search.config import Confirm
from metasearch.search.confirm import Candidate, Tell, panel_of, rank
from metasearch.search.ensemble import assemble
from metasearch.search.evidence import gather_evidence
from metasearch.search.files import read_json, to_json, write_atomically
from metasearch.search.home import home_of
from metasearch.search.leaders import Leaders
from metasearch.search.ledger import Record, Run
from metasearch.search.opening import OPENED
from metasearch.tasks.licence import licence_of
from metasearch.trial.checkpoint import MANIFEST
from metasearch.trial.config import from_data
from metasearch.trial.loop import Bench, bench_for
from metasearch.trial.rooms import plugins_in

EVIDENCE = "evidence"  # what was found then, so that nobody needs to look again


def export(
    run: Run,
    folder: Path,
    *,
    trial: int | None = None,
    confirm: Confirm = Confirm(),  # noqa: B008 - frozen
    baselines: Sequence[str] = ("joint", "scratch"),
    again: bool = False,
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """Write the best trial of a run, or an ensemble of the best, as a bundle; return its report.

    The best by `search` are ranked again on `confirm`; what `confirm` picks of those is judged on
    `test`, together with the baselines; an ensemble, also beside the winner alone. `trial` skips
    the ranking. What was found on `test` is kept: the same trial is exported again without opening
    it.

    Raises:
        NoUsableTrial: no trial finished, or all diverge on `confirm`.
        RunError: the trial is unknown or damaged, `folder` is there already, or `test` was opened
            for another trial and not `again`.
    """
    if folder.exists():
        raise RunError(f"{folder} exists already. Choose another place, or remove it.")
    leaders = Leaders.of(run)
    records = _candidates(run, trial, leaders, confirm)
    bench = bench_for(from_data(records[0].info.config))
    candidates = [Candidate.revive(record, bench) for record in records]
    winner, ranking = rank(candidates, bench, rule=confirm.rule, tell=tell)
    alone, joined = winner, None
    if confirm.ensemble != "none" and trial is None:
        winner, joined = assemble(candidates, winner, bench, confirm.ensemble, tell=tell)
    parts: list[str | int] = [
        *baselines,
        confirm.repeats,
        *(f"{n}: {share}" for n, share in winner.together),
    ]
    place = run.folder / EVIDENCE
    place /= f"{winner.record.info.name}-{_key(winner, bench, parts)}"
    if not (place / "report.json").exists():
        _guard_test(run.folder, winner, again=again)
        rivals = _rivals(run, winner, baselines, bench, tell)
        if winner.together:
            rivals[SINGLE] = alone.adapter
        repeats = _repeats(run, winner, confirm.repeats, bench, tell)
        tell("opening the test tasks")
        _record_opening(run.folder, winner, bench, again=again)
        gather_evidence(winner, rivals, repeats, bench, place)
    report = {
        **(read_json(place / "report.json") or {}),
        "selection": _selection(run.info, leaders, winner, by_hand=trial is not None),
        "ranking": _with_search(ranking, leaders),
        "ensemble": joined,
        "test_openings": len(_openings(run.folder)),
    }
    write_atomically(place / "exported.json", to_json(report) + "\n")
    _pack(run, winner, bench, report, place / "samples.png", folder)
    home_of(folder).push()
    home_of(run.folder).push()
    return report


def _rivals(
    run: Run, winner: Candidate, baselines: Sequence[str], bench: Bench, tell: Tell
) -> dict[str, AnyAdapter]:
    tell("training baselines of the same budget")
    made = {name: baseline(winner.config, winner.champion, name) for name in baselines}
    return {
        name: train(run.folder, recipe, bench)
        for name, recipe in made.items()
        if not itself(name, recipe, winner.champion)
    }


def _repeats(run: Run, winner: Candidate, count: int, bench: Bench, tell: Tell) -> list[AnyAdapter]:
    """The winner's recipe from other seeds; not of an ensemble, of which it would be one part."""
    found = []
    for i in range(0 if winner.together else count):
        seed = winner.config.seed + 1 + i
        tell(f"training the winner's recipe again with seed {seed}")
        found.append(train(run.folder, replace(winner.config, seed=seed), bench))
    return found


def _selection(
    info: SearchInfo, leaders: Leaders, winner: Candidate, *, by_hand: bool
) -> dict[str, Any]:
    """What the search itself says of its order, and of the luck of its first."""
    place = next(p for p in leaders.places if p.record.number == winner.record.number)
    return {
        "by_hand": by_hand,
        "finished": len(leaders.records),
        "may_be_best": [p.record.number for p in leaders.open],
        "noise": leaders.noise,
        "spread": leaders.spread,
        "optimism": leaders.optimism,
        "all_alike": leaders.all_alike,
        "search": place.score,
        "shrunk": place.shrunk,
        "bounds": [str(bound) for bound in info.bounds],
        "kept": bool(winner.record.outcome and winner.record.outcome.kept),
    }


def _with_search(ranking: dict[str, Any], leaders: Leaders) -> dict[str, Any]:
    """The ranking with what noise leaves of each score on `search`, and the likelihoods' boards."""
    shrunk = {place.record.number: place.shrunk for place in leaders.places}
    rows = [{**row, "shrunk": shrunk[row["trial"]]} for row in ranking["rows"]]
    boards = {}
    for score in leaders.tracks():
        told = [row for row in rows if score.name in row["watched"]]
        sign = 1 if score.direction == "minimize" else -1
        told.sort(key=lambda row: sign * row["watched"][score.name])
        boards[score.name] = {
            "unit": score.unit,
            "direction": score.direction,
            "trials": [row["trial"] for row in told],
        }
    plain: dict[str, Any] = json.loads(to_json({**ranking, "rows": rows, "tracks": boards}))
    return plain  # where null stands for what is not finite


def _candidates(run: Run, trial: int | None, leaders: Leaders, confirm: Confirm) -> list[Record]:
    """The best by score, and as many by each likelihood that not every family has."""
    if trial is None:
        if not leaders.records:
            raise NoUsableTrial(
                f"{run.folder}: no trial finished, so there is nothing to export. "
                f"`metasearch status {run.folder}` says what became of them."
            )
        count = confirm.count(len(leaders.records))
        chosen = {r.number: r for r in leaders.records[:count]}
        for score in leaders.tracks():
            chosen |= {r.number: r for r, _ in leaders.by_watched(score)[:count]}
        return list(chosen.values())
    found = [r for r in run.trials if r.number == trial]
    if not found or found[0].outcome is None or found[0].outcome.state != "complete":
        known = ", ".join(str(r.number) for r in run.best(10)) or "none"
        raise RunError(f"{run.folder}: trial {trial} did not finish; finished trials: {known}.")
    return found


def _key(winner: Candidate, bench: Bench, rivals: Sequence[str | int]) -> str:
    """Of all that the evidence depends on: weights, recipe, data and code."""
    features = bench.features.fingerprint if bench.features else ""
    parts = [
        (winner.checkpoint / MANIFEST).read_text("utf-8"),
        to_data(winner.config),
        [bench.data.fingerprint, features, __version__, torch.__version__, *rivals],
    ]
    return hashlib.sha256(to_json(parts).encode()).hexdigest()[:12]


def _openings(folder: Path) -> list[dict[str, Any]]:
    return list((read_json(folder / OPENED) or {"openings": []})["openings"])


def _guard_test(folder: Path, winner: Candidate, *, again: bool) -> None:
    """The test tasks are opened once; looking again for another trial would be choosing by them.

    Raises:
        RunError: they were opened for another trial, or for others together.
    """
    opened = [(entry["trial"], entry.get("together", [])) for entry in _openings(folder)]
    mine = (winner.record.number, _numbers(winner))
    if opened and mine not in opened and not again:
        raise RunError(
            f"{folder}: the test tasks were opened for {_told(*opened[0])}, not for "
            f"{_told(*mine)}; choosing between them by test tasks would make the figure "
            f"worthless. {_as_before(*opened[0])}, or add --again, which is recorded in the report."
        )


def _numbers(winner: Candidate) -> list[int]:
    return [number for number, _ in winner.together]


def _told(trial: int, together: Sequence[int]) -> str:
    return f"trials {', '.join(map(str, together))} together" if together else f"trial {trial}"


def _as_before(trial: int, together: Sequence[int]) -> str:
    return "Export with the same --ensemble" if together else f"Export --trial {trial}"


def _record_opening(folder: Path, winner: Candidate, bench: Bench, *, again: bool) -> None:
    """Before anything is looked at: an export that is killed has opened them all the same."""
    entry = {
        "trial": winner.record.number,
        **({"together": _numbers(winner)} if winner.together else {}),
        "at": _now(),
        "data": bench.data.fingerprint,
        "again": again,
    }
    write_atomically(folder / OPENED, to_json({"openings": [*_openings(folder), entry]}) + "\n")
    home_of(folder).keep(OPENED)


def _pack(
    run: Run, winner: Candidate, bench: Bench, report: dict[str, Any], samples: Path, folder: Path
) -> None:
    seen = panel_of(winner.config, bench, "train").episodes.support
    contents = Contents(
        parts=[Part(adapter, share) for adapter, share in winner.champion.parts],
        config=winner.config,
        report=report,
        provenance=_provenance(run, winner, bench),
        border=border(seen),
        features=bench.features if isinstance(bench.features, ConvFeatures) else None,
        samples=samples.read_bytes(),
        pen_steps=seen["t"].shape[1] if "t" in seen else None,
    )
    save_bundle(contents, folder)


def _provenance(run: Run, winner: Candidate, bench: Bench) -> dict[str, Any]:
    return {
        "search": run.info.name,
        "trial": winner.record.info.name,
        **({"together": _told(0, _numbers(winner))} if winner.together else {}),
        "seed": winner.config.seed,
        "data": winner.config.tasks.name,
        "data_licence": licence_of(winner.config.tasks),
        "data_fingerprint": bench.data.fingerprint,
        "features": bench.features.fingerprint if bench.features else "none",
        "plugins": plugins_in(to_data(winner.config)),
        "gradient_evaluations": winner.config.budget.gradients * max(len(winner.together), 1),
        "metasearch": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "ran_on": ", then ".join(winner.record.ran_on()),
        "created": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
