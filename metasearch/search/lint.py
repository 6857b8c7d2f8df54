"""What is allowed in a search file and hardly meant: draws, trials and rungs that cannot matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metasearch import space
from metasearch.algorithms.reptile import Reptile
from metasearch.search.config import SearchConfig, SearchFile
from metasearch.search.plan import Plan
from metasearch.search.stopping import Hyperband, SuccessiveHalving, compares
from metasearch.space import Path
from metasearch.trial.validation import looks

Finding = tuple[Path, str]  # where in the file; what, and what to do


def lint(file: SearchFile) -> list[Finding]:
    """Remarks on a sound file, in no order."""
    trial = file.trial(next(space.covering(file.space)).tree)
    reports = trial.budget.reports
    return [
        *_idle_draws(file.space),
        *_trials(file),
        *_rungs(file.search, reports),
        *_at_odds(file),
        *_budget(trial),
        *_looks(file),
        *_unmoved(file),
    ]


def findings(path: str, file: SearchFile, overrides: list[str]) -> list[str]:
    """The remarks as lines that begin with their places, in the order of the file."""
    document = space.apply_overrides(space.load(path), overrides)
    placed = []
    for where, message in lint(file):
        mark = document.mark(where)
        start = f"{mark.source}:{mark.line}:{mark.column}" if mark.line else mark.source
        name = space.readable(document.tree, where)
        placed.append((mark.line, mark.column, f"{start}: {name}: {message}"))
    return [text for *_, text in sorted(placed)]


def _idle_draws(tree: Any) -> Iterator[Finding]:
    """Choices of one option."""

    def walk(node: Any, path: Path) -> Iterator[Finding]:
        if space.word_of(node) == "choice" and len(node["choice"]) == 1:
            yield path, "a choice of one option draws nothing. Write the option alone, or add one."
        if isinstance(node, Mapping):
            for key, child in node.items():
                yield from walk(child, (*path, key))
        elif isinstance(node, list):
            for i, child in enumerate(node):
                yield from walk(child, (*path, i))

    yield from walk(tree, ("trial",))


def _trials(file: SearchFile) -> Iterator[Finding]:
    """Too many trials for the space, or too few for who advises them."""
    search, there = file.search, space.size(file.space).configurations
    if not file.draws:
        yield ("trial",), "nothing is drawn, so all trials are alike. Use `metasearch train`."
    elif there is not None and there < search.trials:
        yield (
            ("search", "trials"),
            f"{search.trials} trials are asked and the space holds {there} recipes: some come "
            "twice. Ask fewer, or draw more.",
        )
    startup = getattr(search.sampler, "startup_trials", 0) or 0
    if search.trials <= startup and file.draws:
        yield (
            ("search", "sampler"),
            f"the first {startup} trials learn from no other, and there are {search.trials}: "
            f"{search.sampler.name!r} never advises. Lower startup_trials, or raise trials.",
        )


def _rungs(search: SearchConfig, reports: int) -> Iterator[Finding]:
    """Pruners that never get to judge."""
    pruner = search.pruner
    first = getattr(pruner, "first_rung", 0)
    if first >= reports:
        yield (
            ("search", "pruner"),
            f"the first rung is report {first}, and a trial has {reports}: nothing is stopped "
            "early. Lower first_rung, or raise trial.budget.reports.",
        )
    for where, warmup in {
        "pruner": getattr(pruner, "warmup", 0), "race": getattr(search.race, "warmup", 0)
    }.items():  # fmt: skip
        if warmup >= reports:
            yield (
                ("search", where),
                f"the first {warmup} reports are spared, and a trial has {reports}: nothing is "
                "stopped early. Lower warmup, or raise trial.budget.reports.",
            )
    waits = getattr(pruner, "startup_trials", 0)
    if isinstance(pruner, SuccessiveHalving | Hyperband):
        if waits >= search.trials:
            yield (
                ("search", "pruner"),
                f"the first {waits} trials at a rung stop there, and there are {search.trials}: "
                "none goes on. Lower startup_trials, or raise trials.",
            )
        return
    waits = max(waits, getattr(pruner, "least_trials", 0))
    if waits >= search.trials:
        yield (
            ("search", "pruner"),
            f"nothing is stopped before {waits} trials have finished, and there are "
            f"{search.trials}. Lower startup_trials and least_trials, or raise trials.",
        )


def _at_odds(file: SearchFile) -> Iterator[Finding]:
    """A pruner that stops for good whom the race would let wait."""
    pruner = file.search.pruner
    if compares(pruner) and Plan.of(file).pace():
        yield (
            ("search", "pruner"),
            f"trials race, and whom {pruner.name!r} stops is over, where the race would let it "
            "wait. Leave `pruner` out, or set `race: null`.",
        )


def _budget(trial: Any) -> Iterator[Finding]:
    """Budgets that end before the first report can say anything."""
    budget, source = trial.budget, trial.tasks
    each, step = budget.gradients // budget.reports, budget.tasks_per_step * source.shot
    if each < step:
        yield (
            ("trial", "budget", "gradients"),
            f"a report comes every {each:,} gradient evaluations, and a meta-step takes at least "
            f"{step:,} (tasks_per_step times shot). Raise gradients, or lower reports.",
        )


def _looks(file: SearchFile) -> Iterator[Finding]:
    """Recipes whose rules spend the budget on deciding."""
    worst = max(
        (file.trial(point.tree) for point in space.covering(file.space)),
        key=lambda trial: trial.budget.reports * looks(trial) / trial.budget.gradients,
    )
    budget = worst.budget
    spent = budget.reports * looks(worst)
    if 2 * spent > budget.gradients:
        rules = " and ".join(
            f"{getattr(worst.strategy, axis).name} for {axis}" for axis in ("algorithms", "models")
        )
        yield (
            ("trial", "budget", "gradients"),
            f"of {budget.gradients:,}, up to {spent:,} go to looking at `inner` tasks at "
            f"{budget.reports} reports ({rules}). Raise gradients, or lower reports, "
            "strategy.validation or test_steps.",
        )


def _unmoved(file: SearchFile) -> Iterator[Finding]:
    """Weights that no step of an algorithm ever moves."""
    if file.search.warm_start:
        return
    recipes = (file.trial(traced.tree) for traced in space.covering(file.space))
    alone = [r.algorithms for r in recipes if r.start is None and len(r.algorithms) == 1]
    loops = [a.inner for (a,) in alone if isinstance(a, Reptile)]
    for part in sorted({inner.adapts for inner in loops} - {"all"}):
        yield (
            ("trial", "algorithms"),
            f"'reptile' learns what its inner loop moves: with inner.adapts: {part} all other "
            "weights stay as they were drawn. Use maml or anil there, or adapts: all.",
        )
