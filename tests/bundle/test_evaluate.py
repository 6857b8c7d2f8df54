"""Judging a bundle again, and on other data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from metasearch.bundle.evaluate import evaluate, other_source, recipe
from metasearch.bundle.load import load_bundle
from metasearch.bundle.save import save_bundle
from metasearch.errors import BundleError, ConfigError, DataError
from metasearch.tasks import Arrays, Folder, Glyphs
from tests.bundle.conftest import contents_of, rewrite
from tests.small import blobs_file, config

ABOUT = {"score", "source", "split", "tasks"}


def scores(told: dict) -> dict:
    """The part of what `evaluate` tells that stands in a report."""
    return {key: value for key, value in told.items() if key not in ABOUT}


@pytest.mark.parametrize("split", ["search", "confirm", "test"])
def test_the_report_is_reproduced_to_the_last_digit(written, split):
    bundle = load_bundle(written)
    told = evaluate(bundle, split=split)
    assert scores(told) == bundle.report["splits"][split]
    assert (told["split"], told["tasks"], told["source"]) == (split, 4, "arrays")
    assert told["score"] == {"name": "nll", "unit": "nats", "direction": "minimize"}


def test_the_report_is_reproduced_in_features_too(file, tmp_path):
    """The features travel with the bundle: nothing is learned again."""
    made = contents_of(config(file, score={"name": "mmd"}, also=[{"name": "nll", "samples": 2}]))
    bundle = load_bundle(save_bundle(made, tmp_path / "b"))
    assert scores(evaluate(bundle)) == bundle.report["splits"]["test"]
    (tmp_path / "b" / "features.safetensors").unlink()
    with pytest.raises(DataError, match=r"features.safetensors: no features can be read"):
        evaluate(bundle)


def test_threads_change_no_digit(written):
    bundle = load_bundle(written)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert scores(evaluate(bundle)) == bundle.report["splits"]["test"]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_other_data_give_another_score(written, tmp_path):
    bundle = load_bundle(written)
    images = np.load(recipe(bundle).tasks.path)
    np.savez(tmp_path / "other.npz", **{**images, "images": 255 - images["images"][:, ::-1]})
    source = replace(other_source(bundle, str(tmp_path / "other.npz")), leaks="keep")
    told = evaluate(bundle, source)
    assert told["tasks"] == 4
    assert told["mean"] != bundle.report["splits"]["test"]["mean"]


def test_another_source_is_read_as_the_bundle_needs_it(written, tmp_path):
    bundle = load_bundle(written)
    (tmp_path / "folder").mkdir()
    found = other_source(bundle, str(tmp_path / "folder"))
    assert isinstance(found, Folder)
    assert (found.size, found.channels, found.shot, found.query, found.anchor) == (8, 1, 3, 4, 4)
    larger = replace(bundle, shape=(1, 16, 16))
    glyphs = other_source(larger, "glyphs")
    assert isinstance(glyphs, Glyphs)
    assert (glyphs.size, glyphs.shot) == (16, 3)
    assert other_source(larger, "glyphs:16") == glyphs


def test_colour_data_are_judged_in_grey_by_a_grey_bundle(written, tmp_path):
    bundle = load_bundle(written)
    colour = blobs_file(tmp_path / "colour.npz", colour=True)
    source = replace(other_source(bundle, str(colour)), leaks="keep")
    assert np.isfinite(evaluate(bundle, source)["mean"])


def test_another_size_is_refused(written, file):
    bundle = load_bundle(written)
    with pytest.raises(ConfigError, match=r"--tasks glyphs:16: .* 8x8 pixels.*glyphs:8"):
        other_source(bundle, "glyphs:16")
    wrong = Arrays(path=str(file), size=9, leaks="keep")
    with pytest.raises(BundleError, match=r"shape \(1, 8, 8\); the source gives \(1, 9, 9\)"):
        evaluate(bundle, wrong)


def test_data_that_are_gone_are_told(bundle):
    text = (bundle / "config.yaml").read_text()
    gone = text.replace("blobs.npz", "gone.npz")
    assert gone != text
    (bundle / "config.yaml").write_text(gone)
    with pytest.raises(DataError, match=r"gone.npz does not exist"):
        evaluate(load_bundle(bundle))


@pytest.mark.parametrize("text", ["", "a: [", "models: []", "!!python/object/apply:os.getcwd []"])
def test_a_changed_recipe_is_refused(bundle, text):
    (bundle / "config.yaml").write_text(text)
    with pytest.raises(BundleError, match=r"config.yaml: cannot be read"):
        evaluate(load_bundle(bundle))
    (bundle / "config.yaml").unlink()
    with pytest.raises(BundleError, match=r"config.yaml: cannot be read"):
        evaluate(load_bundle(bundle))


def test_what_a_bundle_says_of_itself_changes_no_score(bundle):
    """`evaluate` computes; it does not read the report."""
    told = scores(evaluate(load_bundle(bundle)))
    rewrite(bundle / "report.json", lambda report: report.update(splits={}))
    assert scores(evaluate(load_bundle(bundle))) == told
