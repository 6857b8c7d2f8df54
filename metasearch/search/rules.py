"""What of `search:` does not go with `trial:`, although each is sound by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from metasearch import space
from metasearch.search.first import entry_fault
from metasearch.search.fit import Job, breeds, misfit
from metasearch.search.stopping import Dominated
from metasearch.space import Fault

if TYPE_CHECKING:
    from metasearch.search.config import SearchConfig


def rule_faults(search: SearchConfig, trial: Mapping[str, Any]) -> Iterable[Fault]:
    """All of it, at the places where it is written.

    Args:
        search: how to search.
        trial: the tree that is searched, which was checked.
    """
    job = Job.of(trial, search.trials, 1 + len(search.objectives))
    if fault := misfit(search.sampler, job):
        yield Fault(("search", "sampler"), fault)
    for i, entry in enumerate(search.first):
        if fault := entry_fault(entry, job.draws):
            yield Fault(("search", "first", i), fault)
    if isinstance(search.pruner, Dominated) and not search.objectives:
        yield Fault(
            ("search", "pruner"),
            "'dominated' compares several objectives, and only trial.score counts. Name another "
            "in `objectives`, or use median.",
        )
    if search.repeats and (fault := _no_repeats(search)):
        yield Fault(("search", "repeats"), fault)
    if search.race not in {None, "auto"} and (fault := _no_race(search, trial)):
        yield Fault(("search", "race"), fault)
    if "figr" in search.baselines and (fault := _no_figr(trial)):
        yield Fault(("search", "baselines"), fault)
    yield from _unwatched(search, trial)


def _no_repeats(search: SearchConfig) -> str:
    assert search.repeats is not None, "asked only then"
    if search.objectives:
        return (
            "recipes are repeated that lead by trial.score, and with several objectives there is "
            "a front. Leave `repeats` or `objectives` out."
        )
    count = search.repeats.trials
    if 2 * count > search.trials:
        return (
            f"{count} of {search.trials} trials would repeat others; at most half may. Lower "
            "`leaders` or `seeds`, or raise trials."
        )
    return ""


def _no_race(search: SearchConfig, trial: Mapping[str, Any]) -> str:
    from metasearch.scores import SCORES

    name = _name(trial["score"])
    if SCORES[name]().together:
        return (
            f"the score {name!r} judges all tasks together, so trials cannot race task by task. "
            "Leave `race` out, or rank by another score."
        )
    if search.objectives:
        return (
            "trials race for one score; with several objectives, who loses may still be on the "
            "front. Leave `race` or `objectives` out."
        )
    if breeds(search.sampler):
        return (
            f"{search.sampler.name} breeds from trials that finished, and a race leaves a few. "
            "Leave `race` out, or take another sampler, such as tpe."
        )
    return ""


def _no_figr(trial: Mapping[str, Any]) -> str:
    from metasearch.search.baselines import no_figr

    why = no_figr(trial)
    return why and f"'figr' is a GAN on images of one kind: {why} Or leave 'figr' out."


def _unwatched(search: SearchConfig, trial: Mapping[str, Any]) -> Iterator[Fault]:
    watched = [_name(score) for score in trial.get("also") or ()]
    places: list[tuple[space.Path, str]] = [
        (("search", "objectives", i), name) for i, name in enumerate(search.objectives)
    ]
    places += [
        (("search", "constraints", i, "score"), bound.score)
        for i, bound in enumerate(search.constraints)
    ]
    for place, name in places:
        if name not in watched:
            there = ", ".join(watched) or "none"
            yield Fault(place, f"{name!r} is not watched. Put it under trial.also; there: {there}.")


def _name(score: Any) -> str:
    return score if isinstance(score, str) else str(score["name"])
