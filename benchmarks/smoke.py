"""Every shipped search, end to end and small: `python -m benchmarks.smoke [FILE ...]`.

Four trials of each file in search_spaces/ are searched, the best is exported, and the bundle draws
from the examples of an unseen task, all by the command that people type. Whether all of it runs is
asked, and not how good it is: budgets are small, and unseen tasks are adapted to by few steps,
where a family that draws with a pen takes hundreds. Files over Omniglot need
``--omniglot PATH`` and are named as skipped without it. Ends with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SPACES = Path(__file__).parents[1] / "search_spaces"
SMALL = {
    "search.backend": "local",
    "search.sampler": "random",
    "search.pruner": "none",
    "trial.budget.gradients": 1500,
    "trial.budget.reports": 1,
    "trial.judging.tasks": 4,
    "trial.judging.samples": 8,
}
STEPS = 10  # of adapting to an unseen task


def command(*words: object, cwd: Path) -> str:
    """Run the command line tool; what it said.

    Raises:
        RuntimeError: it did not end well.
    """
    done = subprocess.run(
        [sys.executable, "-m", "metasearch", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "METASEARCH_HOME": "runs"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:] or ["nothing was said"]
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: " + " / ".join(last))
    return done.stdout


def smoke(file: Path, omniglot: str | None, place: Path) -> None:
    """Search, export, generate.

    Raises:
        RuntimeError: one of them failed, or left no picture.
    """
    words = [w for setting in small(file, omniglot) for w in ("-s", setting)]
    command("search", file, "--trials", 4, *words, cwd=place)
    command("export", file.stem, "-o", "best", cwd=place)
    picture = place / "drawn.png"
    examples = place / "runs" / file.stem / "examples"  # which exporting leaves
    command("generate", "best", "--support", examples, "-n", 4, "-o", picture, cwd=place)
    if not picture.exists():
        raise RuntimeError("generate left no picture")


def small(file: Path, omniglot: str | None) -> list[str]:
    """What makes a search small, ``path=value`` each; and where its pictures are."""
    settings: dict[str, Any] = dict(SMALL)
    settings |= dict.fromkeys(adapting(yaml.safe_load(file.read_text("utf-8"))), STEPS)
    place = data_at(file)
    if omniglot and place:
        settings[place] = omniglot
    return [f"{key}={value}" for key, value in settings.items()]


def adapting(node: Any, place: str = "") -> Iterator[str]:
    """Where in a search file it stands by how many steps unseen tasks are adapted to."""
    parts = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in parts:
        here = f"{place}.{key}" if place else str(key)
        if key == "test_steps":
            yield here
        elif isinstance(value, dict | list):
            yield from adapting(value, here)


def data_at(file: Path) -> str | None:
    """Where it stands which pictures of the user's own a file reads; None if it reads none."""
    tasks, place = yaml.safe_load(file.read_text("utf-8"))["trial"]["tasks"], "trial.tasks"
    while isinstance(tasks, dict):
        if "path" in tasks:
            return f"{place}.path"
        tasks, place = tasks.get("source"), f"{place}.source"
    return None


def main() -> None:
    """Try all, tell each, and end with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=sorted(SPACES.glob("*.yaml")))
    parser.add_argument("--omniglot", help="path of Omniglot, for the files that need it")
    options = parser.parse_args()
    failed, start = 0, time.monotonic()
    for file in options.files:
        if data_at(file) and not options.omniglot:
            print(f"skipped  {file.name}: give --omniglot PATH")
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            try:
                smoke(file.resolve(), options.omniglot, Path(place))
                said = "ok     "
            except RuntimeError as error:
                failed += 1
                said = f"FAILED   {error};"
        print(f"{said}  {file.name}: {time.monotonic() - began:.0f} s", flush=True)
    minutes = (time.monotonic() - start) / 60
    print(f"{len(options.files)} files, {failed} failed, in {minutes:.1f} minutes")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
