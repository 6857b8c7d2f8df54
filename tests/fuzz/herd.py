"""Several workers at once; one that dies or hangs is started again after the case that did it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.house import ROOT

HUNG_S = 60.0
START_S = 300.0


def sweep(
    folder: Path,
    seed: int,
    numbers: range,
    workers: int,
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """How each case ended; also told one by one, as they end."""
    ended: list[dict[str, Any]] = []

    def share(which: int) -> None:
        for one in _share(folder / str(which), seed, numbers[which::workers]):
            tell(one)
            ended.append(one)

    threads = [threading.Thread(target=share, args=(which,)) for which in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(ended, key=lambda one: one["case"])


def _share(folder: Path, seed: int, numbers: range) -> Iterator[dict[str, Any]]:
    attempt = 0
    while numbers:
        done = 0
        for one in _worker(folder / str(attempt), seed, numbers):
            done += 1
            yield one
        if not done:
            raise RuntimeError(f"no worker starts; see {folder / str(attempt)}.log")
        numbers, attempt = numbers[done:], attempt + 1


def _worker(folder: Path, seed: int, numbers: range) -> Iterator[dict[str, Any]]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = [str(folder), str(seed), str(numbers.start), str(numbers.step), str(numbers.stop)]
    log = folder.with_suffix(".log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.worker", *words],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=log, text=True,
    )  # fmt: skip
    assert process.stdout is not None, "it was asked for"
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True)
    reader.start()
    running: dict[str, Any] | None = None
    while True:
        try:
            line = lines.get(timeout=START_S if running is None else HUNG_S)
        except queue.Empty:
            line = ""
        if not line:
            break
        told = json.loads(line)
        if "begins" in told:
            running = told
        else:
            yield told
            running = {}
    process.kill()
    code = process.wait()
    reader.join()
    process.stdout.close()
    log.close()
    if running:
        tail = folder.with_suffix(".log").read_text()[-1500:]
        yield {"case": running["begins"], "kind": running["kind"], "code": code, "s": HUNG_S, "mb": 0,
               "wrong": [f"the process died or hung ({code})"], "words": [], "file": "", "told": tail}  # fmt: skip


def _pass_on(stream: Any, lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def summary(ended: Sequence[dict[str, Any]]) -> str:
    """What was tried and what was found, in a table and then one by one."""
    rows = ["kind      inputs  exit 0  exit 2  exit 3  wrong  refused s  done s  most MB"]
    for kind in dict.fromkeys(one["kind"] for one in ended):
        mine = [one for one in ended if one["kind"] == kind]
        codes = Counter(one["code"] for one in mine)
        # What was refused, and what could be done all the same, a short search among it.
        slow, done = (
            max((one["s"] for one in mine if bool(one["code"]) == refused), default=0.0)
            for refused in (True, False)
        )
        most, bad = max(one["mb"] for one in mine), sum(bool(one["wrong"]) for one in mine)
        rows.append(
            f"{kind:<9} {len(mine):>6}  {codes[0]:>6}  {codes[2]:>6}  {codes[3]:>6}  {bad:>5}  "
            f"{slow:>9.2f}  {done:>6.2f}  {most:>7}"
        )
    for one in ended:
        if one["wrong"]:
            rows.append(f"\ncase {one['case']} ({one['kind']}): {'; '.join(one['wrong'])}")
            rows.append(
                f"  {' '.join(one['words'])}   [{one['file']}]\n  {one['told'].strip()[:600]}"
            )
    return "\n".join(rows)
