"""Every family for the same seconds of one core: `python -m benchmarks.families --seconds 60`.

The recipe of a family is the middle of its shipped search space (the first option of each choice).
It is meta-trained at one size of images until the processor time is up, and judged on tasks of
unseen alphabets, `search` by default: before adapting, after, the paired difference with its
interval, and the same against the best of the closed-form floors. Samples are compared by MMD, and
where a family has a likelihood nats are counted, too; translations are compared with the truth. The
track of a recipe is the score that its search space ranks by: what the other says of it is told,
and nothing is concluded from it. Beside MMD stand jittered copies of the support, which it does not
punish, and C_T, the score `copying` after adapting, which does (below -3 images are copies). With
``--omniglot PATH`` all of it happens on that handwriting instead of the built-in glyphs. Families
that write have a recipe of their own there; they are given the strokes that are traced in its
pictures, and with ``--strokes PATH`` those of the drawers as well, in a row of their own.

OUT gets NAME.json with all figures, to which a later run with other files adds, a table of them,
and a sheet with pictures of two tasks of each family.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks.recipes import files, recipes
from metasearch.interval import mean_interval, paired_difference
from metasearch.observe.grid import sample_grid, to_png
from metasearch.scores import SCORES
from metasearch.scores.base import Score, lacks
from metasearch.search.process import keep_freed_memory
from metasearch.tasks.base import Split, TaskId
from metasearch.trial.anchors import COPIES, UNTOUCHED, anchors_of
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import Panel, judge, scored
from metasearch.trial.loop import Bench, Trial, open_bench
from metasearch.trial.report import FLOOR, KERNEL, MARGINAL, SampleGrid

TRACKS: tuple[Score, ...] = (SCORES["mmd"](), SCORES["nll"](samples=64), SCORES["paired"]())
COPYING: Score = SCORES["copying"]()
FLOORS = (FLOOR, KERNEL, MARGINAL, UNTOUCHED)  # copies are told apart: to copy is not to draw
SHOWN = 2  # tasks of each family on the sheet


@dataclass(frozen=True)
class Row:
    """One family by one score: means with the ends of their intervals."""

    track: bool  # whether it is the score that the recipe's search ranks by
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    gained: tuple[float, float, float]  # after minus before, task by task
    floors: Mapping[str, float]
    best_floor: str
    ahead: tuple[float, float, float]  # after minus that floor, task by task
    beside: Mapping[str, tuple[float, float, float]]  # after minus each of all floors and anchors
    copying: Mapping[str, float]  # of samples: z before and after, and of the anchors
    diverged: int
    meta_steps: int

    @staticmethod
    def of(
        before: np.ndarray,
        after: np.ndarray,
        anchors: Mapping[str, Mapping[str, Any]],
        tasks: Sequence[TaskId],
        **told: Any,
    ) -> Row:
        """From the score of each task, and what `anchors_of` says of the same tasks."""
        beside = {
            name: _gap(after, np.array([found["per_task"][task] for task in tasks]))
            for name, found in anchors.items()
        }
        means = {name: float(found["mean"]) for name, found in anchors.items()}
        best = min((name for name in FLOORS if name in means), key=lambda name: means[name])
        return Row(
            before=tuple(mean_interval(before)),
            after=tuple(mean_interval(after)),
            gained=_gap(after, before),
            floors=means,
            best_floor=best,
            ahead=beside[best],
            beside=beside,
            **told,
        )

    def line(self, name: str, unit: str) -> str:
        """For a table."""
        cells = (
            name,
            unit,
            "its track" if self.track else "beside it",
            f"{self.before[0]:.1f}",
            _told(self.after),
            _told(self.gained),
            f"{self.floors[self.best_floor]:.1f} ({self.best_floor})",
            _told(self.ahead),
            _told(self.beside[COPIES[1]]) if COPIES[1] in self.beside else "",
            f"{self.copying['after']:.1f}" if self.copying else "",
            str(self.meta_steps),
        )
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| family | score | is | before | after | gained | best floor | after - floor "
    "| after - jitter | C_T | steps |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def _told(interval: Sequence[float]) -> str:
    mean, low, high = interval
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def measure(config: TrialConfig, seconds: float, split: Split) -> tuple[dict[str, Row], SampleGrid]:
    """Meta-train for so many seconds of processor time; a row for each score, and pictures."""
    trial, bench = trained(replace(config, score=TRACKS[0]), seconds)
    return judged(trial, bench, split, track=config.score.name)


def trained(config: TrialConfig, seconds: float) -> tuple[Trial, Bench]:
    """Meta-train for so many seconds of processor time."""
    bench = open_bench(config.tasks, True)  # type: ignore[arg-type]  # noqa: FBT003 - a cache key
    trial = Trial.open(config, bench)
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        played = trial.practice.step(trial.meta_steps, min(spent / seconds, 1.0))
        trial.meta_steps += 1
        trial.gradients += played.gradients
    return trial, bench


def judged(
    trial: Trial, bench: Bench, split: Split, *, track: str
) -> tuple[dict[str, Row], SampleGrid]:
    """What a trial is worth now, by every score that applies; `track` is what it is meant for."""
    config, adapter = trial.config, trial.practice.crown()[0].adapter
    family = adapter.learner.family
    scores = tuple(s for s in TRACKS if not lacks(family, s.asks))
    panel = Panel.gather(config, bench.data, bench.features, split, trial.device)
    panel = replace(panel, scores=(*scores, COPYING))
    after, _, diverged = scored(adapter, config.engine, panel)
    before, _, _ = scored(adapter.still(), config.engine, panel)
    some = replace(panel, episodes=panel.episodes.select(range(SHOWN)), scores=scores[:1])
    verdicts = judge(adapter, config.engine, some)
    anchors = {
        score.name: {
            name: found[split]
            for name, found in anchors_of(
                replace(config, score=score),
                bench,
                adapter.learner,
                {split: panel},
                verdicts.domain,
            ).items()
        }
        for score in panel.scores
    }
    z = {"before": before, "after": after}
    copying = {when: float(values[COPYING.name].mean()) for when, values in z.items()}
    copying |= {name: float(found["mean"]) for name, found in anchors[COPYING.name].items()}
    rows = {}
    for score in scores:
        name = score.name
        rows[name] = Row.of(
            before[name],
            after[name],
            anchors[name],
            panel.tasks,
            track=name == track,
            copying=copying if score.looks_at == "samples" else {},
            diverged=diverged,
            meta_steps=trial.meta_steps,
        )
    return rows, verdicts.grid


def _gap(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    found = paired_difference(a, b)
    return found.mean, found.low, found.high


def sheet(grids: Mapping[str, SampleGrid]) -> bytes:
    """A PNG with the first few tasks of each family whose pictures are as large as the first's.

    Those of a translator are pairs, one above the other: twice as high.
    """
    size = next(iter(grids.values())).support.shape[2:]
    grids = {family: g for family, g in grids.items() if g.support.shape[2:] == size}
    names = [f"{family}/{task}" for family, g in grids.items() for task in g.tasks]
    parts = []
    for part, most in (("support", 5), ("before", 6), ("after", 6)):
        pictures = [getattr(g, part) for g in grids.values()]
        count = min([most, *(x.shape[1] for x in pictures)])  # a recipe may show fewer than others
        parts.append(np.concatenate([x[:, :count] for x in pictures]))
    return to_png(sample_grid(SampleGrid(tuple(names), *parts), cell=40, columns=6))


def main() -> None:
    """Measure, print a line each, and keep all in OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of processor time, each (60)")
    parser.add_argument("--size", type=int, default=20, help="pixels a side (20)")
    parser.add_argument("--split", choices=get_args(Split), default="search")
    parser.add_argument("--omniglot", help="path of Omniglot's images")
    parser.add_argument(
        "--strokes",
        help="path of the drawers' own strokes, for families that write; --omniglot too",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench-families"))
    options = parser.parse_args()
    if options.strokes and not options.omniglot:
        parser.error("--strokes has a row beside handwriting; give --omniglot PATH as well.")
    torch.set_num_threads(1)
    keep_freed_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"{'omniglot' if options.omniglot else 'glyphs'}-{options.split}"
    kept, pictures = options.out / f"{name}.json", options.out / f"{name}.npz"
    every: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    grids = load_grids(pictures)
    print(HEAD)
    for file in files(options.files):
        found = list(recipes(file, options.size, options.omniglot, options.strokes))
        if not found:
            print(f"{file.stem}: skipped, it has no such tasks")
        for stem, config in found:
            rows, grids[stem] = measure(config, options.seconds, options.split)
            for score, row in rows.items():
                print(row.line(stem, score), flush=True)
            every[stem] = {score: asdict(row) for score, row in rows.items()}
        kept.write_text(json.dumps(every, indent=1))
        save_grids(pictures, grids)
        (options.out / f"{name}.png").write_bytes(sheet(dict(sorted(grids.items()))))


def load_grids(path: Path) -> dict[str, SampleGrid]:
    """The pictures of earlier runs."""
    if not path.exists():
        return {}
    with np.load(path) as held:
        names = sorted({key.split("|")[0] for key in held})
        return {
            name: SampleGrid(
                tuple(map(str, held[f"{name}|tasks"])),
                *(held[f"{name}|{part}"] for part in ("support", "before", "after")),
            )
            for name in names
        }


def save_grids(path: Path, grids: Mapping[str, SampleGrid]) -> None:
    """Keep pictures for later runs."""
    arrays = {
        f"{name}|{part}": np.asarray(getattr(grid, part))
        for name, grid in grids.items()
        for part in ("tasks", "support", "before", "after")
    }
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
