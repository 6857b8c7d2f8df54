from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from metasearch.errors import ConfigError, DataError
from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import SOURCES, PairFolder, PairTasks, contact_sheet, parse_source, summary
from metasearch.tasks.base import SPLITS
from tests.tasks.drawings import drawing, zip_tree

FEW = {"shot": 2, "query": 2, "anchor": 1, "size": 24}
PAIRS = [f"pair{i}" for i in range(8)]


def opened(path, **changes) -> PairTasks:
    return PairFolder(path=str(path), **(FEW | changes)).open()


def write(root, pairs, sides=("trainA", "trainB"), each=8):
    """`each` images a side; the name of a file is a number, and what it shows depends on both."""
    for pair in pairs:
        for side in sides:
            folder = root / pair / side
            folder.mkdir(parents=True)
            for i in range(each):
                Image.fromarray(drawing(f"{pair}{side}", i)).save(folder / f"{i:02d}.png")
    return root


def marks(images):
    return [x.numpy().tobytes() for x in images]


def shown(source, task, domain, **sizes):
    episodes = source.episodes(
        [task], **{"shot": 2, "query": 2, "anchor": 1, **sizes}, rng=Stream(3)
    )
    parts = episodes.support, episodes.query, episodes.anchor
    return [marks(part[domain]) for part in parts]


def test_each_pair_is_a_task_in_both_directions_and_in_one_split(tmp_path):
    source = opened(write(tmp_path, PAIRS))
    assert source.domains == ("a", "b")
    assert sum(len(source.tasks(s)) for s in SPLITS) == 16
    for split in SPLITS:
        pairs = [task.split("/") for task in source.tasks(split)]
        ways = {pair: {way for p, way in pairs if p == pair} for pair, _ in pairs}
        assert ways and all(both == {"a-to-b", "b-to-a"} for both in ways.values())
    there, back = source.images("pair3/a-to-b"), source.images("pair3/b-to-a")
    assert torch.equal(there["a"], back["b"]) and torch.equal(there["b"], back["a"])
    assert source.group("pair3/b-to-a") == "pair3"
    assert source.count("pair3/a-to-b") == 16


def test_support_and_query_share_no_image(tmp_path):
    source = opened(write(tmp_path, PAIRS))
    for domain in ("a", "b"):
        support, query, anchor = shown(source, "pair0/a-to-b", domain)
        assert len({*support, *query, *anchor}) == 5


def test_queries_come_from_the_test_folders_where_they_are(tmp_path):
    sides = ("trainA", "trainB", "testA", "testB")
    source = opened(write(tmp_path, PAIRS, sides))
    for side, domain in (("A", "a"), ("B", "b")):
        support, query, anchor = shown(source, "pair1/a-to-b", domain)
        held = {(255 - drawing(f"pair1test{side}", i)).tobytes() for i in range(8)}
        pixels = [
            ((np.frombuffer(m, np.float32) + 1) * 127.5).round().astype(np.uint8).tobytes()
            for m in (*query, *anchor)
        ]
        assert set(pixels) <= held
        assert not set(support) & {*query, *anchor}


def test_names_count_only_if_asked_and_then_pair_the_query_and_part_the_support(tmp_path):
    root = write(tmp_path, PAIRS)
    assert not opened(root).episodes(["pair0/a-to-b"], shot=2, query=2, rng=Stream(0)).paired
    source = opened(root, paired=True)
    place = {d: marks(source.images("pair0/a-to-b")[d]) for d in ("a", "b")}
    (sa, qa, na), (sb, qb, nb) = (
        [[place[d].index(m) for m in part] for part in shown(source, "pair0/a-to-b", d)]
        for d in ("a", "b")
    )
    assert qa == qb and na == nb
    assert len({*sa, *sb, *qa, *na}) == 2 + 2 + 2 + 1


