"""What runs inside a worker process: one trial after another, their reports as plain data.

Knows no Ray. Imports torch only through the trial that it is given by name.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import itertools
import os
import shutil
import socket
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from metasearch.errors import RunError
from metasearch.search.addresses import to_search
from metasearch.search.backend import Message, Order, placed
from metasearch.search.bucket import StoreFault
from metasearch.search.card import Card, context_lost
from metasearch.search.files import append_line, read_json, to_json, write_atomically
from metasearch.search.home import CHECKPOINTS, fetched, home_of
from metasearch.search.process import (
    StuckError,
    card_of,
    keep_freed_memory,
    limit_gpu,
    limit_threads,
)
from metasearch.search.racing import Hurdles
from metasearch.search.share import out_of_memory
from metasearch.trial.report import Pause, Report, SampleGrid, Snapshot

DEFAULT_TRIAL = "metasearch.trial.preemptible:trial_from_data"
KEPT = 2  # checkpoints per trial
REPORT = "report.json"  # in a checkpoint; whoever finds it finds the rest as well
NO_REPORT: Mapping[str, Any] = {}
ERROR_LINES = 30  # of a traceback
RAN_ON = "ran_on.jsonl"  # in a trial's folder: each machine and card that it ran on
STUCK = "stuck.txt"  # in a trial's folder: where its worker was when it was ended
LEFT = "left.json"  # in a trial's folder: why its worker ended itself
_DISK = {errno.EIO, errno.ESTALE}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM}
_KNOWN = ((StuckError, "timeout"), (StoreFault, "storage"))


Trial = Callable[..., Iterator[Report | Pause]]
"""Takes a resolved config, a snapshot's folder to go on from or None, `race=` if trials race (see
`trial.loop.Race`), and `hurry=`, which it may ask now and then whether to pause before its next
report.

Raises RunError before it says anything if the snapshot is damaged: then an older one is tried.
"""


Guard = Callable[[Path], AbstractContextManager[None]]
"""Watches over one step of a trial; takes the file for what is to be said if it gets stuck."""


def load_trial(name: str) -> Trial:
    """The trial function called ``module:function``.

    Raises:
        RunError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        found: Trial = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as fault:
        raise RunError(
            f"no trial function {name!r} ({fault}). Name one as 'module:function', in a module "
            "that every worker can import."
        ) from fault
    return found


class TrialRunner:
    """Runs trials report by report, and keeps the last checkpoints in a trial's folder."""

    def __init__(
        self,
        trial: str,
        *,
        cpus: int = 1,
        gpus: float = 0.0,
        guard: Guard | None = None,
        hurry: Callable[[], bool] = lambda: False,
        leave: Callable[[], object] | None = None,
    ) -> None:
        """`hurry` says whether a trial is to keep what it has before its next report.

        `leave` ends this process where no trial could run in it any more, for another to take its
        place; None goes on.
        """
        self._trial = trial
        self._hurry = hurry
        self._cpus = cpus
        self._gpus = gpus
        self._guard = guard
        self._leave = leave
        self._card = Card()
        self._note = Path()
        self._messages: Generator[Message, None, None] | None = None

    def start(self, order: Order) -> None:
        """Make ready to run an order, or to go on with it. One that still runs is dropped."""
        self.close()
        self._note = to_search(order.folder) / STUCK
        self._note.unlink(missing_ok=True)
        self._note.with_name(LEFT).unlink(missing_ok=True)
        if self._card.crowded:
            self._go("preempted", f"the GPU still held {self._card.held} bytes of trials before")
        self._messages = self._run(order)

    def next(self) -> Message:
        """The next report, or what went wrong. Never raises what the trial raises.

        Raises:
            RunError: no trial was started.
        """
        if self._messages is None:
            raise RunError("no trial was started. Call `start` before `next`.")
        try:
            with self._guard(self._note) if self._guard else contextlib.nullcontext():
                return next(self._messages)
        except (Exception, SystemExit) as fault:  # it ends this trial, not the search
            error = describe_error(fault, self._note.parent)
            if context_lost(fault):
                self._go(**error)
            return {"error": error}

    def close(self) -> None:
        """Let go of the trial and its memory."""
        if self._messages is not None:
            with contextlib.suppress(Exception):  # of a trial that is over anyway
                self._messages.close()
            self._messages = None
            self._card.clear()

    def _go(self, reason: str, error: str) -> None:
        """End this process, if it may, with word of why."""
        if self._leave is not None:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            said = to_json({"reason": reason, "error": error})
            write_atomically(self._note.with_name(LEFT), said, sync=False)
            self._leave()

    def _run(self, order: Order) -> Generator[Message, None, None]:
        keep_freed_memory()
        limit_threads(self._cpus)
        trial = load_trial(self._trial)
        limit_threads(self._cpus)  # torch came with the trial
        limit_gpu(self._gpus)
        folder = to_search(order.folder)
        folder.mkdir(parents=True, exist_ok=True)
        _sign(folder)
        config = placed(order.config, folder.parents[1])
        if origin := config.get("start"):
            fetched(Path(origin["checkpoint"]))
        race = {"race": Hurdles.of_data(order.race)} if order.race else {}
        for start in (*whole_checkpoints(folder), None):
            known = (start and read_json(start / REPORT)) or NO_REPORT
            if known:
                # The driver may have died before it wrote this report down; it knows if not.
                yield {"report": known, "samples": None}
            said = trial(dict(config), start, hurry=self._hurry, **race)
            try:
                first = next(said, None)
            except RunError:
                if start is None:
                    raise
                continue  # a damaged snapshot: go on from the one before it
            yield from _kept(folder, known, itertools.chain([first] if first else [], said))
            raise RunError("the trial ended without a final report.")


