"""An adapted generator as a program that runs without this package: torch.export, or ONNX."""

from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from metasearch.bundle.adapted import Adaptation, even
from metasearch.errors import ConfigError, DataError, EnvironmentFault
from metasearch.models.base import GenerativeModel, Noise, rows
from metasearch.models.conditions import rows_to_draw
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, image_domains

if TYPE_CHECKING:
    from torch.export import ExportedProgram

KINDS = (".pt2", ".onnx")
CLOSE = 1e-5  # what a program may differ from the model it was made of
_TRIED = (1, 5)  # rows that a written program is run on
LONGEST = 2500  # operations, one after another; 1,800 take minutes, and more the square of it
_ONNX = {"onnx", "onnxscript", "onnx_ir", "onnxruntime"}


class Program(nn.Module):
    """Noise, by name, to images [n, c, h, w] in [0, 1]; of a translator, images of "a" to "b".

    The support and the weights adapted to it are inside.
    """

    def __init__(self, adaptation: Adaptation) -> None:
        super().__init__()
        (adapted, _), *_ = adaptation.parts
        learner = adapted.learner
        self.family: GenerativeModel = learner.family
        self.nets = nn.ModuleDict({net: copy.deepcopy(m) for net, m in learner.nets.items()})
        own = {f"{net}.{k}": p for net, m in self.nets.items() for k, p in m.named_parameters()}
        with torch.no_grad():
            for name, value in adapted.state(0).items():
                own[name].copy_(value)
        self.support = even(adaptation.support)
        self.inverted = adaptation.inverted
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The images of as many rows as each input has."""
        if self.translates:
            x = 2 * inputs["a"] - 1
            given: Batch = {"a": -x if self.inverted else x, "b": x}
            noise: Noise = {}
        else:
            given = rows_to_draw(self.family, self.support, 1, rows(inputs))
            noise = inputs
        made = self.family.generate(dict(self.nets.items()), given, noise)
        light = (made[image_domains(made)[0]].clamp(-1, 1) + 1) / 2
        return 1 - light if self.inverted else light

    @property
    def translates(self) -> bool:
        """Whether it takes images over, and draws none."""
        return len(image_domains(self.family.domains)) == 2

    def inputs(self, n: int) -> dict[str, Tensor]:
        """What drawing `n` images takes, with values as they are drawn."""
        if self.translates:
            domain = image_domains(self.family.domains)[0]
            light = (self.support[domain] + 1) / 2
            light = 1 - light if self.inverted else light
            return {"a": light[torch.arange(n) % len(light)]}
        given = rows_to_draw(self.family, self.support, 1, n)
        noise = _Watched(self.family.draw(given, Stream(0).at("program")))
        with torch.no_grad():
            self.family.generate(dict(self.nets.items()), given, noise)
        return {key: noise[key].contiguous() for key in sorted(noise.read)}


class _Watched(dict[str, Tensor]):
    """Remembers what was asked of it: a family draws more than its samples need."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.read.add(key)
        return super().__getitem__(key)


