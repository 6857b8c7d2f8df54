"""A copy of a run's journal for optuna-dashboard, with the pictures of each trial.

The dashboard may write what it likes into a copy. While the search runs, the copy follows it.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from metasearch.errors import RunError
from metasearch.search.ledger import open_run

PICTURES = "pictures"
_NAMES = "study:metric_names"  # what `Study.set_metric_names` writes


class Mirror:
    """`journal` copied into a folder, to be followed by `refresh`."""

    def __init__(self, run: Path, place: Path) -> None:
        """Copy what there is.

        Raises:
            RunError: it is no run, or has no journal yet.
        """
        self._source, self._trials = run / "study.journal", run / "trials"
        self.journal, self.pictures = place / "study.journal", place / PICTURES
        if not self._source.is_file():
            raise RunError(f"{self._source}: not there; no trial of this run was asked yet.")
        self.pictures.mkdir(parents=True)
        info = open_run(run).info
        self._names = [info.score, *info.objectives]
        self._read = 0
        self._shown: dict[int, str] = {}  # trial -> the picture it has
        self._copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is experimental
            self._storage = JournalStorage(JournalFileBackend(str(self.journal)))
        self.refresh()

    def refresh(self) -> None:
        """Take over what was written since, and the last picture of each trial."""
        self._copy()
        (study,) = self._storage.get_all_studies()
        if _NAMES not in study.system_attrs:  # else axes say "Objective 0"
            self._storage.set_study_system_attr(study._study_id, _NAMES, self._names)
        for trial in self._storage.get_all_trials(study._study_id, deepcopy=False):
            self._picture(study._study_id, trial)

    def _copy(self) -> None:
        with self._source.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]  # what follows is being written
        self._read += len(whole)
        with self.journal.open("ab") as copy:
            copy.write(whole)

    def _picture(self, study: int, trial: optuna.trial.FrozenTrial) -> None:
        name = trial.user_attrs.get("name")
        files = (self._trials / str(name) / "samples").glob("[0-9]*.png") if name else ()
        last = max(files, key=lambda path: int(path.stem), default=None)
        if last is None or self._shown.get(trial.number) == last.name:
            return
        mine = f"trial-{trial.number}"
        shutil.copyfile(last, self.pictures / mine)
        if trial.number not in self._shown:
            told = {"artifact_id": mine, "filename": f"{name}.png", "mimetype": "image/png",
                    "encoding": None}  # fmt: skip
            # With the study: a trial that is over cannot be given anything.
            key = f"dashboard:artifacts:{trial._trial_id}:{mine}"
            self._storage.set_study_system_attr(study, key, json.dumps(told))
        self._shown[trial.number] = last.name
