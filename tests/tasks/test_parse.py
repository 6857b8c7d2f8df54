from __future__ import annotations

import pytest

from metasearch.errors import ConfigError, DataError
from metasearch.tasks import (
    Arrays,
    Folder,
    Glyphs,
    Omniglot,
    PairFolder,
    Pairs,
    parse_source,
)
from tests.tasks.drawings import write_tree, zip_tree


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("glyphs", Glyphs()),
        ("glyphs:16", Glyphs(size=16)),
        ("omniglot:a.zip,b.zip", Omniglot(path="a.zip,b.zip")),
        ("pairs", Pairs()),
        ("pairs:20", Pairs(size=20)),
        ("folder:some/where", Folder(path="some/where")),
        ("pair_folder:some/where", PairFolder(path="some/where")),
        ("arrays:x.npz", Arrays(path="x.npz")),
    ],
)
def test_a_name_picks_its_source(text, source):
    assert parse_source(text) == source


def test_a_path_is_looked_into(tmp_path):
    plain = write_tree(tmp_path / "plain", ["a", "b"], each=1)
    drawn = write_tree(tmp_path / "drawn", ["Greek/character01", "Latin/character12"], each=1)
    (tmp_path / "x.npz").touch()
    published = tmp_path / "python"
    published.mkdir()
    zip_tree(drawn, published / "images_background.zip")
    for path, kind in [
        (plain, Folder),
        (zip_tree(plain, tmp_path / "plain.zip"), Folder),
        (drawn, Omniglot),
        (published, Omniglot),
        (published / "images_background.zip", Omniglot),
        (tmp_path / "x.npz", Arrays),
    ]:
        assert parse_source(str(path)) == kind(path=str(path))


def test_what_is_neither_a_name_nor_a_path_is_refused_with_what_is_allowed():
    with pytest.raises(
        DataError, match=r"'glyps' is no task source.*allowed are glyphs, glyphs:SIZE"
    ):
        parse_source("glyps")
    with pytest.raises(DataError, match="no such file"):
        parse_source("omniglot")
    with pytest.raises(ConfigError, match="'big' is no size"):
        parse_source("glyphs:big")
    with pytest.raises(ConfigError, match="allowed is 12 to 128"):
        parse_source("glyphs:10")
