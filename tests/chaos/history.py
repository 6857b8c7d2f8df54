"""What really happened in a search, by its own account, to hold the ledger against.

Trials note what they do (`planted.note`), and a witness what was told of them: both only ever add a
line, in one write, to a file that no part of the search reads.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.search.ledger import Record, open_run, read_records
from metasearch.trial.report import Report
from tests.search.driver import lines
from tests.search.planted import STRIDE

NO_REPORT = {"began", "paused"}  # notes of trials that are not of a report


class Witness:
    """An observer: what it was told was acknowledged, so it must never be lost or told again."""

    def __init__(self, file: Path) -> None:
        """`file` is made at the first line."""
        self._file = file

    def _note(self, number: int, what: str, step: int) -> None:
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (json.dumps([number, what, step]) + "\n").encode())
        os.close(handle)

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """Earlier sittings have told of themselves."""

    def started(self, trial: TrialInfo) -> None:
        """A trial was handed out."""
        self._note(trial.number, "started", 0)

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """A report was taken down."""
        self._note(trial.number, "reported", report.step)

    def set_aside(self, *event) -> None:
        pass

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """A trial is over."""
        self._note(trial.number, "ended", outcome.step)

    def closed(self, interrupted: bool) -> None:
        """Nothing of any trial."""


class Checker:
    """Looks at a run folder after each kill, and remembers what it promised before."""

    def __init__(self, folder: Path, account: Path, told: Path | None = None) -> None:
        """`account` is what trials noted, `told` what a witness did."""
        self.folder, self.account, self.told = folder, account, told
        self.done: dict[int, Record] = {}  # that were there after some kill
        self.kills = 0
        self._read = 0  # lines of the account

    def look(self) -> None:
        """Nothing that finished is lost or changed, and nothing that finished runs again."""
        trials = read_records(self.folder) if self.folder.exists() else []
        now = {trial.number: trial for trial in trials if trial.outcome}
        assert {n: now.get(n) for n in self.done} == self.done, "lost or changed"
        finished = {t.info.params["x"]: t for t in self.done.values()}
        noted = lines(self.account)
        assert not {x for x, *_ in noted[self._read :]} & set(finished), "ran again after its end"
        self.done, self._read = now, len(noted)
        if self.told:
            self._acknowledged(now)

    def _acknowledged(self, now: dict[int, Record]) -> None:
        told = lines(self.told) if self.told else []
        ended = [number for number, what, _ in told if what == "ended"]
        assert len(set(ended)) == len(ended), "finished twice"
        assert set(ended) <= set(now), "told of an end that is not in the ledger"
        over: set[int] = set()
        for number, what, _ in told:
            assert number not in over, f"{what} after its end was told"
            over |= {number} if what == "ended" else set()
        reported = [(number, step) for number, what, step in told if what == "reported"]
        assert len(set(reported)) == len(reported), "a report was told twice"

    def whole(self, trials: int, reports: int, *, at_once: int = 1) -> None:
        """The search came to its end, as one that nobody killed."""
        self.look()
        run = open_run(self.folder)
        assert run.state == "finished" and len(run.trials) == trials
        assert Counter(t.outcome.state for t in run.trials if t.outcome) == {"complete": trials}
        for trial in run.trials:
            expected = [STRIDE * made for made in range(1, reports + 1)]
            assert [step for step, _ in trial.curve] == expected
            assert [report.step for report in trial.reports()] == expected
        made = Counter((x, k) for x, what, k, _ in lines(self.account) if what not in NO_REPORT)
        assert {x for x, k in made if k == reports} == {t.info.params["x"] for t in run.trials}
        # With a snapshot at each report, a kill costs each trial that ran at most one of them.
        assert sum(made.values()) - len(made) <= at_once * self.kills
        told = journal_of(self.folder)
        assert Counter(t.state.name for t in told) == {"COMPLETE": trials}
        assert [len(t.intermediate_values) for t in told] == [reports] * trials


def journal_of(folder: Path) -> list[Any]:
    """The trials of a run as any reader of Optuna's journals sees them."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return list(optuna.load_study(study_name="planted", storage=storage).trials)
