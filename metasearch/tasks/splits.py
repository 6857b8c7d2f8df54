"""Which group of tasks goes to which of the five splits: a function of names, ratios and seed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from metasearch.errors import ConfigError, DataError
from metasearch.rng import Stream
from metasearch.tasks.base import SPLITS, Split

Ratios = tuple[float, float, float, float, float]

RATIOS: Ratios = (0.66, 0.06, 0.10, 0.08, 0.10)
"""Shares of train, inner, search, confirm, test: 30 alphabets give 20, 2, 3, 2, 3."""

_DEALS = 5000
"""Deals among which the fairest is kept, where the hardness of groups is known."""

_DONORS: Mapping[Split, tuple[Split, ...]] = {
    "inner": ("train",),
    "search": ("train",),
    "confirm": ("search", "train"),
    "test": ("search", "train"),
}
"""Where a split that was not given is carved from: the first of these that was given."""


def family(name: str) -> str:
    """What names that a person would take for one share: "3 Star", "3 star" and "3  STAR".

    Differences of case, white space and Unicode composition count for nothing.
    """
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def check_ratios(ratios: Ratios) -> None:
    """Refuse what cannot be shares.

    Raises:
        ConfigError: a share is not positive, or there are not five.
    """
    if len(ratios) != len(SPLITS) or not all(0 < r < float("inf") for r in ratios):
        raise ConfigError(
            f"ratios: {list(ratios)!r} are no shares; allowed are five positive numbers, for "
            f"{', '.join(SPLITS)}, such as {list(RATIOS)}."
        )


def split_groups(
    groups: Sequence[str],
    *,
    seed: int,
    ratios: Ratios = RATIOS,
    given: Sequence[Split | None] = (),
    unit: str = "group",
    hardness: Mapping[str, float] | None = None,
) -> list[Split]:
    """The split of each of `groups`; a family of names (see `family`) stays whole.

    With `given`, those groups keep the split they came with, and only the splits that are missing
    are carved: `inner` from train, `confirm` from search, and so on.

    With `hardness`, of many deals the one is kept whose splits differ least in mean hardness. A
    split of two or three groups otherwise is easier or harder than the next by more than recipes
    differ. (Re-randomisation: Morgan & Rubin, Annals of Statistics 40(2), 2012.)

    Args:
        groups: names in any order, repeated as often as one likes.
        seed: another seed, another split.
        ratios: shares of the five splits, in their order; each gets one group at least.
        given: what the source says of each of `groups`, None where it says nothing.
        unit: what to call a group in an error; `train` takes two where the unit is a class.
        hardness: group -> a number known before any training, in any unit; a group that is not
            in it counts as average.

    Raises:
        DataError: too few groups for five splits, or a family that was given to two splits.
    """
    held: dict[str, Split] = {}
    for name, split in zip(groups, given or [None] * len(groups), strict=True):
        before = held.setdefault(family(name), split or "train")
        if before != (split or "train"):
            raise DataError(
                f"the {unit} {name!r} is in both {before} and {split or 'train'}; the splits here "
                f"are sets of whole {_many(unit)}, not of images. Merge the folders, and the "
                "split is drawn for you."
            )
    present = set(held.values())
    if "train" not in present:
        raise DataError(f"no {unit} is in train; got only {', '.join(sorted(present)) or 'none'}.")
    out = dict(held)
    weights = _weights(groups, hardness or {})
    for donor in SPLITS:
        takers = [s for s in SPLITS if s not in present and _donor(s, present) == donor]
        if takers:
            pool = sorted(f for f in held if held[f] == donor)
            out |= _carve(pool, [donor, *takers], seed, ratios, unit, weights)
    return [out[family(name)] for name in groups]


Weight = tuple[int, float]  # classes of a group, hardness above the average


def _donor(split: Split, present: Collection[Split]) -> Split:
    return next(d for d in _DONORS[split] if d in present)


def _many(unit: str) -> str:
    return f"{unit}es" if unit.endswith("s") else f"{unit}s"


def _weights(groups: Sequence[str], hardness: Mapping[str, float]) -> dict[str, Weight]:
    """Of each family: how often it is named, and how much harder than the average it is."""
    known = {family(name): value for name, value in hardness.items()}
    counts = Counter(family(name) for name in groups)
    total = sum(n for f, n in counts.items() if f in known)
    mean = sum(n * known[f] for f, n in counts.items() if f in known) / max(total, 1)
    return {f: (n, known.get(f, mean) - mean) for f, n in counts.items()}


def _carve(
    pool: Sequence[str],
    splits: Sequence[Split],
    seed: int,
    ratios: Ratios,
    unit: str,
    weights: Mapping[str, Weight],
) -> dict[str, Split]:
    splits = sorted(splits, key=SPLITS.index)
    least = np.array([2 if (s, unit) == ("train", "class") else 1 for s in splits])
    if len(pool) < least.sum():
        raise DataError(
            f"{len(pool)} {unit if len(pool) == 1 else _many(unit)} cannot be shared among "
            f"{', '.join(splits)}; {least.sum()} is the smallest number that works. "
            f"Add {_many(unit)}"
            + (", or give the classes in one level without groups." if unit == "group" else ".")
        )
    shares = np.array([ratios[SPLITS.index(s)] for s in splits])
    ends = np.cumsum(apportion(len(pool), shares, least))
    owner = np.searchsorted(ends, np.arange(len(pool)), side="right")
    order = _fairest(
        np.array([weights[f] for f in pool]), owner, Stream(seed).at("split", splits[0]).numpy()
    )
    return {pool[place]: splits[owner[i]] for i, place in enumerate(order)}


def _fairest(weights: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of the rows of `weights` [n, 2]: the first drawn, where none is fairer."""
    deals = _DEALS if weights[:, 1].any() else 1

    def unfairness(order: np.ndarray) -> float:
        count, off = weights[order].T
        means = np.bincount(owner, count * off) / np.bincount(owner, count)
        return float(np.abs(means).max())

    return min((rng.permutation(len(owner)) for _ in range(deals)), key=unfairness)


def apportion(total: int, shares: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Whole numbers near ``total * shares / sum(shares)``, none below `least`, that sum to `total`.

    Largest remainders first; what a floor at `least` costs is taken from the largest.
    """
    exact = total * shares / shares.sum()
    counts = np.maximum(np.floor(exact + 1e-9).astype(int), least)
    while counts.sum() < total:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > least, counts - exact, -np.inf))] -= 1
    return counts
