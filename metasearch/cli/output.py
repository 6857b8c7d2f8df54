"""Results on standard output, narration on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from metasearch.observe.text import printable

Json = Annotated[bool, typer.Option("--json", help="Print JSON, with keys that stay.")]


def note(text: str) -> None:
    """Tell how things go."""
    print(printable(text), file=sys.stderr, flush=True)


def result(text: str = "") -> None:
    """Print what was asked for."""
    print(printable(text), flush=True)


def result_json(data: Any) -> None:
    """Print what was asked for as JSON; a number that is not finite becomes null."""
    from metasearch.search.files import to_json

    result(json.dumps(json.loads(to_json(data)), indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be; numbers to the right. Never cut, for pipes.

    >>> print(table(["name", "n"], [["a", 10], ["bcdef", 2]]))
    name    n
    a      10
    bcdef   2
    """
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(cell: object) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def pairs(rows: Sequence[tuple[str, object]], indent: str = "  ") -> str:
    """Names and values below each other.

    >>> print(pairs([("a", 1), ("long", 2)]))
      a     1
      long  2
    """
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{indent}{name.ljust(width)}  {value}" for name, value in rows)
