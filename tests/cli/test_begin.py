"""A search file to start from."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from PIL import Image

from metasearch import space
from metasearch.cli.places import spaces
from metasearch.models import MODELS
from metasearch.search.config import SearchFile
from metasearch.search.draft import draft, families, fitted
from metasearch.tasks import Folder, Glyphs, Strokes


def pictures(folder, classes: int, images: int):
    """Classes of noisy pictures."""
    rng = np.random.default_rng(0)
    for k in range(classes):
        place = folder / f"class{k:02d}"
        place.mkdir(parents=True)
        base = rng.integers(0, 256, (12, 12))
        for i in range(images):
            noisy = np.clip(base + rng.integers(-20, 20, (12, 12)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(place / f"{i}.png")
    return folder


def test_a_file_over_ones_own_images_can_be_searched_at_once(cli, place):
    pictures(place / "mine", 12, 20)
    told = cli("init", "leaves.yaml", "--data", "mine", "--family", "setvae")
    assert told.code == 0
    assert "search leaves.yaml --dry-run" in told.out
    file = SearchFile.load(place / "leaves.yaml")
    assert (file.search.name, file.space["models"][0]["name"]) == ("leaves", "setvae")
    assert (file.space["tasks"]["name"], file.space["tasks"]["path"]) == ("folder", "mine")
    assert [file.space["tasks"][key] for key in ("shot", "query", "anchor")] == [5, 10, 5]
    first, *lines = (place / "leaves.yaml").read_text().splitlines()
    schema = json.loads(
        (place / first.removeprefix("# yaml-language-server: $schema=")).read_text()
    )
    jsonschema.validate(space.load(place / "leaves.yaml").tree, schema)
    assert sum(" # " in line for line in lines) > 10
    assert max(map(len, lines)) <= 100


def test_episodes_are_as_large_as_most_classes_have_images_for(place):
    pictures(place / "few", 10, 9)
    source, opened = fitted(Folder(path=str(place / "few")))
    need = source.shot + source.query + source.anchor
    assert need <= 9
    assert sum(len(opened.tasks(split)) for split in ("train", "test")) > 2


def test_a_file_that_is_there_is_kept(cli, place):
    (place / "search.yaml").write_text("mine")
    told = cli("init")
    assert (told.code, (place / "search.yaml").read_text()) == (2, "mine")
    assert "is there already" in told.err


def test_a_family_of_no_shipped_search_is_refused_with_those_there_are(cli, place):
    pictures(place / "mine", 12, 20)
    told = cli("init", "x.yaml", "--data", "mine", "--family", "gna")
    assert told.code == 2
    assert "Did you mean 'gan'?" in told.err
    assert not (place / "x.yaml").exists()
    cond = cli("init", "x.yaml", "--data", "mine", "--family", "cgan")
    assert "needs other data" in cond.err


def test_a_name_of_several_families_is_refused_with_each_of_them(cli, place):
    pictures(place / "mine", 12, 20)
    told = cli("init", "x.yaml", "--data", "mine", "--family", "cgans")
    assert told.code == 2
    assert "'cgans' may mean several" in told.err
    assert all(f"{name} (" in told.err for name in ("cyclegan", "cgan", "rgan"))
    assert "Did you mean" not in told.err
    assert not (place / "x.yaml").exists()


def test_most_families_have_a_shipped_search_to_begin_with():
    assert {"vae", "gan", "aae", "classical", "setvae"} <= set(families(spaces()))


@pytest.mark.parametrize("family", ["classical", "setvae"])
def test_another_family_can_be_begun_with(family):
    text = draft(Glyphs(), MODELS[family]().domains, family, spaces())
    assert SearchFile.from_yaml(text).space["models"][0]


@pytest.mark.parametrize(("domains", "draws"), [(("x",), "rows"), (("x", "t"), "strokes")])
def test_who_can_write_is_begun_with_where_there_are_strokes(domains, draws):
    text = draft(Strokes() if "t" in domains else Glyphs(), domains, "rgan", spaces())
    assert text.splitlines()[0].endswith(f"begun from rgan-{draws}.yaml.")


def test_what_was_begun_is_told_as_json(cli, place):
    pictures(place / "mine", 12, 20)
    told = cli("init", "a.yaml", "--data", "mine", "--family", "classical", "--json").json
    assert set(told) == {"file", "schema", "tasks", "shot", "query", "anchor"}
