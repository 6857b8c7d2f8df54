"""What runs trials, and the desk it works for: orders out, messages back, nothing else.

A backend knows no study, no ledger and no score. It takes an order, hands it to a `TrialRunner`
in some process, and passes each message of the runner to the desk, which says when to stop.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from metasearch.errors import EnvironmentFault
from metasearch.search.share import Share

Message = Mapping[str, Any]
"""Plain data from a runner: ``{"report": ..., "samples": ...}``, ``{"error": ...}``, or
``{"paused": step}``, when what was done since the report at that step was kept."""


@dataclass(frozen=True)
class Order:
    """One trial to run, or to go on with. Plain data, for it travels."""

    number: int
    name: str
    folder: str  # of the trial, a path or an address; the runner finds there how far it came
    config: Mapping[str, Any]  # resolved; where it starts is seen from the run folder
    race: Mapping[str, Any] | None = None  # `racing.Hurdles` as data, if the trial has to race

    def to_data(self) -> dict[str, Any]:
        """As a plain mapping that `Order(**data)` takes."""
        return asdict(self)


def trial_name(number: int, config: Mapping[str, Any]) -> str:
    """What a trial's folder and its TensorBoard run are called, such as "0007-vae-reptile"."""
    parts = [_joined(config.get(room)) for room in ("models", "algorithms")]
    return "-".join([f"{number:04d}", *filter(None, parts)])


def _joined(members: Any) -> str:
    names = [m["name"] for m in members or () if isinstance(m, Mapping) and "name" in m]
    text = "+".join(dict.fromkeys(map(str, names)))
    return re.sub(r"[^A-Za-z0-9_+]", "_", text)[:40]


def placed(config: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A resolved recipe whose start, seen from the run folder, is where it is on this machine."""
    start = config.get("start")
    if not start:
        return config
    return {**config, "start": {**start, "checkpoint": str(folder / start["checkpoint"])}}


@dataclass(frozen=True)
class Resources:
    """What trials may use."""

    max_concurrent: int | None = None  # trials at once; None: as many as fit
    cpus_per_trial: int = 1
    gpus_per_trial: float | Literal["auto"] = 0.0
    retries: int = 2  # times a trial whose worker died goes on from its last checkpoint
    patience_s: float | None = None  # a trial that says nothing for so long is ended; None: waits

    @property
    def gpus(self) -> float:
        """GPUs of a trial; of one that was not measured yet, none."""
        return 0.0 if self.gpus_per_trial == "auto" else self.gpus_per_trial

    def sized(self, gpus: float) -> Resources:
        """The same with what `auto` was found to stand for."""
        return replace(self, gpus_per_trial=gpus)

    def roomier(self) -> Resources | None:
        """Twice as much for each trial, for one that ran out of memory; None if nothing is gained.

        A whole GPU's memory cannot grow, and what trials share of the machine's goes by their CPUs.
        """
        if self.gpus >= 1:
            return None
        more = replace(self, cpus_per_trial=2 * self.cpus_per_trial)
        return more.sized(min(1.0, 2 * self.gpus))

    def fit(self, machines: Iterable[tuple[float, float]]) -> int:
        """How many trials run at once on machines with so many CPUs and GPUs each.

        A trial runs on one machine, and a share of a GPU is of one GPU.

        Raises:
            EnvironmentFault: not one.
        """
        have = list(machines)
        slots = sum(self._on(cpus, gpus) for cpus, gpus in have)
        if slots < 1:
            cpus, gpus = (sum(column) for column in zip((0.0, 0.0), *have, strict=True))
            spread = f" on {len(have)} machines, none of which has enough" if len(have) > 1 else ""
            raise EnvironmentFault(
                f"a trial needs {self.cpus_per_trial} CPUs and {self.gpus:g} GPUs; there "
                f"are {cpus:g} CPUs and {gpus:g} GPUs{spread}. Lower --cpus-per-trial or "
                "--gpus-per-trial, or join a larger cluster by --address."
            )
        return min(slots, self.max_concurrent or slots)

    def _on(self, cpus: float, gpus: float) -> int:
        slots = int(cpus // self.cpus_per_trial)
        if 0 < self.gpus < 1:  # what is left of a GPU cannot be joined with another's
            return min(slots, int(gpus) * int(1 / self.gpus))
        return min(slots, int(gpus // self.gpus)) if self.gpus else slots


def knock(address: str) -> None:
    """See that something listens at the address of a cluster, for Ray would try for minutes.

    Raises:
        EnvironmentFault: nothing does, or searches cannot be run through it.
    """
    if "://" in address:
        raise EnvironmentFault(
            f"{address!r} is the address of a Ray client or job server, through which no search "
            "can be run. Start the search on a node of the cluster, as with `ray job submit`."
        )
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError as fault:
            raise EnvironmentFault(
                f"no Ray cluster answers at {address!r} ({fault}). Give --address as HOST:PORT of "
                "its head node (6379 unless chosen otherwise), reachable from here."
            ) from fault


def unreachable(address: str | None, fault: Exception) -> EnvironmentFault:
    """What to say when Ray can neither be joined at `address` nor, without one, be started."""
    if address is None:
        return EnvironmentFault(
            f"Ray does not start on this machine ({fault}). `metasearch doctor` may say why; "
            "--backend local does without."
        )
    return EnvironmentFault(
        f"Ray cannot be joined at {address!r} ({fault}). See that `ray --version` is the same "
        "there, and that ~/.metasearch/token is that of the cluster."
    )


class Desk(Protocol):
    """Where a backend gets orders and brings messages."""

    @property
    def open(self) -> bool:
        """Whether there may be another order, now or later."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether trials that have not begun are to be dropped; `heard` stops those that have."""
        ...

    def next(self) -> Order | None:
        """A trial to run; None if the desk is closed."""
        ...

    def heard(self, number: int, message: Message) -> bool:
        """Take a message of a trial's runner; True: the trial is over, or is to stop here."""
        ...


class Backend(Protocol):
    """Runs what a desk orders. A context: workers live from entering to leaving it."""

    in_process: bool
    """Whether trials run in this very thread, so that an exception raised in it ends them."""

    def __enter__(self) -> Backend:
        """Get ready.

        Raises:
            EnvironmentFault: the machine or cluster cannot run even one trial.
        """
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let all workers go."""
        ...

    def settle(self, recipes: Sequence[Mapping[str, Any]]) -> Share:
        """Find what `gpus_per_trial: auto` stands for, by running some recipes; between entering
        and `run`.

        Raises:
            EnvironmentFault: a recipe does not fit into a whole card.
        """
        ...

    def run(self, desk: Desk) -> None:
        """Return once the desk is closed and every trial that ran has stopped.

        What the desk raises comes through.
        """
        ...