def write_program(adaptation: Adaptation, path: Path) -> dict[str, Any]:
    """Write the adapted generator, try what was written, and tell how exact it is.

    Returns its "inputs" by name, each with its "shape" and how it is "drawn", its "output", and
    the largest "difference" of its images from those of the model.

    Raises:
        ConfigError: `path` ends neither in .pt2 nor in .onnx.
        DataError: it is a mixture, draws in too many steps, or torch cannot trace the family.
        EnvironmentFault: a package for ONNX is missing, or what was written draws other images.
    """
    if path.suffix not in KINDS:
        raise ConfigError(f"{path}: a program ends in {' or '.join(KINDS)}. Name it so.")
    if len(adaptation.parts) > 1:
        raise DataError(
            f"this bundle is a mixture of {len(adaptation.parts)} models, and a program holds one. "
            "Export a single trial: `metasearch export RUN --ensemble none`."
        )
    program = Program(adaptation)
    if (steps := operations(program)) > LONGEST:
        raise DataError(
            f"the family {program.family.name!r} draws an image in {steps:,} operations one after "
            f"another; up to {LONGEST:,} are traced, for the time grows with their square. "
            "Draw from the bundle in Python, or choose a family that draws at once."
        )
    traced = _traced(program)
    said = about(program)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        (_write_onnx if path.suffix == ".onnx" else _write_pt2)(traced, draft, said)
        difference = max(_difference(program, draft, n) for n in _TRIED)
        if not difference <= CLOSE:
            raise EnvironmentFault(
                f"{path}: what was written draws images that differ by {difference:.2g} from the "
                f"model's; at most {CLOSE:g} is allowed. Use the other of {' and '.join(KINDS)}."
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return {"file": str(path), **said, "difference": difference}


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch is asked to do."""

    calls = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def operations(program: Program) -> int:
    """How many operations draw an image, one after another."""
    inputs = program.inputs(1)
    with torch.no_grad(), _Counted() as counted:  # type: ignore[no-untyped-call]
        program(inputs)
    return counted.calls


def _traced(program: Program) -> ExportedProgram:
    example = program.inputs(3)
    shapes = {"inputs": {key: {0: torch.export.Dim.DYNAMIC} for key in example}}
    try:
        return torch.export.export(program, (example,), dynamic_shapes=shapes)
    except Exception as error:
        raise DataError(
            f"the family {program.family.name!r} cannot be written as a program: torch.export "
            f"says {str(error).strip().splitlines()[0]!r}. Draw from the bundle in Python."
        ) from error


def about(program: Program) -> dict[str, Any]:
    """What whoever runs it has to know."""
    found = {
        key: {"shape": ["n", *x.shape[1:]], "drawn": "images" if program.translates else _law(x)}
        for key, x in program.inputs(64).items()
    }
    return {"inputs": found, "output": "images [n, c, h, w] in [0, 1]"}


def _law(x: Tensor) -> str:
    """How noise is distributed, told by looking at 64 rows of it."""
    if not x.is_floating_point():
        return f"whole numbers from 0 to {int(x.max())}"
    within = bool((x >= 0).all()) and bool((x <= 1).all())
    return "uniform in [0, 1)" if within else "standard normal"


def _write_pt2(traced: ExportedProgram, path: Path, said: Mapping[str, Any]) -> None:
    torch.export.save(traced, path, extra_files={"about.json": json.dumps(said)})


def _write_onnx(traced: ExportedProgram, path: Path, said: Mapping[str, Any]) -> None:
    names = list(said["inputs"])
    try:
        with _quiet():
            written = torch.onnx.export(
                traced,
                input_names=names,
                output_names=["images"],
                dynamo=True,
                optimize=False,  # whoever runs it optimises; of a long program it takes minutes
                verbose=False,
            )
        assert written is not None, "it returns a program unless told a file"
        written.model.metadata_props["about"] = json.dumps(said)
        written.save(path)
    except ModuleNotFoundError as error:
        raise _missing(error) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks of packages that are not needed and of its own parts' old age."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _missing(error: ModuleNotFoundError) -> EnvironmentFault:
    if (error.name or "").partition(".")[0] not in _ONNX:
        raise error
    return EnvironmentFault(
        f"{error.name} is not installed. ONNX needs it: pip install 'metasearch[onnx]'"
    )


def _difference(program: Program, path: Path, n: int) -> float:
    """The largest difference of a pixel between what was written and the model."""
    inputs = program.inputs(n)
    with torch.no_grad():
        wanted = program(inputs).numpy()
    found = (_run_onnx if path.suffix == ".onnx" else _run_pt2)(path, inputs)
    return float(np.abs(found - wanted).max())


def _run_pt2(path: Path, inputs: Mapping[str, Tensor]) -> np.ndarray:
    found: Tensor = torch.export.load(path).module()(dict(inputs))
    return found.numpy()


def _run_onnx(path: Path, inputs: Mapping[str, Tensor]) -> np.ndarray:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {key: x.numpy() for key, x in inputs.items()})
    return found
