"""A search that never ran: two families, conditional settings, one failure, some pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from metasearch.observe.base import Draw, Observer, Outcome, SearchInfo, TrialInfo
from metasearch.rng import Stream
from metasearch.trial.report import Cost, Report, SampleGrid

BUDGET = 60_000
RUNGS = 6
TASKS = {"Greek/omega": "W", "Cyrillic/zhe": "K", "Armenian/ayb": "U", "Georgian/an": "3"}
ONLY_VAE = (("models[0]", "vae"),)
ONLY_GAN = (("models[0]", "gan"),)
ONLY_MAML = (("algorithms[0]", "maml"),)
SELECTORS = ("random", "competitive", "cooperative")
DRAWS = (
    Draw("models[0]", "choice", ("vae", "gan")),
    Draw("models[0].vae.beta", "log_uniform", low=0.1, high=4.0, only_if=ONLY_VAE),
    Draw("models[0].vae.latent", "log_integers", low=8, high=64, only_if=ONLY_VAE),
    Draw("models[0].gan.loss", "choice", ("non_saturating", "wgan_gp"), only_if=ONLY_GAN),
    Draw("algorithms[0]", "choice", ("reptile", "maml")),
    Draw("algorithms[0].maml.first_order", "choice", (True, False), only_if=ONLY_MAML),
    Draw("algorithms[0].maml.inner.lr", "log_uniform", low=1e-3, high=0.5, only_if=ONLY_MAML),
    Draw("outer.lr", "log_uniform", low=1e-4, high=1e-2),
    Draw("outer.clip", "choice", (1.0, 10.0)),
    Draw("strategy.tasks", "choice", SELECTORS),
    Draw("strategy.algorithms", "choice", SELECTORS),
)


def search_info(folder: Path, trials: int = 8, time_s: float | None = 1200.0) -> SearchInfo:
    return SearchInfo(
        name="glyphs-both",
        folder=folder,
        trials=trials,
        time_s=time_s,
        score="mmd",
        unit="squared MMD",
        direction="minimize",
        draws=DRAWS,
    )


def trial_info(number: int, seed: int = 0) -> TrialInfo:
    rng = Stream(seed).at("trial", number).numpy()
    model, algorithm = ("vae", "gan")[number % 2], ("reptile", "maml")[number // 2 % 2]
    params = {
        "models[0]": model,
        "algorithms[0]": algorithm,
        "outer.lr": float(10 ** rng.uniform(-4, -2)),
        "outer.clip": float(rng.choice([1.0, 10.0])),
        "strategy.tasks": str(rng.choice(SELECTORS)),
        "strategy.algorithms": str(rng.choice(SELECTORS)),
    }
    model_data: dict[str, object] = {"name": model, "width": 32}
    if model == "vae":
        params["models[0].vae.beta"] = float(10 ** rng.uniform(-1, 0.6))
        params["models[0].vae.latent"] = int(rng.integers(8, 65))
        model_data["beta"] = params["models[0].vae.beta"]
    else:
        params["models[0].gan.loss"] = str(rng.choice(["non_saturating", "wgan_gp"]))
        model_data["loss"] = params["models[0].gan.loss"]
    if algorithm == "maml":
        params["algorithms[0].maml.first_order"] = bool(rng.random() < 0.5)
        params["algorithms[0].maml.inner.lr"] = float(10 ** rng.uniform(-3, -0.3))
    config = {
        "seed": 0,
        "tasks": {"name": "glyphs", "size": 28, "shot": 5},
        "models": [model_data],
        "algorithms": [{"name": algorithm}],
        "outer": {"lr": params["outer.lr"], "clip": params["outer.clip"]},
        "budget": {"gradients": BUDGET, "reports": RUNGS, "tasks_per_step": 8},
    }
    return TrialInfo(number, f"{number:04d}-{model}-{algorithm}", params, config)


@cache
def samples(quality: float, *, channels: int = 1, size: int = 28, n: int = 8) -> SampleGrid:
    """Letters that grow sharper with `quality` in [0, 1]; ink is light, as in trials."""
    blocks = []
    blurs = {"support": 0.0, "before": 5.0, "after": 3.0 * (1 - quality)}
    for kind, blur in blurs.items():
        count = 5 if kind == "support" else n
        rows = [
            [_glyph(letter, kind, i, blur, size, channels) for i in range(count)]
            for letter in TASKS.values()
        ]
        blocks.append(np.array(rows, np.uint8))
    return SampleGrid(tuple(TASKS), *blocks)


def _glyph(letter: str, kind: str, i: int, blur: float, size: int, channels: int) -> np.ndarray:
    rng = Stream(1).at(letter, kind, i).numpy()
    image = Image.new("L", (size, size), 0)
    place = (size * 0.2 + rng.uniform(-2, 2), size * 0.02 + rng.uniform(-2, 2))
    font = ImageFont.load_default(size * 0.85)
    ImageDraw.Draw(image).text(place, letter, fill=255, font=font)
    picture = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), float)
    picture = np.clip(picture + 12 * blur * rng.normal(size=picture.shape), 0, 255)
    tint = np.linspace(1, 0.3, channels)
    return (picture[..., None] * tint).astype(np.uint8)


def report(trial: TrialInfo, rung: int, *, pictures: bool = True) -> Report:
    rng = Stream(2).at(trial.name, rung).numpy()
    skill = 0.12 * (trial.number % 3) + (0.1 if "gan" in trial.name else 0.0)
    score = 0.25 + skill + 0.6 * math.exp(-rung / 2) + rng.normal() * 0.01
    half = 0.05 + 0.05 / rung
    step = BUDGET * rung // RUNGS
    players = ("generator", "discriminator") if "gan" in trial.name else ("encoder", "decoder")
    return Report(
        step=step,
        final=rung == RUNGS,
        cost=Cost(gradients=step, meta_steps=step // 40, seconds=12.0 * rung),
        score=score,
        low=score - half,
        high=score + half,
        before=0.95 + rng.normal() * 0.01,
        per_task={task: score + rng.normal() * 0.05 for task in TASKS},
        scalars={f"loss/{player}": 1 / rung + rng.normal() * 0.02 for player in players}
        | {"tasks/non_finite": 0.0},
        samples=samples(rung / RUNGS) if pictures and rung in {1, 3, RUNGS} else None,
    )


def outcome_of(trial: TrialInfo, last: Report | None) -> Outcome:
    """Number 5 fails, every third stops early, the others finish."""
    if last is None or trial.number == 5:
        error = "Traceback (most recent call last):\n  ...\nMemoryError: 2 GiB wanted, 1 GiB free"
        step = last.step if last else 0
        return Outcome("failed", "out_of_memory", step=step, error=error, seconds=20.0)
    state, reason = ("complete", "finished") if last.final else ("pruned", "pruner")
    return Outcome(state, reason, last.score, last.low, last.high, last.step, seconds=60.0)


def rungs_of(trial: TrialInfo) -> int:
    return {5: 1, 2: 2, 3: 3, 7: 2}.get(trial.number, RUNGS)


class All:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        for observer in self._observers:
            observer.opened(search, past)

    def started(self, trial: TrialInfo) -> None:
        for observer in self._observers:
            observer.started(trial)

    def reported(self, trial: TrialInfo, report: Report) -> None:
        for observer in self._observers:
            observer.reported(trial, report)

    def set_aside(self, trial: TrialInfo) -> None:
        for observer in self._observers:
            observer.set_aside(trial)

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        for observer in self._observers:
            observer.ended(trial, outcome)

    def closed(self, interrupted: bool) -> None:
        for observer in self._observers:
            observer.closed(interrupted)


def play(
    observers: Sequence[Observer], folder: Path, *, trials: int = 8, pictures: bool = True
) -> list[tuple[TrialInfo, Outcome]]:
    """Tell `observers` of a whole search, two trials at a time."""
    watching, ended = All(observers), []
    watching.opened(search_info(folder, trials), [])
    for first in range(0, trials, 2):
        pair = [trial_info(n) for n in range(first, min(first + 2, trials))]
        for trial in pair:
            watching.started(trial)
        last = {trial.name: _run(watching, trial, pictures) for trial in pair}
        for trial in pair:
            ended.append((trial, outcome_of(trial, last[trial.name])))
            watching.ended(*ended[-1])
    watching.closed(interrupted=False)
    return ended


def _run(watching: Observer, trial: TrialInfo, pictures: bool) -> Report:
    said = [report(trial, rung, pictures=pictures) for rung in range(1, rungs_of(trial) + 1)]
    for one in said:
        watching.reported(trial, one)
    return said[-1]
