"""Nets that somebody brings: the batched engine gives the loop's numbers, or leaves them to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop, Order
from metasearch.engine.batched import formulation
from metasearch.errors import ConfigError
from metasearch.models.base import Learner
from metasearch.rng import Stream
from metasearch.trial.precision import multiplying

TASKS, IMAGES, OUT = 3, 4, 8


class Own:
    """A family around one net; its loss is how far the answer lies from the first pixels."""

    name = "own"
    domains = ("x",)
    players: Mapping[str, tuple[str, ...]] = {"p": ("net",)}
    turns = ("p",)

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self._make = make

    def build(self, shape: Any) -> dict[str, nn.Module]:
        del shape
        return {"net": self._make().double()}

    def draw(self, like: Any, rng: Any, *, samples: int = 1) -> dict[str, Tensor]:
        del rng, samples
        return {"z": torch.zeros(len(like["x"]), 1)}

    def loss(self, player: str, nets: Any, batch: Any, noise: Any) -> Tensor:
        del player, noise
        x = batch["x"].double()
        y = nets["net"](x)
        return (y - x.flatten(1)[:, :OUT]).square().flatten(1).sum(1)

    def generate(self, nets: Any, given: Any, noise: Any) -> Any:
        raise NotImplementedError


def learner(make: Callable[[], nn.Module], shape: tuple[int, int, int] = (1, 8, 8)) -> Learner:
    return Learner.create(Own(make), shape, Stream(1).at("own"))


def agree(made: Learner, order: Order, steps: int = 3) -> None:
    """Losses, fast weights and meta-gradients of both engines are the same."""
    make = torch.Generator().manual_seed(0)
    x = torch.rand(TASKS * IMAGES, *made.shape, generator=make, dtype=torch.float64) * 2 - 1
    found = []
    for engine in (Batched(), Loop()):
        adapted = engine.open(made, TASKS, InnerLoop(steps=steps, lr=0.05), order=order)
        for _ in range(steps):
            adapted.step("p", made.family.loss("p", adapted.nets, {"x": x}, {}))
        loss = made.family.loss("p", adapted.nets, {"x": x}, {})
        values = adapted.meta_gradient({"p": loss}, order).values
        found.append(
            {"loss": loss.detach(), **adapted.state(1), **{f"d {n}": g for n, g in values.items()}}
        )
    ours, theirs = found
    for name, expected in theirs.items():
        torch.testing.assert_close(
            ours[name], expected, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )


class Zeroed(nn.Module):
    """Rows stand in the second place for a layer, and what follows begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, OUT)
        nn.init.zeros_(self.last.weight)
        self.hidden = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1)).reshape(len(x), 2, 8).transpose(0, 1)
        h = torch.tanh(self.hidden(torch.cat([h, h], -1)))  # [2, rows, 16]
        return self.last(h.sum(0))


class Clamped(nn.Module):
    """An answer that is changed in place, once it is large enough."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, OUT)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(1)).clamp_(-3, 3))


class Looked(nn.Module):
    """A row of a table for the brightness of the first pixel."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(6, OUT, **how), nn.Linear(64, OUT)

    def forward(self, x: Tensor) -> Tensor:
        row = (x.flatten(1)[:, 0] * 3 + 3).long().clamp(0, 5)
        return self.last(x.flatten(1)) * self.table(row)


class Centred(nn.Module):
    """Rows that depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, OUT)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(x.flatten(1))
        return y - y.mean(0)


class Attending(nn.Module):
    """torch's own attention over the rows of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.ask, self.last = nn.Linear(8, 24), nn.Linear(64, OUT)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.ask(x.squeeze(1)).chunk(3, -1)
        return self.last(F.scaled_dot_product_attention(q, k, v).flatten(1))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        Zeroed,
        Clamped,
        Looked,
        lambda: Looked(padding_idx=3),
        lambda: Looked(scale_grad_by_freq=True),
        Centred,
    ],
    ids=["zeroed", "clamped", "looked", "padded", "by frequency", "centred"],
)
def test_what_a_net_does_of_its_own_changes_no_number(make, order):
    made = learner(make)
    with torch.no_grad():
        for p in made.parameters().values():
            p.mul_(4)  # beyond what a net is tried with
    agree(made, order)


@pytest.mark.parametrize("make", [Centred, Zeroed])
def test_rows_that_depend_on_each_other_do_so_within_a_task_before_any_step(make):
    agree(learner(make), 1, steps=0)


def test_torchs_attention_has_second_derivatives_in_a_meta_step():
    with multiplying("float32", "cpu"):
        agree(learner(Attending), 2)


@pytest.mark.parametrize(
    "norm", [nn.InstanceNorm2d(16), nn.GroupNorm(4, 16, affine=False)], ids=["instance", "group"]
)
def test_a_norm_without_scales_is_no_reason_for_the_loop(norm):
    made = learner(
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, bias=False), norm, nn.SiLU(), nn.Flatten(), nn.Linear(576, OUT)
        )
    )
    assert formulation(made) is not None
    agree(made, 1)


@pytest.mark.parametrize("shape", [(1, 8, 7), (1, 7, 10)])
def test_images_need_not_be_square(shape):
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, OUT),
        )

    made = learner(make, shape)
    assert formulation(made) is not None
    for order in (1, 2):
        agree(made, order)


def test_a_label_that_no_row_has_is_refused_and_not_taken_from_the_next_task():
    made = learner(lambda: nn.Sequential(Rows(), nn.Embedding(6, OUT)))
    adapted = Batched().open(made, 2, InnerLoop(steps=1))
    for wrong in (-1, 6):
        labels = torch.zeros(4, 1, 8, 8, dtype=torch.float64)
        labels[1] = wrong  # of the first task
        with pytest.raises(IndexError, match="rows 0 to 5"):
            adapted.nets["net"](labels)


class Rows(nn.Module):
    """The first pixel as a label."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, 0, 0].long()


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (lambda: nn.Linear(64, OUT).requires_grad_(False), "net.1.weight is frozen"),
        (lambda: nn.LazyLinear(OUT), "net.1.weight gets its shape at the first call"),
    ],
)
def test_parameters_that_cannot_be_trained_are_refused(last, said):
    with pytest.raises(ConfigError, match=said):
        learner(lambda: nn.Sequential(nn.Flatten(), last()))


def test_a_parameter_of_two_nets_is_refused():
    one = nn.Linear(64, OUT)
    family = Own(lambda: one)
    family.build = lambda shape: {"net": one, "other": nn.Sequential(one)}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"other.0.weight is a parameter of net as well"):
        Learner.create(family, (1, 8, 8), Stream(0))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(64, OUT)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(64, OUT)),
    ],
    ids=["dropout", "spectral"],
)
def test_nets_that_answer_differently_the_second_time_are_refused(layer):
    made = learner(lambda: nn.Sequential(nn.Flatten(), layer()))
    with pytest.raises(ConfigError, match="differs from one call to the next"):
        Batched().open(made, 2, InnerLoop(steps=1))
