"""A source says on what terms its images may be used, or that nobody said."""

from __future__ import annotations

import pytest

from metasearch.tasks import SOURCES
from metasearch.tasks.conditional import Conditional
from metasearch.tasks.folder import Folder
from metasearch.tasks.glyphs import Glyphs
from metasearch.tasks.licence import FONTS, OMNIGLOT, UNKNOWN, licence_of, stated
from metasearch.tasks.omniglot import Omniglot
from metasearch.tasks.strokes import Strokes


def test_what_is_drawn_from_fonts_and_what_is_omniglot_is_known():
    assert licence_of(Glyphs()) == licence_of(Strokes()) == FONTS
    assert licence_of(Omniglot(path="a.zip")) == licence_of(Strokes(path="a.zip")) == OMNIGLOT


def test_a_source_over_another_has_the_terms_of_that():
    assert licence_of(Conditional(source=Glyphs(), classes=3)) == FONTS


@pytest.mark.parametrize("name", ["LICENSE", "LICENCE.txt", "license.md", "COPYING"])
def test_a_file_in_the_folder_states_them(tmp_path, name):
    assert licence_of(Folder(path=str(tmp_path))) == UNKNOWN
    (tmp_path / name).write_text("\n# CC BY 4.0\nand more\n")
    assert licence_of(Folder(path=str(tmp_path))) == f"CC BY 4.0 ({name})"
    assert stated(str(tmp_path / "images.npz")) == f"CC BY 4.0 ({name})"


def test_what_a_stranger_wrote_there_cannot_break_a_page(tmp_path):
    (tmp_path / "LICENSE").write_text("<script>| `x` [y](z)\x1b[31m" + "a" * 5000)
    told = stated(str(tmp_path))
    assert set("<>|`[]\x1b") & set(told) == set()
    assert len(told) < 120


def test_links_and_folders_of_that_name_are_not_followed(tmp_path):
    (tmp_path / "secret").write_text("of the machine")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "LICENSE").symlink_to(tmp_path / "secret")
    (tmp_path / "data" / "COPYING").mkdir()
    assert stated(str(tmp_path / "data")) == ""
    assert stated(str(tmp_path / "not there" / "data")) == ""


def test_every_source_over_no_other_has_a_licence():
    bare = [cls for cls in SOURCES.values() if "source" not in cls.__dataclass_fields__]
    assert all(hasattr(cls, "licence") for cls in bare)
