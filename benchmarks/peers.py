"""The trials of `benchmarks.overhead` as others run them: Optuna alone, and Ray Tune."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

REPORTS, SLOTS = 10, 2


def plain_optuna(*, journal: bool) -> Callable[..., Any]:
    """`study.optimize` in one process, two threads; TPE."""

    def run(trials: int, pause: float) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)

        def objective(asked: optuna.Trial) -> float:
            x = asked.suggest_float("x", 0, 1)
            asked.suggest_float("rate", 1e-4, 1, log=True)
            asked.suggest_int("width", 8, 512, log=True)
            asked.suggest_categorical("net", ["mlp", "conv"])
            for made in range(1, REPORTS + 1):
                time.sleep(pause)
                asked.report(x + 1 / made, made)
            return float(x + 1 / REPORTS)

        with tempfile.TemporaryDirectory() as folder:
            storage = None
            if journal:
                kinds = optuna.storages
                file = kinds.journal.JournalFileBackend(f"{folder}/study.journal")
                storage = kinds.JournalStorage(file)
            optuna.create_study(storage=storage).optimize(objective, trials, n_jobs=SLOTS)

    return run


def _function(config: dict[str, Any]) -> None:
    from ray import tune

    for made in range(1, REPORTS + 1):
        time.sleep(config["pause"])
        tune.report({"score": config["x"] + 1 / made})


def plain_tune(
    *, of_class: bool = False, optuna: bool = False, asha: bool = False, reuse: bool = False
) -> Callable[..., Any]:
    """`Tuner.fit` as its documentation shows it."""

    def run(trials: int, pause: float) -> None:
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        class Trainable(tune.Trainable):  # type: ignore[misc]
            def setup(self, config: dict[str, Any]) -> None:
                self.config, self.made = config, 0

            def step(self) -> dict[str, Any]:
                time.sleep(self.config["pause"])
                self.made += 1
                score = self.config["x"] + 1 / self.made
                return {"score": score, "done": self.made == REPORTS}

            def reset_config(self, new_config: dict[str, Any]) -> bool:
                self.setup(new_config)
                return True

        space = {
            "x": tune.uniform(0, 1),
            "rate": tune.loguniform(1e-4, 1),
            "width": tune.lograndint(8, 512),
            "net": tune.choice(["mlp", "conv"]),
            "pause": pause,
        }
        with tempfile.TemporaryDirectory() as folder:
            tune.Tuner(
                tune.with_resources(Trainable if of_class else _function, {"cpu": 1}),
                param_space=space,
                tune_config=tune.TuneConfig(
                    metric="score",
                    mode="min",
                    num_samples=trials,
                    max_concurrent_trials=SLOTS,
                    search_alg=OptunaSearch() if optuna else None,
                    scheduler=ASHAScheduler(max_t=REPORTS) if asha else None,
                    reuse_actors=reuse,
                ),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            ).fit()

    return run