def test_names_pair_the_test_folders(tmp_path):
    root = write(tmp_path, PAIRS, ("trainA", "trainB", "testA", "testB"))
    (root / "pair0" / "testA" / "03.png").unlink()
    source = opened(root, paired=True)
    episodes = source.episodes(["pair0/a-to-b"], shot=2, query=7, rng=Stream(0))
    orders = []
    for d, side in (("a", "A"), ("b", "B")):
        known = [
            torch.from_numpy(255 - drawing(f"pair0test{side}", i)).float() / 127.5 - 1
            for i in range(8)
        ]
        orders.append(
            [
                next(i for i, x in enumerate(known) if torch.equal(x, image[0]))
                for image in episodes.query[d]
            ]
        )
    assert orders[0] == orders[1] and 3 not in orders[0]


def test_groups_stay_whole_and_split_folders_are_kept_to(tmp_path):
    source = opened(
        write(tmp_path / "g", [f"group{g}/pair{p}" for g in range(6) for p in range(2)])
    )
    groups = [{source.group(t) for t in source.tasks(s)} for s in SPLITS]
    assert sum(map(len, groups)) == 6 == len(set().union(*groups))
    names = ["train/p0", "train/p1", "train/p2", "val/p3", "val/p4", "test/p5"]
    kept = opened(write(tmp_path / "s", names))
    assert kept.tasks("test") == ("p5/a-to-b", "p5/b-to-a")
    assert {t.split("/")[0] for t in (*kept.tasks("search"), *kept.tasks("confirm"))} == {
        "p3",
        "p4",
    }


def test_an_image_of_an_earlier_split_is_taken_out(tmp_path):
    root = write(tmp_path, ["train/p0", "train/p1", "train/p2", "val/p3", "val/p4", "test/p5"])
    shared = root / "train" / "p0" / "trainA" / "00.png"
    (root / "test" / "p5" / "trainB" / "99.png").write_bytes(shared.read_bytes())
    source = opened(root)
    assert source.notes["seen_pictures_dropped"] == 1
    assert source.count("p5/a-to-b") == 16


def test_a_zip_and_lower_case_names_are_read_alike(tmp_path):
    root = write(tmp_path / "x", PAIRS, ("a", "b"))
    plain, packed = opened(root), opened(zip_tree(root, tmp_path / "x.zip"))
    assert plain.fingerprint == packed.fingerprint


def test_a_path_with_train_folders_is_told_by_them(tmp_path):
    root = write(tmp_path / "p", PAIRS[:5])
    assert parse_source(str(root)) == PairFolder(path=str(root))
    assert parse_source("pair_folder:x") == PairFolder(path="x")


def test_a_sheet_and_a_summary_show_both_domains(tmp_path):
    source = opened(write(tmp_path, PAIRS))
    assert summary(source)["splits"]["train"]["tasks"] == len(source.tasks("train"))
    contact_sheet(source, tmp_path / "sheet.png", tasks=1, pictures=4)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (np.asarray(sheet.convert("L")) < 80).sum() > 500


def test_what_is_not_in_place_is_named_with_what_is_wanted(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images in it; wanted is PAIR/trainA"):
        opened(tmp_path / "empty")
    one = write(tmp_path / "one", [""])
    with pytest.raises(DataError, match=r"a pair lies at 'the top'.*for several pairs"):
        opened(one)
    odd = write(tmp_path / "odd", PAIRS)
    (odd / "pair0" / "trainA").rename(odd / "pair0" / "left")
    with pytest.raises(DataError, match=r"'pair0/left/00.png' is not in place"):
        opened(odd)


def test_pairs_that_are_too_small_or_too_few_are_told(tmp_path):
    with pytest.raises(DataError, match="5 is the smallest number"):
        opened(write(tmp_path / "few", PAIRS[:3]))
    root = write(tmp_path / "small", PAIRS)
    with pytest.raises(
        DataError, match=r"no pair that is large enough.*has 8 and 8 images, and an"
    ):
        opened(root, shot=9)
    names = ["train/p0", "train/p1", "train/p2", "train/p9", "val/p3", "val/p4", "test/p5"]
    given = write(tmp_path / "given", names)
    for i in range(7):
        (given / "train" / "p9" / "trainB" / f"{i:02d}.png").unlink()
    assert opened(given).notes["small_pairs"] == ["p9"]


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="allowed"):
        PairFolder(path="x", shot=0)


def test_it_comes_back_from_plain_data():
    source = PairFolder(path="x", paired=True, size=32)
    assert revive(SOURCES, to_data(source), "trial.tasks") == source
