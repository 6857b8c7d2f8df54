"""Places in a file, and how faults at them are shown: in few lines, whatever the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _LONGEST = 160, 600  # characters of a line of the file, and of what is said of it
_TOLD = 20  # faults of a file; the rest is counted


@dataclass(frozen=True)
class Mark:
    """A place in a file or in a flag."""

    source: str  # the file's name, or the flag's
    line: int  # from 1; 0 in a flag
    column: int  # from 1
    text: str  # the whole line

    def show(self, message: str) -> str:
        """The message behind its place, then the line with a caret below the column.

        Of a long message, and of a long line, the part that matters is shown.
        """
        where = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        start = max(0, self.column - _WIDTH // 2) if len(self.text) > _WIDTH else 0
        text, column = self.text[start : start + _WIDTH], self.column - start
        blank = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
        said = message if len(message) <= _LONGEST else f"{message[:_LONGEST]} ..."
        return f"{where}: {said}\n    {text.rstrip()}\n    {blank}^"


def listed(shown: Sequence[str]) -> str:
    """Faults below each other, the first of them if there are many."""
    rest = len(shown) - _TOLD
    return "\n".join([*shown[:_TOLD], *([f"and {rest:,} more faults"] if rest > 0 else [])])
