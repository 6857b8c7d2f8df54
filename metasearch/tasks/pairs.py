"""The embedded pairs: from one design of the alphabet to another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from metasearch.errors import ConfigError, DataError
from metasearch.registry import component
from metasearch.tasks.base import SPLITS, LeakReport, TaskId
from metasearch.tasks.designs import Design, designs, render
from metasearch.tasks.leakage import blur, unseen_before
from metasearch.tasks.licence import FONTS
from metasearch.tasks.pair_tasks import Pair, PairTasks, needed
from metasearch.tasks.reading import check_settings

SMALLEST, LARGEST = 12, 128
NEAR_TWIN = 0.95
"""The mean cosine over shared characters from which on two designs count as one."""


@component
class Pairs:
    """A task leads from one design of letters to another: another font, or the font redrawn.

    Source and target differ either in the font or in how it is redrawn, not in both; each pair
    counts in both directions. Support shows different characters in the two domains; the query
    shows the same, which nobody adapts to, so that translations can be compared with the truth.

    Fonts are dealt to splits by family, ways of redrawing by kind: train DejaVu Sans and Mono
    (thick, thin, lean, turn, narrow), inner cmss10 and cmtt10 (small), search STIX, cmr10 and cmb10
    (lean-back, flat, wave), confirm STIX Italic (turn-back, climb, fat), test DejaVu Serif (sink,
    light, bulge). So no design of an unseen split was seen, nor was its font, nor its way of being
    redrawn. Letters were: an A is in every split. A picture that equals one of an earlier split is
    taken out.
    """

    name: Literal["pairs"] = "pairs"
    size: int = 28  # pixels a side, 12 to 128
    shot: int = 10  # of each domain
    query: int = 10
    anchor: int = 10
    redrawn: bool = True  # whether redrawn fonts are designs too; without, search has 2 tasks

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be drawn."""
        check_settings(self.size, self.shot, self.query, self.anchor)
        if not SMALLEST <= self.size <= LARGEST:
            raise ConfigError(
                f"pairs: size {self.size} cannot be drawn well; "
                f"allowed is {SMALLEST} to {LARGEST} pixels a side."
            )

    @property
    def paired(self) -> bool:
        """The right translation of every query image is known."""
        return True

    @property
    def licence(self) -> str:
        """Terms of the images."""
        return FONTS

    def open(self) -> PairTasks:
        """Draw every design, and check for leaks: a few seconds.

        Raises:
            DataError: matplotlib's fonts are not the ones the tasks were chosen from, or an
                episode takes more characters than two designs of a split share.
            EnvironmentFault: matplotlib is not installed.
        """
        made = designs(redrawn=self.redrawn)
        images, owner, char = render(made, self.size)
        fresh = unseen_before(images, [SPLITS.index(made[i].split) for i in owner.tolist()])
        rows = [
            dict(zip(char[mine].tolist(), np.flatnonzero(mine).tolist(), strict=True))
            for mine in (fresh & (owner == i) for i in range(len(made)))
        ]
        leaks = twins(made, images, rows)
        gone = set(leaks.dropped)
        kept = [(d, r) for d, r in zip(made, rows, strict=True) if d.name not in gone]
        tasks = {
            f"{a.name}/{b.name}": pair_of(a, mine, theirs)
            for (a, mine), (b, theirs) in permutations(kept, 2)
            if a.split == b.split and (a.font == b.font) != (a.change == b.change)
        }
        tasks, lacking = self._large_enough(tasks)
        notes = {
            "designs": len(kept),
            "seen_pictures_dropped": int((~fresh).sum()),
            "small_tasks_dropped": lacking,
        }
        return PairTasks(images, tasks, leaks=leaks, paired=True, notes=notes)

    def _large_enough(self, tasks: dict[TaskId, Pair]) -> tuple[dict[TaskId, Pair], int]:
        """The tasks that share enough characters for an episode, and how many do not."""
        later = self.query + self.anchor
        lacks = {name: needed(p, self.shot, later, paired=True) for name, p in tasks.items()}
        kept = {name: pair for name, pair in tasks.items() if not lacks[name]}
        for split in SPLITS:
            if any(pair.split == split for pair in kept.values()):
                continue
            small = [f"{n} {lacks[n]}" for n, pair in tasks.items() if pair.split == split]
            if not small:
                raise DataError(
                    f"pairs: at size {self.size} the designs of split {split} are too much like "
                    "those of earlier splits. Raise the size, or say `redrawn: true`."
                )
            raise DataError(
                f"pairs: no task of split {split} is large enough: {small[0]} "
                "Lower shot, query or anchor."
            )
        return kept, len(tasks) - len(kept)


def pair_of(a: Design, mine: dict[int, int], theirs: dict[int, int]) -> Pair:
    """The task from design `a`, given the rows of both designs by character."""
    shared = sorted(mine.keys() & theirs.keys())
    rows = (np.array([side[c] for c in shared], int) for side in (mine, theirs))
    return Pair(a.name, a.split, *rows)


def twins(made: Sequence[Design], images: np.ndarray, rows: Sequence[dict[int, int]]) -> LeakReport:
    """The designs that nearly equal one of an earlier split, which are to be dropped.

    They are compared on the characters that all of them have.
    """
    shared = sorted(set.intersection(*(set(mine) for mine in rows)))
    chosen = images[[[mine[c] for c in shared] for mine in rows]]  # [designs, shared, 1, h, w]
    flat = blur(torch.from_numpy(chosen).float().flatten(0, 1)).flatten(1)
    unit = F.normalize(flat, dim=1).reshape(len(made), -1)
    cosine = (unit @ unit.T / len(shared)).numpy()
    level = np.array([SPLITS.index(d.split) for d in made])
    gone: dict[int, str] = {}
    for i, j in np.argwhere((cosine >= NEAR_TWIN) & (level[:, None] > level)).tolist():
        if i not in gone and j not in gone:
            later, earlier = (f"{made[k].name} ({made[k].split})" for k in (i, j))
            gone[i] = f"{later} nearly equals, cosine {cosine[i, j]:.3f}, {earlier}"
    return LeakReport(0, 0, tuple(sorted(made[i].name for i in gone)), tuple(gone.values()))
