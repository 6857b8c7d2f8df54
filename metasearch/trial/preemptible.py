"""A trial as a worker runs it: from plain data, and told to pause when there is no time left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metasearch.trial.config import from_data
from metasearch.trial.loop import Hurry, Race, Trial, bench_for
from metasearch.trial.report import Pause, Report


def trial_from_data(
    config: dict[str, Any],
    resume: Path | None,
    race: Race | None = None,
    hurry: Hurry = lambda: False,
) -> Iterator[Report | Pause]:
    """`run_trial` of a resolved config, as in config.yaml, with a pause where there is hurry.

    Whether it goes on by itself or from what was kept at a pause, its reports are those of a trial
    that was never hurried.

    Raises:
        ConfigError: the families do not fit the source.
        DataError: the source is missing, damaged or too small.
        RunError: the snapshot, or what the config starts from, cannot be read.
    """
    resolved = from_data(config)
    trial = Trial.begin(resolved, bench_for(resolved), resume, race)
    while not trial.finished:
        yield trial.report() if trial.train(hurry) else Pause(trial.freeze())
