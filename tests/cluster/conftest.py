"""Every kind of cluster, filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from metasearch.cluster.fields import FIELDS
from metasearch.cluster.templates import GUIDES, fields_of, render


def filled(kind: str, folder: Path, **given: str) -> Path:
    """The templates of a kind on disk, with the example of each field that has to be given."""
    needed = {n: FIELDS[n].like for n in fields_of(kind) if FIELDS[n].default is None}
    texts, _ = render(kind, {**needed, **given})
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    return folder


@pytest.fixture(params=sorted(GUIDES))
def kind(request):
    return request.param
