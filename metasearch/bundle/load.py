"""Reading a bundle: torch, numpy, safetensors and Pillow are enough, and nothing in it is run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from metasearch.algorithms.base import Adapter
from metasearch.algorithms.mixture import AnyAdapter, MixtureAdapter
from metasearch.bundle.adapted import Adaptation
from metasearch.bundle.base import FORMAT, RATES, WEIGHTS, Part, PartPlan, Plan, checksum
from metasearch.bundle.domains import by_domain
from metasearch.bundle.images import Images, prepare_all
from metasearch.engine.base import first_rates
from metasearch.errors import BundleError, ConfigError
from metasearch.models.base import Learner
from metasearch.registry import revive
from metasearch.rng import Stream
from metasearch.tasks.base import Shape, image_domains
from metasearch.tasks.tracing import traced
from metasearch.tasks.ways import alike


@dataclass(frozen=True)
class Bundle:
    """A meta-learned model: adapt it to a few images of a new class, then draw more of them."""

    folder: Path
    shape: Shape  # channels, height, width of what it was trained on
    border: float  # median of the outermost pixels of its training images
    parts: Sequence[Part]
    report: dict[str, Any]
    pen_steps: int | None = None  # of a drawing, where the model draws with a pen

    def __repr__(self) -> str:
        """One line: where it lies, what it is made of and what it draws."""
        made = " + ".join(part.adapter.learner.family.name for part in self.parts)
        return f"Bundle({str(self.folder)!r}, {made}, {'x'.join(map(str, self.shape))})"

    @property
    def adapter(self) -> AnyAdapter:
        """All parts as one."""
        if len(self.parts) == 1:
            return self.parts[0].adapter
        return MixtureAdapter(
            tuple(part.adapter for part in self.parts), tuple(part.weight for part in self.parts)
        )

    def adapt(
        self,
        images: Images | Mapping[str, Images],
        *,
        steps: int | None = None,
        seed: int = 0,
        labels: Sequence[int] | None = None,
    ) -> Adaptation:
        """Learn a new class from a few images of it; the bundle is left as it was.

        `images` are files, a folder, PIL images, or an array [n, h, w] or [n, h, w, c] with
        values 0-255 (integers) or 0-1; any size and mode. `steps` overrides the trained number.
        A model that goes by classes takes several, and of each image a label, from 0. A model that
        translates takes two domains: ``{"a": images, "b": images}``, or a folder that holds the
        folders trainA and trainB (or a and b). For a model that draws with a pen they are traced.

        Raises:
            DataError: there is no image, one cannot be read, or shows nothing that a pen could
                trace; labels are missing or do not fit; there are one domain or two where the model
                takes the other.
        """
        domains = by_domain(images, self.domains)
        support, inverted = prepare_all(domains, self.shape, self.border)
        if self.pen_steps:
            # Ink is where the border is not.
            ink = support["x"] if self.border < 0 else -support["x"]
            drawn = traced(ink, self.pen_steps)
            support["t"] = alike(drawn.unsqueeze(0), len(drawn)).squeeze(0)
        return Adaptation.learn(
            self.parts, support, steps=steps, seed=seed, inverted=inverted, labels=labels
        )

    @property
    def domains(self) -> tuple[str, ...]:
        """What its images are called: "x" alone, or "a" and "b" if it translates."""
        return image_domains(self.parts[0].adapter.learner.family.domains)


def load_bundle(folder: str | Path) -> Bundle:
    """Open a bundle.

    Raises:
        BundleError: a part is missing, was changed, or is of an unknown format.
    """
    folder = Path(folder)
    plan = _plan(folder)
    for name, want in plan.sha256.items():
        _check(folder / Path(name).name, want)
    weights = _weights(folder / WEIGHTS)
    parts = [
        Part(_adapter(part, plan.shape, _under(f"{i}.", weights), folder), part.weight)
        for i, part in enumerate(plan.parts)
    ]
    report = _read(folder, "report.json")
    return Bundle(folder, plan.shape, plan.border, parts, report, plan.pen_steps)


def _plan(folder: Path) -> Plan:
    data = _read(folder, "adaptation.json")
    if data.get("format") != FORMAT:
        raise BundleError(
            f"{folder}: bundle format {data.get('format')!r}; this version reads {FORMAT}. "
            "Load it with the version of metasearch in its constraints.txt."
        )
    try:
        plan: Plan = revive(Plan, data, "adaptation.json")
    except ConfigError as error:
        if absent := _absent(folder):
            raise BundleError(f"{folder}: needs {absent}. Install it here.") from error
        raise BundleError(f"{folder}: {error} Export the bundle again.") from error
    return plan


def _absent(folder: Path) -> str:
    """The plug-ins a bundle was made with and that are not installed, in words."""
    from metasearch.trial.rooms import missing

    found: dict[str, list[str]] = {}
    for name, source in missing(_read(folder, "provenance.json").get("plugins", {})).items():
        found.setdefault(source, []).append(name)
    return " and ".join(f"{source} for {', '.join(names)}" for source, names in found.items())


def _check(path: Path, want: str) -> None:
    try:
        found = checksum(path)
    except OSError as error:
        raise BundleError(
            f"{path}: missing ({error.strerror}). Export the bundle again."
        ) from error
    if found != want:
        raise BundleError(f"{path}: changed since it was exported. Export the bundle again.")


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot be read ({error}). Export the bundle again.") from error


def _adapter(plan: PartPlan, shape: Shape, weights: Mapping[str, Tensor], folder: Path) -> Adapter:
    try:
        # The stream is of no consequence: every weight is overwritten at once.
        learner = Learner.create(plan.model, shape, Stream(0))
        mine, rates = learner.parameters(), _under(RATES, weights)
        own = {name: x for name, x in weights.items() if not name.startswith(RATES)}
        odd = [n for n in own.keys() & mine.keys() if own[n].shape != mine[n].shape]
        if odd or rates.keys() != first_rates(learner, plan.inner).keys():
            raise ValueError(f"they are of another model, see {min(odd, default=RATES)!r}")
        learner.load(own)
    except (ValueError, RuntimeError) as error:  # torch's, of sizes that nobody can allocate
        raise BundleError(
            f"{folder / WEIGHTS}: the weights do not fit adaptation.json ({error}). "
            "Export the bundle again."
        ) from error
    return Adapter(learner, plan.inner, rates)


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        data = json.loads((folder / name).read_text("utf-8"))
    except OSError as error:
        raise BundleError(
            f"{folder}: not a bundle ({name} is missing). Make one with `metasearch export RUN`."
        ) from error
    except ValueError as error:
        raise BundleError(
            f"{folder / name}: not JSON ({error}). Export the bundle again."
        ) from error
    if not isinstance(data, dict):
        raise BundleError(f"{folder / name}: not a mapping. Export the bundle again.")
    return data