def _kept(
    folder: Path, last: Mapping[str, Any], said: Iterable[Report | Pause]
) -> Iterator[Message]:
    """What a trial says as messages, with its snapshots kept; `last` is what it reported before."""
    for one in said:
        if isinstance(one, Pause):
            step = last.get("step", 0)
            keep_checkpoint(folder, step + 1, one.snapshot, last)
            yield {"paused": step}
            continue
        last = one.to_data()
        if one.snapshot is not None:
            keep_checkpoint(folder, one.step, one.snapshot, last)
        yield {"report": last, "samples": _pictures(one.samples)}


def _sign(folder: Path) -> None:
    """Write down in a trial's folder where it runs."""
    home = home_of(folder)
    home.fetch(RAN_ON)
    append_line(folder / RAN_ON, to_json({"host": socket.gethostname(), **card_of()}))
    home.keep(RAN_ON)


def _pictures(samples: SampleGrid | None) -> dict[str, Any] | None:
    return vars(samples).copy() if samples else None


def whole_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a trial that were written to the end, newest first."""
    return _whole(fetched(folder / CHECKPOINTS))


def _whole(place: Path) -> list[Path]:
    found = place.glob(f"[0-9]*/{REPORT}")
    return sorted((file.parent for file in found), key=lambda path: int(path.name), reverse=True)


def keep_checkpoint(folder: Path, step: int, snapshot: Snapshot, last: Mapping[str, Any]) -> None:
    """Write a snapshot as `checkpoints/<step>`, with the trial's last report, and drop the oldest.

    The folder appears under its name only when it is whole; the report goes in last. What is kept
    between two reports lies one step past the former, `NO_REPORT` if there was none.
    """
    place = folder / CHECKPOINTS
    draft = place / f".{step}.{socket.gethostname()}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    snapshot.save(draft)
    write_atomically(draft / REPORT, to_json(last), sync=False)
    final = place / str(step)
    if final.exists():  # a remnant, or the same by a worker whose driver died: ours is as good
        _remove(final)
    draft.rename(final)
    for old in _whole(place)[KEPT:]:
        _remove(old)
    home_of(place).push()


def _remove(checkpoint: Path) -> None:
    (checkpoint / REPORT).unlink(missing_ok=True)  # first: what is left counts as torn
    shutil.rmtree(checkpoint, ignore_errors=True)


def describe_error(fault: BaseException, folder: Path | None = None) -> dict[str, str]:
    """Why a trial with this folder failed, in a word, and the last lines of the traceback."""
    lines = "".join(traceback.format_exception(fault)).strip().splitlines()
    return {"reason": _reason(fault, folder), "error": "\n".join(lines[-ERROR_LINES:])}


def last_words(folder: Path) -> dict[str, str] | None:
    """The error of a trial whose worker ended itself, or was ended as it was stuck; else None."""
    if left := read_json(folder / LEFT):
        return left
    try:
        said = (folder / STUCK).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    if not said:  # it died of something else
        return None
    end = "Stuck: no report within no_progress_timeout. Above: where it was, last call first."
    return {"reason": "timeout", "error": "\n".join([*said.splitlines()[:ERROR_LINES], end])}


def _is_denied(fault: OSError, folder: Path | None) -> bool:
    """Whether a trial may not write into its own folder."""
    inside = folder is not None and Path(str(fault.filename)).is_relative_to(folder)
    return fault.errno in _DENIED and inside


def _reason(fault: BaseException, folder: Path | None) -> str:
    known = next((reason for kind, reason in _KNOWN if isinstance(fault, kind)), "")
    if known or out_of_memory(fault):
        return known or "out_of_memory"
    if context_lost(fault):
        return "infrastructure"
    if isinstance(fault, OSError) and (fault.errno in _FULL or _is_denied(fault, folder)):
        return "storage"
    if isinstance(fault, OSError) and fault.errno in _DISK:
        return "infrastructure"
    return "user"
