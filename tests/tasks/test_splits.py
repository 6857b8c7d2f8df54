from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metasearch.errors import ConfigError, DataError
from metasearch.tasks.base import SPLITS
from metasearch.tasks.splits import RATIOS, apportion, check_ratios, family, split_groups

THIRTY = [f"alphabet{i:02d}" for i in range(30)]


def counts(splits):
    return [splits.count(s) for s in SPLITS]


def test_thirty_alphabets_give_twenty_two_three_two_three():
    assert counts(split_groups(THIRTY, seed=0)) == [20, 2, 3, 2, 3]


def test_with_a_given_test_split_thirty_alphabets_give_twenty_two_two_three_three():
    unseen = [f"unseen{i}" for i in range(20)]
    given = [None] * 30 + ["test"] * 20
    splits = split_groups(THIRTY + unseen, seed=0, given=given)
    assert counts(splits[:30]) == [22, 2, 3, 3, 0]
    assert set(splits[30:]) == {"test"}


names = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=40)


@given(names, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_split_of_a_name_does_not_depend_on_the_order_of_the_names(groups, seed, shuffler):
    groups = [*groups, *THIRTY]
    shuffled = list(groups)
    shuffler.shuffle(shuffled)
    one = dict(zip(groups, split_groups(groups, seed=seed), strict=True))
    other = dict(zip(shuffled, split_groups(shuffled, seed=seed), strict=True))
    assert one == other


@given(names)
def test_names_that_differ_in_case_or_space_stay_together(groups):
    groups = [*groups, *THIRTY]
    doubled = groups + [f" {g.swapcase()} " for g in groups]
    by_family = {}
    for name, split in zip(doubled, split_groups(doubled, seed=0), strict=True):
        assert by_family.setdefault(family(name), split) == split


def test_composed_and_decomposed_letters_are_one_family():
    assert family("Caf\u00e9  Noir") == family("cafe\u0301 noir")
    assert family("3 Star") != family("4 Star")


def test_another_seed_gives_another_split():
    assert split_groups(THIRTY, seed=0) != split_groups(THIRTY, seed=1)


@given(
    st.integers(5, 500),
    st.lists(st.floats(0.01, 1), min_size=5, max_size=5),
)
def test_apportioned_numbers_sum_up_and_none_is_below_its_floor(total, shares):
    least = np.ones(5, int)
    parts = apportion(total, np.array(shares), least)
    assert parts.sum() == total
    assert (parts >= least).all()


def test_five_groups_are_enough_and_four_are_not():
    assert counts(split_groups(THIRTY[:5], seed=0)) == [1, 1, 1, 1, 1]
    with pytest.raises(DataError, match=r"4 groups cannot .* 5 is the smallest"):
        split_groups(THIRTY[:4], seed=0)


def test_classes_need_two_in_train():
    assert counts(split_groups(THIRTY[:6], seed=0, unit="class")) == [2, 1, 1, 1, 1]
    with pytest.raises(DataError, match=r"5 classes cannot .* 6 is the smallest"):
        split_groups(THIRTY[:5], seed=0, unit="class")


def test_what_is_missing_is_carved_from_the_nearest_given_split():
    given = ["train"] * 20 + ["search"] * 5 + ["test"] * 5
    splits = split_groups(THIRTY, seed=0, given=given)
    assert set(splits[:20]) == {"train", "inner"}
    assert set(splits[20:25]) == {"search", "confirm"}
    assert set(splits[25:]) == {"test"}


def test_five_given_splits_are_kept_as_they_are():
    given = [SPLITS[i % 5] for i in range(30)]
    assert split_groups(THIRTY, seed=3, given=given) == given


def test_a_group_in_two_given_splits_is_refused():
    with pytest.raises(DataError, match=r"'CAT' is in both train and test"):
        split_groups(["cat", "dog", "CAT"], seed=0, given=["train", "search", "test"], unit="class")


def test_no_train_is_refused():
    with pytest.raises(DataError, match="no group is in train"):
        split_groups(["a", "b"], seed=0, given=["search", "test"])


@pytest.mark.parametrize("ratios", [(1, 1, 1, 1), (1, 1, 0, 1, 1), (1, 1, float("nan"), 1, 1)])
def test_shares_must_be_five_positive_numbers(ratios):
    check_ratios(RATIOS)
    with pytest.raises(ConfigError, match="five positive numbers"):
        check_ratios(ratios)


def means(splits, hardness):
    return [np.mean([h for s, h in zip(splits, hardness, strict=True) if s == of]) for of in SPLITS]


@pytest.mark.parametrize("seed", range(5))
def test_where_hardness_is_known_no_split_is_harder_than_the_others(seed):
    values = np.random.default_rng(seed).normal(40, 9, 30).tolist()
    hardness = dict(zip(THIRTY, values, strict=True))
    fair = split_groups(THIRTY, seed=seed, hardness=hardness)
    assert counts(fair) == [20, 2, 3, 2, 3]
    assert np.ptp(means(fair, values)) < 4
    assert np.ptp(means(fair, values)) < np.ptp(means(split_groups(THIRTY, seed=seed), values))


def test_hardness_counts_each_class_of_a_group():
    groups = ["big"] * 50 + [f"small{i}" for i in range(9)]
    hardness = {g: (10.0 if g == "big" else 0.0) for g in groups}
    assert split_groups(groups, seed=0, hardness=hardness)[0] == "train"


def test_equal_hardness_and_unknown_groups_change_nothing():
    plain = split_groups(THIRTY, seed=0)
    assert split_groups(THIRTY, seed=0, hardness=dict.fromkeys(THIRTY, 3.0)) == plain
    assert split_groups(THIRTY, seed=0, hardness={"somewhere else": 3.0}) == plain
