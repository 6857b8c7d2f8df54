"""Trials as Ray Tune runs them: on this machine, or on a cluster. The only file that imports Tune.

Tune moves trials and workers; what to try and what to stop is the desk's business. So Tune gets a
searcher and a scheduler that only pass on, no logger, no snapshot worth restoring, and a class
trainable whose worker process serves one trial after another.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
from ray import tune
from ray._private import worker as ray_worker
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE, _ActorClassCache
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from metasearch.errors import EnvironmentFault
from metasearch.search.backend import Desk, Order, Resources
from metasearch.search.bridge import Bridge
from metasearch.search.notice import Notice
from metasearch.search.process import (
    attribute,
    environment,
    exits_when_stuck,
    log_to_file,
)
from metasearch.search.ray_link import connect, hurried, hurry, machines, on_cards
from metasearch.search.retries import Retries
from metasearch.search.share import PROBE, Share
from metasearch.search.worker import TrialRunner

_TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours hears SIGTERM and SIGHUP as well
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # nothing is ever restored from Tune's snapshots
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}
_STAY = {"RAY_CHDIR_TO_TRIAL_DIR": "0"}  # in a worker: relative paths mean the same everywhere
_TOLD = ENV_VARS_TO_PROPAGATE - _STAY.keys()  # credentials, most of all, for files in a bucket


class RayBackend:
    """Runs as many trials at once as fit, or `max_concurrent`.

    Starts a private Ray on this machine, or joins the cluster at `address`, or at $RAY_ADDRESS, or
    uses the Ray that this process is connected to already, which it leaves running.
    """

    in_process = False

    def __init__(
        self,
        trial: str,
        resources: Resources,
        scratch: Path,
        *,
        address: str | None = None,
        even_open: bool = False,
        probe: str = PROBE,
    ) -> None:
        """`scratch` is for Tune's own files, which are of no use afterwards.

        A cluster that takes anybody is joined if `even_open`. `probe` names what measures a card,
        as `trial` names what runs trials.
        """
        self._trial = trial
        self._probe = probe
        self._resources = resources
        self._scratch = scratch
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._even_open = even_open
        self._name = secrets.token_hex(8)  # by which its workers hear of its end
        self._open = contextlib.ExitStack()
        self._have: Sequence[tuple[float, float]] = ()  # CPUs and GPUs of each machine
        self.slots = 0

    def __enter__(self) -> RayBackend:
        """Start or join Ray.

        Raises:
            EnvironmentFault: Ray cannot be started or reached, it is open to other machines, or
                not one trial fits into it.
        """
        with contextlib.ExitStack() as stack:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch.mkdir(parents=True)
            stack.callback(shutil.rmtree, self._scratch / "tune", ignore_errors=True)
            stack.enter_context(log_to_file("ray", self._scratch / "ray.log"))
            # A thread of Ray's would print what happens to its workers.
            stack.enter_context(attribute(ray_worker, "_worker_logs_enabled", False))  # noqa: FBT003
            if not ray.is_initialized():
                joined = connect(self._address, self._resources, even_open=self._even_open)
                stack.enter_context(joined)
            stack.enter_context(environment(_TUNE))
            self._have = [(one.cpus, one.gpus) for one in machines()]
            self.slots = self._resources.fit(self._have)
            if not _TOLD & os.environ.keys():
                stack.enter_context(attribute(_ActorClassCache, "get", _bare))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def settle(self, recipes: Sequence[Mapping[str, Any]]) -> Share:
        """Measure the recipes on a card of each machine; trials get the share that all agree on.

        Raises:
            EnvironmentFault: a recipe does not fit into a whole card.
        """
        share = Share.of(on_cards(self._probe, recipes, self._resources.cpus_per_trial))
        self._resources = self._resources.sized(share.gpus)
        self.slots = self._resources.fit(self._have)
        return share

    def run(self, desk: Desk) -> None:
        """Return once the desk is closed and every trial that ran has stopped.

        What ran out of memory goes last, with twice the resources for each: earlier it would have
        to wait until two neighbours make room at once.
        """
        more = self._roomier()
        retries = Retries(desk, self._resources.retries, roomier=more is not None)
        self._run(retries, self._resources)
        if more is not None and retries.give_room():
            self._run(retries, more)

    def _roomier(self) -> Resources | None:
        more = self._resources.roomier()
        try:
            return more if more and more.fit(self._have) else None
        except EnvironmentFault:  # a trial has all there is already
            return None

    def _run(self, desk: Desk, need: Resources) -> None:
        slots = need.fit(self._have)
        bridge = Bridge(desk, slots)
        worker = {
            "trial": self._trial,
            "cpus": self._resources.cpus_per_trial,  # threads: a score must not depend on room
            "gpus": need.gpus,
            "patience_s": need.patience_s,
            "cwd": str(Path.cwd()),
            "search": self._name,
        }
        with environment({"TUNE_MAX_PENDING_TRIALS_PG": str(slots)}):
            tune.run(
                _Worker,
                name="tune",
                config=worker,
                resources_per_trial={"cpu": need.cpus_per_trial, "gpu": need.gpus},
                num_samples=-1,
                storage_path=str(self._scratch.resolve()),
                search_alg=_Searcher(bridge),
                scheduler=_Scheduler(bridge, self._name),
                verbose=0,
                max_failures=0,  # the desk knows what to try again
                raise_on_failed_trial=False,
                reuse_actors=True,
                callbacks=[_Strip()],
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            )
        if bridge.fault is not None:
            raise bridge.fault


def _bare(cache: _ActorClassCache, trainable: type) -> Any:  # noqa: ARG001
    """No variables for its process, which would have to be started; Ray has some that wait."""
    return _actor(trainable)


_actor = functools.cache(ray.remote)


class _Searcher(Searcher):  # type: ignore[misc]
    """Hands out the desk's orders."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._bridge.over:
            return str(Searcher.FINISHED)
        order = self._bridge.suggest(trial_id)
        # As one text: Tune copies, merges and flattens mappings at every turn.
        return {"order": json.dumps(order.to_data())} if order else None

    def on_trial_complete(
        self,
        trial_id: str,
        result: Any = None,  # noqa: ARG002
        error: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        if error:
            self._bridge.died(trial_id)
        else:
            self._bridge.live.pop(trial_id, None)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the ledger is the truth."""


class _Scheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes every report to the desk, the last one too, and stops what the desk says."""

    _supports_buffered_results = False

    def __init__(self, bridge: Bridge, search: str) -> None:
        super().__init__()
        self._bridge = bridge
        self._search = search
        self._hurried = False

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:  # noqa: ARG002
        over = self._bridge.heard(trial.trial_id, result["message"][0])
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:  # noqa: ARG002
        if not trial.run_metadata.num_failures:  # Tune counts none where a node was drained
            self._bridge.preempted.add(trial.trial_id)
        if trial.error_file:
            text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
            self._bridge.errors[trial.trial_id] = text.strip()[-4000:]

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Leave it to Tune's own queue; asking for a trial here costs an actor for each.

        Tune calls this at every step, so it is where, when the search is to end, trials that wait
        for a worker are dropped and the others told to pause.
        """
        if self._bridge.stopping:
            if not self._hurried:
                hurry(self._search)
                self._hurried = True
            for trial in tuple(tune_controller.get_live_trials()):
                if trial.status == Trial.PENDING:
                    tune_controller.stop_trial(trial)


class _Strip(TrialProgressCallback):  # type: ignore[misc]
    """Takes reports out of what Tune keeps of every trial, and prints nothing in Tune's stead."""

    def on_trial_result(self, *args: Any, **event: Any) -> None:  # noqa: ARG002
        del event["result"]["message"]

    def on_trial_error(self, *event: Any, **info: Any) -> None:
        """Say nothing: the desk knows."""

    on_trial_complete = on_trial_error


class _Worker(tune.Trainable):  # type: ignore[misc]
    """A worker process as Tune knows it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        os.environ.update(_STAY)
        super().__init__(*args, **kwargs)

    def setup(self, config: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # for relative paths, where the disk is shared
            os.chdir(config["cwd"])
        limit = config["patience_s"]
        guard = functools.partial(exits_when_stuck, limit) if limit is not None else None
        notice = Notice(functools.partial(hurried, config["search"]))
        self._runner = TrialRunner(
            config["trial"], cpus=config["cpus"], gpus=config["gpus"],
            guard=guard, hurry=notice, leave=functools.partial(os._exit, 1),
        )  # fmt: skip
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._runner.start(Order(**json.loads(new_config["order"])))
        return True

    def step(self) -> dict[str, Any]:
        return {"message": [self._runner.next()]}  # in a list, for Tune flattens mappings

    def cleanup(self) -> None:
        self._runner.close()
