"""What rows are told beside their images, for families that ask: a set to be like, the progress.

An image must never hear itself: a loss would then reward copying. So whoever turns an episode into
rows does it here.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from metasearch.models.base import GenerativeModel, Net, cycled, rows
from metasearch.tasks.base import DERIVED, Batch, Episodes, image_domains


def conditioned(
    family: GenerativeModel, episodes: Episodes, *, progress: float | None = None
) -> Episodes:
    """The episodes with all that `family` asks for and no source offers; as they are, if nothing.

    A query image is given the whole support of its task, a support image the rest of it. Where
    rows have labels, an image hears those of its class.
    """
    if not set(DERIVED) & set(family.domains):
        return episodes
    tasks = len(episodes.tasks)
    support, query = conditioned_support(family, episodes.support, tasks), episodes.query
    if "given" in family.domains:
        query = {**query, **_given(family, query, episodes.support, tasks)}
    if progress is not None and "progress" in family.domains:
        support, query = (_at(batch, progress) for batch in (support, query))
    return replace(episodes, support=support, query=query)


def conditioned_support(family: GenerativeModel, support: Batch, tasks: int) -> Batch:
    """Each task's support images, of which each is given all others of its task."""
    if "given" not in family.domains:
        return support
    told = _given(family, support, support, tasks)
    if n := rows(support) // tasks:
        told["heard"] &= ~torch.eye(n, dtype=torch.bool, device=told["heard"].device).repeat(
            tasks, 1
        )
    return {**support, **told}


def rows_to_draw(family: GenerativeModel, support: Batch, tasks: int, n: int) -> Batch:
    """What `n` images a task are drawn for: its support rows in turn.

    Each hears all of the support; where a class is asked for, all of that.
    """
    given = cycled(support, tasks, n)
    if "given" not in family.domains:
        return given
    return {**given, **_given(family, given, support, tasks)}


def each_set_once(net: Net, batch: Batch) -> Tensor:
    """What `net` makes of every image given, [rows, k, ...]; one call for rows that share a set."""
    given = batch["given"]
    k = given.shape[1]
    if torch.compiler.is_exporting():  # a program cannot look at which rows share a set
        found = net(given.flatten(0, 1))
        return found.reshape(-1, k, *found.shape[1:])
    _, lengths = torch.unique_consecutive(batch["set"], return_counts=True)
    shared = int(lengths[0]) if bool((lengths == lengths[0]).all()) else 1
    found = net(given[::shared].flatten(0, 1))
    return found.reshape(-1, k, *found.shape[1:]).repeat_interleave(shared, 0)


def _given(family: GenerativeModel, batch: Batch, support: Batch, tasks: int) -> dict[str, Tensor]:
    """Every row of `batch` is given all support images of its task, and hears them.

    A row with a label hears those that are known to be of its class, if the family goes by labels.
    Where a task has no image, rows are given a blank one that they do not hear.
    """
    images = support[image_domains(family.domains)[0]]
    n, blank = rows(batch) // tasks, len(images) == 0
    if blank:
        images = images.new_zeros(tasks, *images.shape[1:])
    sets = images.reshape(tasks, -1, *images.shape[1:])
    given = sets.unsqueeze(1).expand(-1, n, *sets.shape[1:]).flatten(0, 1)
    heard = torch.full(given.shape[:2], not blank, device=images.device)
    if "y" in family.domains and not blank:
        theirs = support["y"].reshape(tasks, -1).repeat_interleave(n, 0)
        mine = batch["y"].unsqueeze(1)
        heard &= (mine < 0) | (mine == theirs)
    return {
        "given": given,
        "heard": heard,
        "set": torch.arange(tasks, device=images.device).repeat_interleave(n),
    }


def _at(batch: Batch, progress: float) -> Batch:
    images = next(iter(batch.values()))
    return {**batch, "progress": images.new_full((len(images),), progress)}
