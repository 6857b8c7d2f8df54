"""The embedded pairs of designs, and the rule that no design of an unseen split was seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metasearch.errors import ConfigError, DataError
from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import SOURCES, Pairs, designs, summary
from metasearch.tasks.base import SPLITS
from metasearch.tasks.designs import CHANGES, PLAN, Change, Design, render
from metasearch.tasks.glyph_fonts import STYLES
from metasearch.tasks.pairs import twins

SIZES = {"shot": 4, "query": 6, "anchor": 3}


@pytest.fixture(scope="module")
def pairs(_a_cache_of_our_own):
    return Pairs(size=20).open()


def bytes_of(images):
    return {picture.numpy().tobytes() for picture in images}


def by_task(batch, domain, tasks):
    return batch[domain].unflatten(0, (tasks, -1))


def test_every_font_and_every_change_is_in_one_split():
    fonts = [font for fonts, _ in PLAN.values() for font in fonts]
    changes = [change for _, changes in PLAN.values() for change in changes]
    assert sorted(fonts) == sorted(STYLES)
    assert sorted(changes) == sorted(CHANGES)
    assert list(PLAN) == list(SPLITS)


def test_a_task_leads_from_design_to_design_of_one_split_and_changes_one_thing(pairs):
    split_of = {d.name: d.split for d in designs.designs(redrawn=True)}
    assert [len(pairs.tasks(s)) for s in ("train", "search", "test")] == [576, 96, 96]
    for split in SPLITS:
        for task in pairs.tasks(split):
            a, b = task.split("/")
            assert split_of[a] == split_of[b] == split
            (font, _, change), (other, _, changed) = a.partition("+"), b.partition("+")
            assert (font == other) != (change == changed)
            assert f"{b}/{a}" in pairs.tasks(split)
            assert pairs.group(task) == a


def test_no_picture_of_an_unseen_split_was_in_an_earlier_one(pairs):
    seen: set[bytes] = set()
    for split in SPLITS:
        mine = {
            mark
            for design in sorted({pairs.group(t) for t in pairs.tasks(split)})
            for mark in bytes_of(
                pairs.images(next(t for t in pairs.tasks(split) if pairs.group(t) == design))["a"]
            )
        }
        assert not mine & seen
        seen |= mine
    assert pairs.leaks.clean


def test_no_unseen_design_is_nearly_one_of_an_earlier_split():
    made = designs.designs(redrawn=True)
    images, owner, char = render(made, 28)
    common = set.intersection(*(set(char[owner == i].tolist()) for i in range(len(made))))
    chosen = [
        torch.from_numpy(images[(owner == i) & np.isin(char, sorted(common))]).float().flatten(1)
        for i in range(len(made))
    ]
    unit = torch.stack([F.normalize(x, dim=1) for x in chosen])
    cosine = torch.einsum("ick,jck->ij", unit, unit) / len(common)
    level = torch.tensor([SPLITS.index(d.split) for d in made])
    assert cosine[level[:, None] > level].max() < 0.95
    assert len(common) > 50


def test_a_design_that_resembles_a_seen_one_is_dropped():
    made = designs.designs(redrawn=False)
    images, owner, char = render(made, 20)
    rows = [
        dict(zip(char[owner == i].tolist(), np.flatnonzero(owner == i).tolist(), strict=True))
        for i in range(len(made))
    ]
    assert twins(made, images, rows).clean and not twins(made, images, rows).dropped
    copied = [*made[:-1], replace(made[1], font="forged", split="test")]
    found = twins(copied, images, [*rows[:-1], rows[1]])
    assert found.dropped == ("forged",)
    assert "nearly equals, cosine 1.000, DejaVuSans-Bold (train)" in found.examples[0]


def test_the_query_shows_the_same_in_both_domains_and_the_support_does_not(pairs):
    tasks = pairs.tasks("search")[:3]
    episodes = pairs.episodes(tasks, **SIZES, rng=Stream(0))
    assert episodes.paired
    for i, task in enumerate(tasks):
        known = pairs.images(task)
        place = {
            d: {x.numpy().tobytes(): row for row, x in enumerate(known[d])} for d in ("a", "b")
        }

        def rows(batch, domain, i=i, place=place):
            pictures = by_task(batch, domain, len(tasks))[i]
            return [place[domain][x.numpy().tobytes()] for x in pictures]

        assert rows(episodes.query, "a") == rows(episodes.query, "b")
        support = rows(episodes.support, "a"), rows(episodes.support, "b")
        assert len({*support[0], *support[1]}) == 2 * SIZES["shot"]
        shown = [*support[0], *support[1], *rows(episodes.query, "a"), *rows(episodes.anchor, "b")]
        assert len(set(shown)) == len(shown)


def test_an_episode_has_the_shapes_and_the_range_that_were_asked_for(pairs):
    tasks = pairs.tasks("train")[:2]
    episodes = pairs.episodes(tasks, **SIZES, rng=Stream(0))
    for batch, n in zip(
        (episodes.support, episodes.query, episodes.anchor), SIZES.values(), strict=True
    ):
        for domain in ("a", "b"):
            assert batch[domain].shape == (2 * n, 1, 20, 20)
            assert batch[domain].min() >= -1 and batch[domain].max() <= 1


def test_selecting_tasks_keeps_the_pairing(pairs):
    tasks = pairs.tasks("train")[:3]
    episodes = pairs.episodes(tasks, **SIZES, rng=Stream(0))
    some = episodes.select([2, 0])
    assert some.paired and some.tasks == (tasks[2], tasks[0])
    assert torch.equal(some.query["b"][:6], by_task(episodes.query, "b", 3)[2])


def test_a_task_gets_the_same_whatever_its_company_and_whatever_else_is_drawn(pairs):
    tasks = pairs.tasks("train")[:4]
    together = pairs.episodes(tasks, **SIZES, rng=Stream(1))
    alone = pairs.episodes([tasks[2]], shot=4, query=1, rng=Stream(1))
    for domain in ("a", "b"):
        assert torch.equal(alone.support[domain], by_task(together.support, domain, 4)[2])
    other = pairs.episodes([tasks[2]], shot=4, query=1, rng=Stream(2))
    assert not torch.equal(alone.support["a"], other.support["a"])


def test_a_change_moves_ink_where_it_says():
    font = "DejaVuSans"

    def picture(change):
        images, _, char = render([Design(font, change, "train")], 28)
        return images[:, 0].astype(float), char

    plain, char = picture("")
    ink = {name: picture(name)[0] for name in CHANGES}
    assert ink["thick"].sum() > 1.2 * plain.sum() > 1.2 * 1.2 * ink["thin"].sum()
    x = np.arange(28) - 13.5

    def spread(images, axis):
        weight = images.sum(axis)
        return np.mean((weight * x**2).sum(1) / weight.sum(1))

    assert spread(ink["narrow"], 1) < 0.6 * spread(plain, 1)
    assert spread(ink["flat"], 2) < 0.6 * spread(plain, 2)

    def slant(images):
        """The covariance of place to the right and height, over all ink."""
        return np.mean([(image * np.outer(-x, x)).sum() / image.sum() for image in images])

    assert slant(ink["lean"]) > slant(plain) + 2 > slant(ink["lean-back"]) + 4
    assert slant(ink["climb"]) > slant(plain) + 2 > slant(ink["sink"]) + 4
    assert Change().pose(2).matrix.tolist() == np.tile(np.eye(2), (2, 1, 1)).tolist()
    assert len(char) == len(plain)


def test_fonts_alone_make_fewer_tasks():
    plain = Pairs(size=20, redrawn=False).open()
    assert [len(plain.tasks(s)) for s in SPLITS] == [56, 2, 12, 2, 12]
    with pytest.raises(DataError, match="at size 12 the designs of split inner are too much like"):
        Pairs(size=12, redrawn=False).open()


def test_opening_again_gives_the_same(pairs):
    again = Pairs(size=20).open()
    assert again.fingerprint == pairs.fingerprint
    assert again.tasks("test") == pairs.tasks("test")


def test_what_was_drawn_of_a_split_is_counted_and_a_summary_draws_nothing():
    source = Pairs(size=12).open()
    told = summary(source)
    assert [source.opened(s) for s in SPLITS] == [0] * 5
    assert told["domains"] == ["a", "b"] and told["leaks"]["clean"]
    source.episodes(source.tasks("train")[:3], **SIZES, rng=Stream(0))
    assert source.opened("train") == 3 and source.opened("test") == 0


def test_episodes_that_are_too_large_are_refused():
    with pytest.raises(DataError, match=r"no task of split inner.*and an episode takes 70 of each"):
        Pairs(size=12, shot=20, query=20, anchor=10).open()
    source = Pairs(size=12).open()
    with pytest.raises(DataError, match="Lower shot, query or anchor"):
        source.episodes(source.tasks("train")[:1], shot=500, query=1, rng=Stream(0))
    with pytest.raises(DataError, match=r"no task is called 'cmr1/cmb10'.*Did you mean"):
        source.images("cmr1/cmb10")


@pytest.mark.parametrize("wrong", [{"size": 8}, {"size": 300}, {"shot": 0}, {"anchor": -1}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match="allowed"):
        Pairs(**wrong)


def test_it_comes_back_from_plain_data():
    source = Pairs(size=20, redrawn=False)
    assert revive(SOURCES, to_data(source), "trial.tasks") == source
