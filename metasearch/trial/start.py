"""Weights that a trial begins with, in the place of random ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from metasearch.errors import RunError
from metasearch.models.base import Learner
from metasearch.registry import component
from metasearch.trial.checkpoint import MANIFEST, Frozen


@component
class Start:
    """A checkpoint of another trial, of which the weights of the models are taken and no more.

    Outer optimisers, learned rates and rules begin anew, and the budget is counted from here. The
    checksum makes a score a function of the recipe again: with other weights there, nothing runs.
    """

    checkpoint: str  # its folder; in a run, seen from the run's
    sha256: str  # of its manifest, in which those of all its files stand

    @staticmethod
    def at(checkpoint: Path, below: Path) -> Start:
        """The start that a checkpoint inside a run folder is.

        Raises:
            RunError: there is no whole checkpoint.
        """
        return Start(
            checkpoint=checkpoint.relative_to(below).as_posix(), sha256=_checksum(checkpoint)
        )

    def give(self, learners: Sequence[Learner], device: str) -> None:
        """Load the weights into the models of a trial, one by one.

        Raises:
            RunError: the checkpoint is gone or was changed, or is of other models.
        """
        folder = Path(self.checkpoint)
        if _checksum(folder) != self.sha256:
            raise RunError(
                f"{folder}: not the checkpoint that trial.start names, its sha256 differs. "
                "Restore it, or begin without `start`."
            )
        tensors = Frozen.load(folder, device).tensors
        for i, learner in enumerate(learners):
            weights = tensors.get(f"model-{i}", {})
            mine = learner.parameters()
            odd = [n for n, p in mine.items() if n not in weights or weights[n].shape != p.shape]
            if odd:
                raise RunError(
                    f"{folder}: its weights do not fit models[{i}], see {odd[0]!r}. A trial can "
                    "start from one with the same models only."
                )
            learner.load({name: weights[name] for name in mine})


def _checksum(checkpoint: Path) -> str:
    try:
        return hashlib.sha256((checkpoint / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(
            f"{checkpoint}: no whole checkpoint to start from ({error.strerror})."
        ) from error
