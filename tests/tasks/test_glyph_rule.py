from __future__ import annotations

import json
import unicodedata
from itertools import pairwise

import numpy as np
import PIL.features
import pytest
import torch

from metasearch.tasks import Glyphs, glyph_rule
from metasearch.tasks.base import SPLITS
from metasearch.tasks.glyph_classes import font_hashes, glyph_classes
from metasearch.tasks.glyph_classes import manifest as kept_manifest
from metasearch.tasks.glyph_fonts import font_files
from metasearch.tasks.glyph_rule import (
    PLAN,
    admitted_script,
    components,
    likeness,
    manifest,
    to_text,
)


@pytest.fixture(scope="module")
def rebuilt():
    return manifest(font_files(font_hashes()))


def test_the_manifest_in_the_package_is_what_the_rule_gives(rebuilt):
    ours = kept_manifest()
    fresh = json.loads(to_text(rebuilt))
    if ours["freetype"] == PIL.features.version("freetype2"):
        assert fresh == ours
    # Another FreeType rounds edges otherwise, which may tip the few pairs at a threshold.
    chars, again = ({c["char"] for c in m["classes"]} for m in (ours, fresh))
    assert len(chars ^ again) <= 0.02 * len(chars)


def test_accents_presentation_forms_and_mathematical_letters_are_no_characters_of_ours():
    assert admitted_script("e") == "Latin"
    assert admitted_script("\u00e9") is None  # é is e and an accent
    assert admitted_script("\ufe8d") is None  # a presentation form of alef
    assert admitted_script("\U0001d400") is None  # mathematical bold A
    assert admitted_script("\u2c7c") is None  # a modifier letter (Lm)
    assert admitted_script("+") is None


def test_scripts_are_told_apart():
    wanted = {"7": "Digits", "\u0416": "Cyrillic", "\u03a9": "Greek", "\u03e2": "Coptic"}
    wanted |= {"\u10d0": "Georgian", "\u0531": "Armenian", "\u1401": "Canadian", "\u0e81": "Lao"}
    assert {c: admitted_script(c) for c in wanted} == wanted
    assert admitted_script("\u2d30") is None  # Tifinagh: in no split


def test_every_class_of_the_manifest_is_admitted_and_has_four_styles():
    for c in glyph_classes():
        assert unicodedata.normalize("NFKD", c.char) == c.char
        assert len(c.styles) >= 4
        assert c.script in PLAN[c.split]


def test_each_script_is_in_one_split_and_splits_are_large_enough():
    dealt = [script for scripts in PLAN.values() for script in scripts]
    assert len(dealt) == len(set(dealt))
    sizes = {s: sum(c.split == s for c in glyph_classes()) for s in SPLITS}
    assert sizes["train"] >= 900
    assert sizes["inner"] >= 16
    assert sizes["search"] >= 38
    assert sizes["confirm"] >= 30
    assert sizes["test"] >= 200


def test_the_documentation_states_the_sizes():
    text = " ".join(Glyphs.__doc__.split())
    assert f"{len(glyph_classes()):,} characters of {sum(map(len, PLAN.values()))} scripts" in text
    for split in SPLITS:
        assert f"({sum(c.split == split for c in glyph_classes()):,})" in text


def test_letters_shared_by_scripts_are_one_class():
    taken = {t: c["char"] for c in kept_manifest()["classes"] for t in c["twins"]}
    assert taken["\u0410"] == "A"  # Cyrillic A
    assert taken["\u0391"] == "A"  # Greek Alpha
    assert taken["\u039f"] == taken["\u041e"] == taken["\u0555"]  # O in three scripts
    chars = {c.char for c in glyph_classes()}
    assert not chars & set(taken)


def test_a_rotated_letter_is_no_class_of_its_own():
    keys = [(c.script, c.char) for c in glyph_classes()]
    assert len(keys) == len(set(keys))


def test_names_are_unique_and_plain():
    names = [f"{c.script}/{c.name}" for c in glyph_classes()]
    assert len(names) == len(set(names))
    assert all(n.isascii() and " " not in n and n.count("/") == 1 for n in names)
    assert {"Latin/small-g", "Greek/small-zeta", "Digits/seven"} <= set(names)


def test_classes_are_in_the_order_of_splits():
    level = [SPLITS.index(c.split) for c in glyph_classes()]
    assert all(a <= b for a, b in pairwise(level))


def test_twins_agree_in_at_least_half_of_the_styles_they_share():
    pictures = -torch.ones(8, 1, 28, 28)
    pictures[:, :, 5:20, 5:10] = 1
    pictures[5, :, 5:20, 15:20] = 1  # character 1 differs in style 1 ...
    pictures[6:8, :, 22:, :] = 1  # ... and character 2 in both
    owner = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    style = np.array([0, 1, 2, 0, 2, 1, 0, 1])
    twins, mean = likeness(pictures, owner, style, 3)
    assert twins[0, 1]
    assert not twins[0, 2]
    assert 0.8 < mean[0, 1] < 1
    np.testing.assert_array_equal(twins, twins.T)


def test_characters_without_a_common_style_are_no_twins():
    pictures = torch.ones(2, 1, 28, 28)
    twins, mean = likeness(pictures, np.array([0, 1]), np.array([0, 1]), 2)
    assert not twins[0, 1]
    assert mean[0, 1] == 0


def test_twins_of_twins_are_one_component():
    linked = np.eye(6, dtype=bool)
    for a, b in [(0, 3), (3, 5), (1, 2)]:
        linked[a, b] = linked[b, a] = True
    assert components(linked) == [(0, 3, 5), (1, 2), (4,)]


def test_near_twins_of_a_class_that_was_dropped_are_kept():
    mean = np.eye(3)
    mean[0, 1] = mean[1, 0] = 0.96
    mean[1, 2] = mean[2, 1] = 0.96
    kept = glyph_rule._without_near_twins([(0,), (1,), (2,)], [0, 1, 2], mean)
    assert kept == [(0,), (2,)]
