"""Cases one after the other in one process: `python -m tests.fuzz.worker FOLDER SEED FIRST STEP LAST`.

Prints a line of JSON before and after each, so that one that never ends is known by its number.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from metasearch.rng import Stream
from tests.fuzz.material import SHARES, Material, spoiled
from tests.fuzz.watch import Watch

TIME_S = 2.0  # of a processor, to refuse
SOUND_S = 10.0  # to do what was asked for, where a damage was none
MEMORY_MB = 500.0
WIDEST = 900  # characters of a line, places included
LONGEST = 80  # lines of a list of faults
ALLOWED = {0, 2, 3}  # a damage may be none, or leave nothing to be used
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


def kind_of(number: int) -> str:
    """Which kind the case of a number is of: shares hold in every stretch of a hundred."""
    at, end = (number * 37 % 100) / 100, 0.0
    for kind, share in SHARES.items():
        end += share
        if at < end - 1e-9:
            return kind
    return "yaml"


def run_case(material: Material, watch: Watch, seed: int, number: int) -> dict[str, object]:
    """Damage, read, judge."""
    from metasearch.cli.app import run

    draw = Stream(seed).at("fuzz", number).numpy()
    kind = kind_of(number)
    case = material.case(kind, draw)
    said, told = io.StringIO(), io.StringIO()
    watch.seen.clear()
    with (
        spoiled(case, draw) as data,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(told),
    ):
        idle = _peak_mb(reset=True)
        began = time.process_time()  # what else the machine does is no fault
        watch.on = True
        try:
            code = run(case.words)
        finally:
            watch.on = False
        spent, peak = time.process_time() - began, _peak_mb()
    wrong = [*faults(code, said.getvalue(), told.getvalue()), *watch.seen]
    if spent > (TIME_S if code else SOUND_S):
        wrong.append(f"took {spent:.1f} s")
    if peak > MEMORY_MB:
        wrong.append(f"took {peak:.0f} MB, {peak - idle:.0f} more than before")
    return {"case": number, "kind": kind, "code": code, "s": round(spent, 3), "mb": round(peak), "wrong": wrong,
            "words": list(case.words), "file": str(case.file), "bytes": len(data),
            "told": told.getvalue()[:2000] if wrong else ""}  # fmt: skip


def faults(code: int, said: str, told: str) -> list[str]:
    """What is wrong with how a command ended."""
    wrong = [] if code in ALLOWED else [f"exit code {code}"]
    if "Traceback" in said + told:
        wrong.append("a traceback")
    if code == 2 and not told.strip():
        wrong.append("not a word")
    lines = told.rstrip("\n").split("\n")
    if code == 2 and max(map(len, lines)) > WIDEST:
        wrong.append(f"a line of {max(map(len, lines))} characters")
    if code == 2 and len(lines) > LONGEST:
        wrong.append(f"{len(lines)} lines")
    if _CONTROL.search(said + told):
        wrong.append("control characters")
    return wrong


def _peak_mb(*, reset: bool = False) -> float:
    """The largest resident memory since the last reset."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main(words: Sequence[str]) -> None:
    """Run every `step`-th case from `first` to `last`."""
    folder, (seed, first, step, last) = Path(words[0]), map(int, words[1:])
    os.environ["METASEARCH_HOME"] = str(folder / "home")
    os.environ["METASEARCH_CACHE"] = str(folder / "cache")
    say = sys.stdout
    material = Material(folder)
    os.chdir(folder)
    watch = Watch(folder)
    for number in range(first, last, step):
        say.write(json.dumps({"begins": number, "kind": kind_of(number)}) + "\n")
        say.flush()
        say.write(json.dumps(run_case(material, watch, seed, number)) + "\n")
        say.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
