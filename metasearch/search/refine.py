"""A second phase: the schedules of a trial searched on, from the weights it ended with."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metasearch import space
from metasearch.errors import RunError
from metasearch.registry import to_data
from metasearch.search.config import SearchFile
from metasearch.search.home import home_of
from metasearch.search.ledger import Record, Run
from metasearch.search.opening import OPENED
from metasearch.search.worker import whole_checkpoints
from metasearch.trial.start import Start

START = "start"  # where the weights lie in the new run folder


def pick(run: Run, trial: int | None) -> Record:
    """The trial to go on with: the best, or the one of that number.

    Raises:
        RunError: it did not finish.
    """
    for record in run.best(len(run.trials)):
        if trial is None or record.number == trial:
            return record
    which = "no trial" if trial is None else f"trial {trial}"
    known = ", ".join(str(r.number) for r in run.best(10)) or "none"
    raise RunError(f"{run.folder}: {which} finished that could be refined; finished: {known}.")


def lay_out(
    run: Run, record: Record, folder: Path, search: Mapping[str, Any], *, share: float = 0.5
) -> SearchFile:
    """Make a run folder with the weights of a trial, and the search file for it.

    Each trial there spends `share` of the budget at other rates and schedules, and begins from the
    best so far, at first from `record`: generations as in population based training, each a trial
    with its lineage in its recipe. It is a run of its own, so that the study of the first phase
    stays one of independent trials. What was opened of `test` before counts there, too.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017. Differs: who
    goes on is the best, not one of the best quarter, and settings are drawn by the sampler around
    those of the first phase instead of from the parent's.

    Raises:
        RunError: `folder` is there already, or the trial's checkpoints are gone.
    """
    home = home_of(folder)
    if home.names():
        raise RunError(f"{home.where}: exists already. Resume it, or give another --name.")
    found = whole_checkpoints(record.folder)
    if not found:
        raise RunError(f"{record.folder}: no whole checkpoint is left; choose another trial.")
    place = folder / START / record.info.name
    shutil.copytree(found[0], place)
    if (run.folder / OPENED).exists():
        shutil.copy(run.folder / OPENED, folder / OPENED)
    before = space.load(run.folder / "search.yaml").tree["search"]
    given = {"name": folder.name, "warm_start": True, "references": 0, "first": [], **search}
    same = ("confirm", "baselines", "cpus_per_trial", "objectives", "constraints")
    kept = {key: before[key] for key in same if key in before}
    trial = _around(record.info.config, share)
    trial["start"] = to_data(Start.at(place, folder))
    home.push()
    return SearchFile.from_yaml(space.dump({"search": {**kept, **given}, "trial": trial}))


def _around(config: Mapping[str, Any], share: float) -> dict[str, Any]:
    """A recipe with its rates and its schedule drawn anew, near what they were."""
    budget, outer = dict(config["budget"]), dict(config["outer"])
    budget["gradients"] = max(1, round(budget["gradients"] * share))
    if outer["lr"] > 0:
        outer["lr"] = {"log_uniform": [outer["lr"] / 10, outer["lr"]]}
    outer["schedule"] = {"choice": ["constant", "cosine", "linear"]}
    algorithms = []
    for algorithm in config["algorithms"]:
        inner = dict(algorithm["inner"])
        if inner["lr"] > 0:
            inner["lr"] = {"log_uniform": [inner["lr"] / 2, inner["lr"] * 2]}
        algorithms.append({**algorithm, "inner": inner})
    return {**config, "budget": budget, "outer": outer, "algorithms": algorithms}
