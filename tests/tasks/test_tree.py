from __future__ import annotations

import stat
import zipfile

import pytest

from metasearch.errors import DataError
from metasearch.tasks.tree import listing


def paths(found):
    return ["/".join(m.parts) for m in found.members]


def write(path, data=b"picture"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_images_are_listed_in_order_and_junk_is_counted(tmp_path):
    for name in ("b/2.PNG", "b/1.jpeg", "a/x.tif", "a/notes.txt", ".DS_Store", "a/Thumbs.db"):
        write(tmp_path / name)
    write(tmp_path / "__MACOSX" / "a" / "._x.png")
    write(tmp_path / ".hidden" / "y.png")
    with listing(tmp_path) as found:
        assert paths(found) == ["a/x.tif", "b/1.jpeg", "b/2.PNG"]
        assert found.ignored == {"not images": 1, "hidden": 4}
        assert found.members[0].read() == b"picture"


def test_a_zip_lists_like_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("b/2.PNG", "a/x.tif", "a/notes.txt", "__MACOSX/a/._x.png", "b/"):
            archive.writestr(name, b"" if name.endswith("/") else b"picture")
    with listing(tmp_path / "a.zip") as found:
        assert paths(found) == ["a/x.tif", "b/2.PNG"]
        assert found.ignored == {"not images": 1, "hidden": 1}
        assert found.members[0].read() == b"picture"


def test_links_out_of_the_folder_and_loops_are_not_followed(tmp_path):
    write(tmp_path / "secret" / "s.png")
    root = tmp_path / "data"
    write(root / "a" / "1.png")
    (root / "a" / "out.png").symlink_to(tmp_path / "secret" / "s.png")
    (root / "loop").symlink_to(root)
    (root / "elsewhere").symlink_to(tmp_path / "secret")
    (root / "a" / "broken.png").symlink_to(root / "nothing.png")
    (root / "b").mkdir()
    (root / "b" / "same.png").symlink_to(root / "a" / "1.png")
    with listing(root) as found:
        assert paths(found) == ["a/1.png", "b/same.png"]
        assert found.ignored == {
            "links out of the folder": 1,
            "linked folders": 2,
            "broken links": 1,
        }


def test_a_root_that_is_a_link_itself_is_fine(tmp_path):
    write(tmp_path / "data" / "a" / "1.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with listing(tmp_path / "link") as found:
        assert paths(found) == ["a/1.png"]


def test_zip_members_that_lead_elsewhere_are_passed_over(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../out.png", "/abs.png", "a/../../out.png", "a\\..\\out.png", "C:/x.png"):
            archive.writestr(zipfile.ZipInfo(name), b"x")
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a/1.png", b"x")
    with listing(path) as found:
        assert paths(found) == ["a/1.png"]
        assert found.ignored["links"] == 1
        assert sum(found.ignored.values()) == 6


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", b"\0" * (8 * 2**20))
    with pytest.raises(DataError, match="would unpack"), listing(path):
        pass


def test_a_file_that_is_no_zip_and_a_path_that_is_not_there_are_refused(tmp_path):
    write(tmp_path / "a.zip", b"no zip")
    with (
        pytest.raises(DataError, match=r"a\.zip is no zip .* Unpack it"),
        listing(tmp_path / "a.zip"),
    ):
        pass
    with pytest.raises(DataError, match="none does not exist"), listing(tmp_path / "none"):
        pass


def test_a_stamp_changes_with_the_content(tmp_path):
    write(tmp_path / "a.png", b"one")
    with listing(tmp_path) as found:
        before = found.members[0].stamp
    write(tmp_path / "a.png", b"other")
    with listing(tmp_path) as found:
        assert found.members[0].stamp != before
