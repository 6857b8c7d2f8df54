"""The two ends of a scale: what takes no learning below, real images above."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from metasearch.engine.base import InnerLoop
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.untouched import Untouched
from metasearch.rng import Stream
from metasearch.scores.base import Subject, lacks
from metasearch.scores.floors import (
    Copies,
    KernelFloor,
    PixelFloor,
    beta_bernoulli,
    kernel_density,
    pixel_marginal,
)
from metasearch.tasks.base import Split
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import Panel, summarise
from metasearch.trial.report import FLOOR, KERNEL, MARGINAL, REAL

if TYPE_CHECKING:
    from metasearch.trial.loop import Bench

UNTOUCHED = "input as it is"
COPIES = ("copies of the support", "jittered copies")
ANCHORS = (FLOOR, KERNEL, MARGINAL, *COPIES, REAL, UNTOUCHED)

Floor = PixelFloor | KernelFloor | Copies


def anchors_of(
    config: TrialConfig,
    bench: Bench,
    learner: Learner,
    panels: Mapping[Split, Panel],
    domain: str = "x",
    names: Collection[str] = ANCHORS,
) -> dict[str, dict[str, Any]]:
    """Name -> split -> what a floor, or other real images of the same tasks, would score.

    Of `names` alone, for some take seconds to fit. `domain` is what `learner` generates; none of
    its images is looked at. Copies and real images have no likelihood, so those rows are left out
    where nats are counted; so are real images where too few are there to be compared. What a model
    does beyond drawing has neither end. Beside a translator stands one that does nothing.
    """
    floors = _floors(config, bench, names)
    rows: dict[str, dict[str, Any]] = {}
    for split, panel in panels.items():
        subject = bare_subject(config, panel, learner)
        values = {
            name: _of_floor(config, subject, floor, split, domain) for name, floor in floors.items()
        }
        if REAL in names:
            values[REAL] = _of_real(config, subject, domain)
        if UNTOUCHED in names:
            values[UNTOUCHED] = _of_untouched(config, subject)
        for name, found in values.items():
            if found is not None:
                rows.setdefault(name, {})[split] = summarise(found.numpy(), panel.tasks)
    return rows


def ends_of_scale(
    config: TrialConfig, bench: Bench, learner: Learner, domain: str
) -> dict[str, float]:
    """The mean scores on `search` of real images and of the floor: "score/real", "score/floor".

    Equal for all trials of a search that generate `domain`, and computed once per bench.
    """
    key = (config.tasks, config.score, config.judging, domain)
    if key not in bench.known:
        panel = Panel.gather(config, bench.data, bench.features, "search", "cpu")
        found = anchors_of(config, bench, learner, {"search": panel}, domain, (REAL, FLOOR))
        ends = {"score/real": REAL, "score/floor": FLOOR}
        bench.known[key] = {
            tag: float(found[name]["search"]["mean"]) for tag, name in ends.items() if name in found
        }
    ends_found: dict[str, float] = bench.known[key]
    return ends_found


def _floors(config: TrialConfig, bench: Bench, names: Collection[str]) -> dict[str, Floor]:
    data, shot, query = bench.data, config.tasks.shot, config.tasks.query
    plain, jittered = COPIES
    fits: dict[str, Callable[[], Floor]] = {
        FLOOR: lambda: beta_bernoulli(data, shot=shot, query=query),
        KERNEL: lambda: kernel_density(data, shot=shot, query=query),
        MARGINAL: lambda: pixel_marginal(data, shot=shot),
        plain: lambda: Copies(jitter=False),
        jittered: lambda: Copies(jitter=True),
    }
    found: dict[str, Floor] = {}
    for name in (n for n in fits if n in names):
        key = (name, shot, query)
        if key not in bench.known:
            bench.known[key] = fits[name]()
        found[name] = bench.known[key]
    return found


def _of_floor(
    config: TrialConfig, subject: Subject, floor: Floor, split: Split, domain: str
) -> Tensor | None:
    score = config.score
    if score.asks == "likelihood":
        return None if isinstance(floor, Copies) else floor.nll(subject.episodes)
    if score.looks_at != "samples":
        return None
    drawn = floor.sample(subject.episodes, subject.n_samples, Stream(0).at("floor", split))
    return score(subject.posing({domain: drawn[domain]}))


def _of_real(config: TrialConfig, subject: Subject, domain: str) -> Tensor | None:
    score = config.score
    if score.looks_at != "samples" or config.tasks.anchor < score.least:
        return None
    return score(subject.posing({domain: subject.episodes.anchor[domain]}))


def _of_untouched(config: TrialConfig, subject: Subject) -> Tensor | None:
    """What images score that were left in their domain, beside families that translate."""
    learner = subject.adapted.learner
    if lacks(learner.family, "translation") or lacks(Untouched(), config.score.asks):
        return None
    still = Learner(Untouched(), learner.shape, {})
    adapted = config.engine.open(still, subject.tasks, InnerLoop(steps=0))
    return config.score(replace(subject, adapted=adapted))


def bare_subject(config: TrialConfig, panel: Panel, learner: Learner) -> Subject:
    """A subject for images that are posed: nothing was adapted to its tasks."""
    tasks = panel.tasks
    adapted = config.engine.open(learner, len(tasks), InnerLoop(steps=0))
    noise = noise_per_task(learner.family, Stream(0).at("anchors"), tasks)
    return Subject(adapted, panel.episodes, noise, panel.features, panel.samples)
