"""Maximum mean discrepancy between generated and real images, in frozen features."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from metasearch.models import discrepancy
from metasearch.models.discrepancy import WIDTHS, radial
from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject, check_enough, finite_or_nan


@component
class MMD:
    """Unbiased MMD^2 per task between samples and query, times 100.

    Zero in expectation when both come from one distribution, and then as often negative as
    positive: it is not clipped, and has no square root. The kernel is 1 on average for a real image
    with itself, so 100 is a large value (blank images get about that), and images of another class
    get some tens.

    Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012, eq. 3; the polynomial of
    Binkowski et al., "Demystifying MMD GANs", 2018, section 4. Differs: the mean of three RBFs and
    the polynomial, each scaled to 1 at ``k(x, x)``; the bandwidth is not taken from the sets that
    are compared but once from train images, so that trials are measured with one ruler.
    """

    name: Literal["mmd"] = "mmd"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "100 MMD²"  # hundredths of a real image's kernel with itself
    proper: ClassVar[bool] = True
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 2  # a pair on each side

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], 100 MMD^2.

        Raises:
            DataError: fewer than two images on a side.
        """
        assert subject.features is not None, "the judge gives features to those who need them"
        check_enough(self, subject)
        scale = subject.features.scale
        return finite_or_nan(
            100 * mmd_squared(subject.sample_features, subject.query_features, scale)
        )


def mmd_squared(x: Tensor, y: Tensor, scale: float) -> Tensor:
    """The U-statistic of MMD^2 of each task [tasks] for features [tasks, n, d], [tasks, m, d]."""
    return discrepancy.mmd_squared(x.double(), y.double(), partial(kernel, scale=scale))


def kernel(x: Tensor, y: Tensor, scale: float) -> Tensor:
    """The mean of three RBFs and the cubic polynomial, [tasks, n, m].

    Features have mean squared norm 1 over train images, where the polynomial is ``(1 + 1)^3``.
    """
    polynomial = (x @ y.mT + 1) ** 3 / 8
    n = len(WIDTHS)
    return (polynomial + n * radial(x, y, scale, WIDTHS)) / (1 + n)
