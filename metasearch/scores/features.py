"""Frozen features: where scores of samples compare images. Learned on `train` tasks alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from metasearch.errors import DataError
from metasearch.models.base import rows
from metasearch.rng import Stream, global_torch_draws_from
from metasearch.scores.base import by_task
from metasearch.tasks.base import Shape, TaskDistribution, TaskId, image_domains
from metasearch.tasks.cache import cached, key_of
from metasearch.tasks.wrapping import ruler_of

Kind = Literal["prototypes", "random", "pixels"]

WIDTHS = (16, 32, 64, 64)  # channels of the four blocks
DIM = 64
WAYS, SHOT, QUERY = 40, 1, 2  # of a training episode
RATE = 2e-3
RULER_TASKS, RULER_IMAGES = 200, 5  # train images that set centre, spread and scale
AT_ONCE = 512  # images embedded at once: bounds memory


@dataclass(frozen=True, eq=False)
class ConvFeatures:
    """A frozen net, followed by a shift and a factor.

    Over train images features have mean 0 and mean squared norm 1. Rows do not see each other.
    """

    kind: Kind
    shape: Shape
    data: str  # fingerprint of the source it was learned on
    trunk: nn.Module
    center: Tensor  # [d]
    spread: float
    scale: float  # the median distance between two real images of one train task

    def __call__(self, images: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] to features [n, d] float32, without gradients.

        Raises:
            DataError: images of another shape.
        """
        if tuple(images.shape[1:]) != self.shape:
            raise DataError(
                f"features were learned on images of shape {self.shape}, got "
                f"{tuple(images.shape[1:])}. Learn them on the source that is judged."
            )
        with torch.no_grad():
            parts = [
                self.trunk(x.to(self.center.device)) for x in torch.split(images.float(), AT_ONCE)
            ]
            return ((torch.cat(parts) - self.center) / self.spread).to(images.device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over weights, centre, spread and scale."""
        digest = hashlib.sha256(json.dumps([self.kind, self.shape]).encode())
        for name, value in sorted(self.state().items()):
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.numpy().tobytes())
        return digest.hexdigest()

    def state(self) -> dict[str, Tensor]:
        """All its numbers by name, for `from_state`."""
        numbers = {
            "center": self.center,
            "spread": torch.tensor(self.spread, dtype=torch.float64),
            "scale": torch.tensor(self.scale, dtype=torch.float64),
        }
        return numbers | {f"trunk.{k}": v.contiguous() for k, v in self.trunk.state_dict().items()}

    @staticmethod
    def from_state(
        kind: Kind, shape: Shape, data: str, state: Mapping[str, Tensor]
    ) -> ConvFeatures:
        """The features whose `state` this is.

        Raises:
            DataError: names or shapes do not fit.
        """
        with global_torch_draws_from(Stream(0)):
            trunk = build_trunk(kind, shape)
        weights = {k.removeprefix("trunk."): v for k, v in state.items() if k.startswith("trunk.")}
        try:
            trunk.load_state_dict(weights)
            spread, scale = (float(state[name]) for name in ("spread", "scale"))
            return ConvFeatures(kind, shape, data, _frozen(trunk), state["center"], spread, scale)
        except (KeyError, RuntimeError) as fault:
            raise DataError(f"features: not the weights of {kind!r} at {shape}: {fault}") from fault

    def save(self, path: Path) -> None:
        """Write a safetensors file, with kind, shape, data and fingerprint as its metadata."""
        about = {
            "format": "1",
            "kind": self.kind,
            "shape": json.dumps(self.shape),
            "data": self.data,
            "scale": repr(self.scale),
            "fingerprint": self.fingerprint,
        }
        path.write_bytes(save(self.state(), about))  # `save_file` lets nobody else read it

    @staticmethod
    def load(path: Path) -> ConvFeatures:
        """Read what `save` wrote; its fingerprint is checked.

        Raises:
            DataError: the file is missing, damaged, or something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about.get("kind") not in get_args(Kind):
                raise ValueError(f"kind {about.get('kind')!r}, known: {', '.join(get_args(Kind))}")
            channels, height, width = json.loads(about["shape"])
            shape = (channels, height, width)
            found = ConvFeatures.from_state(about["kind"], shape, about["data"], state)
            if found.fingerprint != about["fingerprint"]:
                raise ValueError("its numbers do not match its fingerprint")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as fault:
            raise DataError(
                f"{path}: no features can be read from it ({fault}). Learn them again."
            ) from fault
        return found


def learn_features(
    source: TaskDistribution, seed: int = 0, steps: int | None = None
) -> ConvFeatures:
    """Learn features by telling train tasks apart, about ten seconds on one core.

    The steps follow from the image size, so that the result is a function of source and seed.

    Source: Snell et al., "Prototypical Networks for Few-shot Learning", 2017, algorithm 1. Differs:
    strided convolutions in the place of pooling, and group norm from the second block on, for
    batch norm: the first block leaves contrast visible.

    Raises:
        DataError: fewer than two train tasks, or tasks of too few images.
    """
    source = ruler_of(source)
    names = _usable(source, SHOT + QUERY)
    place = Stream(seed).at("features")
    pixels = source.shape[1] * source.shape[2]
    steps = steps or min(600, max(120, 400 * 28 * 28 // pixels))
    domains = image_domains(source.domains)
    with one_thread(), global_torch_draws_from(place.at("weights")):
        trunk = build_trunk("prototypes", source.shape)
        optimizer = torch.optim.Adam(trunk.parameters(), RATE)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
            domain = domains[step % len(domains)]
            loss = _episode_loss(trunk, source, names, place.at("episode", step), domain)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return _measured("prototypes", trunk, source, place)


def random_features(source: TaskDistribution, seed: int = 0) -> ConvFeatures:
    """The same net before learning: for cross-checks.

    Raises:
        DataError: fewer than two train tasks, or tasks of too few images.
    """
    place = Stream(seed).at("features")
    with one_thread(), global_torch_draws_from(place.at("weights")):
        return _measured("random", build_trunk("random", source.shape), source, place)


def pixel_features(source: TaskDistribution, seed: int = 0) -> ConvFeatures:
    """No net at all: for cross-checks.

    Raises:
        DataError: fewer than two train tasks, or tasks of too few images.
    """
    trunk = build_trunk("pixels", source.shape)
    return _measured("pixels", trunk, source, Stream(seed).at("features"))


def cached_features(source: TaskDistribution, seed: int = 0) -> ConvFeatures:
    """`learn_features`, kept in the user's cache folder under the data, the seed and this file.

    Raises:
        DataError: fewer than two train tasks, or tasks of too few images.
    """
    source = ruler_of(source)
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    key = key_of([source.fingerprint, source.shape, seed, code])
    arrays = cached(
        "features",
        key,
        lambda: {name: v.numpy() for name, v in learn_features(source, seed).state().items()},
    )
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return ConvFeatures.from_state("prototypes", source.shape, source.fingerprint, state)


def build_trunk(kind: Kind, shape: Shape) -> nn.Module:
    """A net with fresh weights: four blocks that halve the image to 4x4, then `DIM` numbers."""
    if kind == "pixels":
        return nn.Flatten()
    channels, height, width = shape
    layers: list[nn.Module] = []
    for i, out in enumerate(WIDTHS):
        stride = 2 if max(height, width) > 4 else 1
        layers.append(nn.Conv2d(channels, out, 3, stride=stride, padding=1))
        if i > 0:
            layers.append(nn.GroupNorm(8, out))
        layers.append(nn.ReLU())
        channels, height, width = out, -(-height // stride), -(-width // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, DIM))


def _episode_loss(
    trunk: nn.Module, source: TaskDistribution, names: Sequence[TaskId], rng: Stream, domain: str
) -> Tensor:
    """Cross-entropy of the query's classes under softmax of -squared distance to prototypes."""
    ways = min(WAYS, len(names))
    chosen = [names[i] for i in rng.at("ways").numpy().choice(len(names), ways, replace=False)]
    episodes = source.episodes(chosen, shot=SHOT, query=QUERY, rng=rng)
    images = torch.cat([episodes.support[domain], episodes.query[domain]])
    support, query = trunk(images).split([ways * SHOT, ways * QUERY])
    prototypes = by_task(support, ways).mean(1)
    # |q|^2 is the same for every class of a query, and the softmax does not see it.
    logits = 2 * query @ prototypes.T - prototypes.square().sum(1)
    return F.cross_entropy(logits, torch.arange(ways).repeat_interleave(QUERY))


def _measured(
    kind: Kind, trunk: nn.Module, source: TaskDistribution, place: Stream
) -> ConvFeatures:
    """Freeze a trunk and lay the ruler to it: centre, spread and scale of train images."""
    names = _usable(source, 2)
    draw = place.at("ruler").numpy().permutation(len(names))[:RULER_TASKS]
    chosen = [names[i] for i in sorted(draw)]
    count = min(RULER_IMAGES, *(rows(source.images(name)) for name in chosen))
    images = source.episodes(chosen, shot=max(2, count), query=0, rng=place.at("ruler")).support
    raw = ConvFeatures(kind, source.shape, "", _frozen(trunk), torch.zeros(()), 1.0, 1.0)
    found = torch.cat([by_task(raw(images[d]), len(chosen)) for d in image_domains(images)])
    flat = found.flatten(0, 1)
    center = flat.mean(0)
    spread = max(float((flat - center).square().sum(1).mean().sqrt()), 1e-12)
    pairs = torch.ones(found.shape[1], found.shape[1]).triu(1).bool()
    scale = max(float(torch.cdist(found, found)[:, pairs].median()) / spread, 1e-6)
    return ConvFeatures(kind, source.shape, source.fingerprint, trunk, center, spread, scale)


def _usable(source: TaskDistribution, least: int) -> list[TaskId]:
    """The train tasks that store `least` images, or all of them if a source draws anew."""
    names = list(source.tasks("train"))
    enough = [name for name in names if rows(source.images(name)) >= least]
    found = enough if len(enough) >= 2 else names
    if len(found) < 2:
        raise DataError(
            f"features: the source has {len(found)} train tasks; it takes at least 2 to learn how "
            "tasks differ. Add classes, or give `train` a larger share of the split."
        )
    return found


def _frozen(trunk: nn.Module) -> nn.Module:
    return trunk.eval().requires_grad_(requires_grad=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them; features must not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
