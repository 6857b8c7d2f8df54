"""Statistics of all tasks' images together, told as one number per task."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metasearch.scores.base import Score, Subject, check_enough


def relative(score: Score, subject: Subject) -> tuple[Tensor, Tensor, Tensor]:
    """Samples [t, n, d] and query [t, m, d] of the tasks that did not diverge, and which those are.

    Features are relative to the mean of their task's support, in units in which real images of a
    class vary by about 1: all tasks may then be put into one heap, and an image of another class
    still stands out in it, as it would not among the bare features of all classes.

    Raises:
        DataError: fewer than ``score.least`` images on a side.
    """
    assert subject.features is not None, "the judge gives features to those who need them"
    check_enough(score, subject)
    keep = finite_tasks(subject)
    middle = subject.support_features[keep].double().mean(1, keepdim=True)
    # Two independent draws are apart by the root of twice their variance.
    unit = subject.features.scale / math.sqrt(2)
    samples, query = (
        (side[keep].double() - middle) / unit
        for side in (subject.sample_features, subject.query_features)
    )
    return samples, query, keep


def finite_tasks(subject: Subject) -> Tensor:
    """Which tasks did not diverge, bool [tasks]."""
    return subject.sample_features.isfinite().all(2).all(1)


def spread_out(values: Tensor, keep: Tensor) -> Tensor:
    """Values of some tasks to [tasks] float64, with NaN for the others."""
    found = torch.full(keep.shape, torch.nan, dtype=torch.float64, device=values.device)
    found[keep] = values.double()
    return found


def jackknife(whole: Tensor, without: Tensor) -> Tensor:
    """Pseudo-values [tasks] of a statistic of all tasks together.

    Their mean is the statistic without its bias of the order of one over the number of images,
    and their spread says how uncertain that is. `whole` [] is the statistic of all tasks,
    `without` [tasks] of all but one.

    Source: Tukey, "Bias and Confidence in Not-quite Large Samples", Ann. Math. Stat. 29, 1958.
    """
    n = len(without)
    return n * whole - (n - 1) * without if n > 1 else whole.reshape(1)
