"""`make fuzz`: damage thousands of inputs, and see how each command ends.

A refusal may take 2 seconds of its own processor time, and 500 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz.herd import summary, sweep


def tell(one: dict[str, Any]) -> None:
    """A line for each that is wrong, as soon as it is known."""
    if one["wrong"]:
        words = " ".join(one["words"])
        sys.stderr.write(
            f"case {one['case']} ({one['kind']}): {one['wrong']} {words}\n{one['told'][:500]}\n"
        )
        sys.stderr.flush()


def main() -> int:
    """Print what was found; 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metasearch-fuzz-") as place:
        numbers = range(asked.first, asked.first + asked.inputs)
        ended = sweep(Path(place), asked.seed, numbers, asked.workers, tell)
    sys.stdout.write(summary(ended) + "\n")
    return int(any(one["wrong"] for one in ended))


if __name__ == "__main__":
    sys.exit(main())
