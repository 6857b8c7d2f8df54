"""The command `metasearch`, also `python -m metasearch`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from metasearch.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        # Without them there is nothing that could print nicely.
        sys.stderr.write(f"error: {error.name} is missing. Install it: pip install {error.name}\n")
        sys.exit(4)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
