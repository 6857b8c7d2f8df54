"""Tables and pictures for notebooks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> str:
    """A small table, everything escaped.

    >>> table(["a"], [["<b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    named = f"<caption>{escape(title)}</caption>" if title else ""
    top = "".join(f"<th>{escape(str(cell))}</th>" for cell in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table>{named}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def picture(path: Path, what: str) -> str:
    """A PNG that stands in the page itself; `what` is told to whoever cannot see it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(what)}">'
