"""A search before it runs, and running it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metasearch.api.html import table
from metasearch.api.results import Result
from metasearch.errors import ConfigError
from metasearch.observe.base import Observer
from metasearch.observe.text import span
from metasearch.search.addresses import to_search
from metasearch.search.config import SearchFile
from metasearch.space import Draw, inline, size


@dataclass(frozen=True)
class Plan:
    """What a search would do and take, as `search --dry-run --json` tells it."""

    told: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        """One of the numbers: "trials", "slots", "expected_s", "disk_bytes" and so on."""
        return self.told[key]

    def __repr__(self) -> str:
        told = self.told
        return (
            f"<{told['trials']} trials of about {span(told['trial_s']['mean'])}, "
            f"{told['slots']} at once: about {span(told['expected_s'])}, "
            f"{told['disk_bytes'] / 1e6:,.0f} MB>"
        )

    def _repr_html_(self) -> str:
        rows = [(key.replace("_", " "), inline(value)) for key, value in self.told.items()]
        return table(["", "what it would do and take"], rows)


@dataclass(frozen=True)
class Search:
    """A checked search file with its overrides; nothing has run."""

    file: SearchFile
    folder: Path  # of the run it will be

    @property
    def draws(self) -> list[Draw]:
        """Everything that is searched."""
        return self.file.draws

    def plan(self) -> Plan:
        """Measure a few recipes for some seconds: expected time, disk, trials at once.

        Raises:
            DataError: the source is missing, damaged or too small.
            EnvironmentFault: not one trial fits into this machine.
        """
        from metasearch.search.rehearsal import rehearsed

        return Plan(rehearsed(self.file, self.folder))

    def run(
        self, *, quiet: bool = False, address: str | None = None, even_open: bool = False
    ) -> Result:
        """Search, or go on with what was interrupted; Ctrl-C returns what there is.

        `quiet` tells nothing on standard error; `address` is that of a Ray cluster to join, and
        `even_open` joins one that takes anybody, without a token.

        Raises:
            DataError: the source is missing, damaged or too small.
            RunError: the folder is in use, damaged, or holds another search.
            EnvironmentFault: the machine or cluster cannot run even one trial.
            ConfigError: a member was registered where workers of Ray cannot find it.
        """
        from metasearch.observe.progress import Progress
        from metasearch.observe.tensorboard import TensorBoard
        from metasearch.observe.trial_files import TrialFiles
        from metasearch.report import LiveReport, leave_report
        from metasearch.search.process import limit_threads, threads_restored
        from metasearch.search.rehearsal import open_data
        from metasearch.search.run import Plan as Searched
        from metasearch.search.run import make_backend, run_search
        from metasearch.search.said import read_places

        plan = Searched.of(self.file)
        _check_reach(self.file, plan.plugins)
        with threads_restored():
            limit_threads(self.file.search.cpus_per_trial)
            data = open_data(self.file)
            watchers: list[Observer] = [
                *([] if quiet else [Progress(places=read_places)]),
                TrialFiles(),
                TensorBoard(),
                LiveReport(),
            ]
            backend = make_backend(
                self.file.search, self.folder, address=address, even_open=even_open
            )
            summary = run_search(plan, self.folder, watchers, backend=backend, data=data)
        leave_report(self.folder)
        return Result.of(self.folder, interrupted=summary.interrupted)

    def __repr__(self) -> str:
        return f"<search {self.file.search.name}: {size(self.file.space)}>"

    def _repr_html_(self) -> str:
        rows = [
            (
                draw.path,
                draw.kind,
                ", ".join(map(str, draw.options)) or f"{draw.low:g} to {draw.high:g}",
                " and ".join(f"{path} is {label}" for path, label in draw.only_if),
            )
            for draw in self.draws
        ]
        return table(["searched", "as", "from", "only if"], rows, repr(self)[1:-1])


def load(
    path: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    **search: Any,
) -> Search:
    """Read a search file and check every branch of it.

        metasearch.load("leaves.yaml", {"trial.tasks.shot": 3}, trials=20, backend="local")

    Args:
        path: of the file.
        settings: laid over the file, by path; a value may be a draw.
        out: the folder of runs; else METASEARCH_HOME, or `runs` here.
        search: settings of the section `search`, such as trials, time, name, seed, backend.

    Raises:
        ConfigError: it cannot be searched; all faults are listed, with their places.
    """
    given = {**(settings or {}), **{f"search.{key}": value for key, value in search.items()}}
    file = SearchFile.load(path, [f"{key}={inline(value)}" for key, value in given.items()])
    runs = Path(out or os.environ.get("METASEARCH_HOME") or "runs")
    return Search(file, to_search(runs / file.search.name))


def _check_reach(file: SearchFile, plugins: Mapping[str, str]) -> None:
    """Refuse members that only this process knows where others are to run the trials."""
    if file.search.backend == "local":
        return
    for name, source in plugins.items():
        if source == "the module __main__":
            raise ConfigError(
                f"{name} is registered in this process alone, and workers of Ray do not see it. "
                "Move it into a module and name that in METASEARCH_PLUGINS, or search with "
                "backend='local'."
            )
