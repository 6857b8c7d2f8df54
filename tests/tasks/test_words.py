"""Words about a source."""

from __future__ import annotations

from metasearch.tasks.conditional import Conditional
from metasearch.tasks.folder import Folder
from metasearch.tasks.glyphs import Glyphs
from metasearch.tasks.words import called


def test_a_source_is_called_by_its_name_and_place():
    assert called(Glyphs()) == "glyphs"
    assert called(Folder(path="my/images")) == "folder my/images"
    assert called(Conditional(source=Folder(path="a.zip"), classes=3)) == (
        "conditional of folder a.zip"
    )
