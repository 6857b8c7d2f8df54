"""Run folders of searches that never ran, written by the ledger itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from metasearch.interval import paired_difference
from metasearch.observe.base import Outcome, TrialInfo, Watched
from metasearch.observe.grid import sample_grid, to_png
from metasearch.observe.trial_files import TrialFiles
from metasearch.rng import Stream
from metasearch.search.ledger import Ledger
from metasearch.search.manifest import describe
from metasearch.trial.report import Report
from tests.observe.synthetic_search import (
    outcome_of,
    report,
    rungs_of,
    samples,
    search_info,
    trial_info,
)

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
NLL = Watched("nll", "nats", "minimize", likelihood=True)


def told(trial: TrialInfo, rung: int, *, pictures: bool) -> Report:
    """A report with all that a page looks at."""
    said = report(trial, rung, pictures=pictures)
    share = 0.5 + 0.08 * rung
    more = {
        "score/real": 0.02, "score/floor": 1.2,
        "strategy/models/share/0 vae": share, "strategy/models/share/1 gan": 1 - share,
        "strategy/models/entropy": 0.9, "strategy/models/effective": 1.8,
    }  # fmt: skip
    if "vae" in trial.name:
        more["score/nll"] = 90.0 - trial.number
    return dataclasses.replace(said, scalars={**said.scalars, **more})


def with_strategy(trial: TrialInfo) -> TrialInfo:
    """The same with its rules in the resolved config, where trials have them."""
    rules = {a: {"name": trial.params[f"strategy.{a}"]} for a in ("tasks", "algorithms")}
    return dataclasses.replace(trial, config={**trial.config, "strategy": rules})


def make_run(
    folder: Path, trials: int = 8, *, pictures: bool = True, evil: str = "", open_last: bool = False
) -> Path:
    """A finished run of so many trials; `evil` stands wherever a text of a run may."""
    info = dataclasses.replace(search_info(folder, trials), watched=(NLL,), time_s=None)
    if evil:
        info = dataclasses.replace(info, name=evil, unit=evil, score=evil)
    ledger, files = Ledger(folder), TrialFiles()
    ledger.write_manifest({
        "format": 1, "created_at": 1.7e9, "versions": {"metasearch": evil or "9.9", "torch": "2"},
        "search": describe(info), "seed": 0, "sittings": [{}],
        "data": {"source": evil or "glyphs", "fingerprint": "f00", "splits": {"search": 4}},
    })  # fmt: skip
    (folder / "search.yaml").write_text(f"search: {{name: {evil or 'x'}}}\n")
    files.opened(info, [])
    for number in range(trials):
        trial = with_strategy(trial_info(number))
        if evil:
            params = {**trial.params, evil: evil}
            trial = dataclasses.replace(trial, params=params, config={**trial.config, evil: evil})
        ledger.asked(trial, 0)
        (folder / "trials" / trial.name).mkdir(parents=True)
        if open_last and number == trials - 1:
            continue
        _play(ledger, files, trial, pictures=pictures, evil=evil)
    ledger.close()
    return folder


def _play(
    ledger: Ledger, files: TrialFiles, trial: TrialInfo, *, pictures: bool, evil: str
) -> None:
    said = [told(trial, rung, pictures=pictures) for rung in range(1, rungs_of(trial) + 1)]
    for one in said:
        ledger.reported(trial, one)
        files.reported(trial, one)
    outcome = outcome_of(trial, said[-1])
    if evil and outcome.state == "failed":
        outcome = dataclasses.replace(outcome, error=f"Traceback\n{evil}")
    ledger.done(trial, outcome, tuple((r.step, r.score) for r in said), said[-1], {})


def fail(folder: Path, trial: TrialInfo, outcome: Outcome) -> None:
    """Change what became of a trial."""
    path = folder / "ledger" / f"{trial.number:04d}.done.json"
    done = json.loads(path.read_text())
    path.write_text(json.dumps({**done, "outcome": dataclasses.asdict(outcome)}))


def add_evidence(folder: Path, trial: int = 6, *, joint: float = 0.2) -> Path:
    """What export would leave: test scores of a trial and of `joint`, which is worse by so much."""
    rng = Stream(9).at("evidence").numpy()
    tasks = [f"t/{i}" for i in range(24)]
    mine = rng.normal(0.3, 0.05, 24)
    scores = {"this": mine, "joint": mine + joint + rng.normal(0, 0.02, 24)}

    def row(values: Any) -> dict[str, Any]:
        mean = float(values.mean())
        per_task = dict(zip(tasks, map(float, values), strict=True))
        return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "per_task": per_task}

    gap = paired_difference(scores["this"], scores["joint"])
    settled = bool(gap.low > 0 or gap.high < 0)
    against = {"difference": gap.mean, "low": gap.low, "high": gap.high, "settled": settled}
    splits = ("search", "confirm", "test")
    report_ = {
        "format": 1,
        "score": {"name": "mmd", "unit": "squared MMD", "direction": "minimize"},
        "trial": trial,
        "recipe": {"model": "vae", "algorithm": "maml"},
        "splits": {s: {**row(mine), "before": row(mine + 0.5)} for s in splits},
        "watched": {},
        "baselines": {
            "joint": {s: row(scores["joint"]) for s in splits},
            "real images": {s: row(mine * 0) for s in splits},
            "Beta-Bernoulli pixels": {s: row(mine * 0 + 1.0) for s in splits},
        },
        "against": {"joint": dict.fromkeys(splits, against)},
        "repeats": {},
    }
    place = folder / "evidence" / "0006-vae-maml-abc"
    place.mkdir(parents=True)
    (place / "report.json").write_text(json.dumps(report_))
    (place / "samples.png").write_bytes(to_png(sample_grid(samples(1.0))))
    return place
