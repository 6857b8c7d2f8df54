"""What luck, copies and other features do to a result, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COPIES = -3.0  # the z of the data-copying test below which samples are copies
SINGLE = "the single winner"  # what an ensemble is also compared with
NARROW = 0.5  # the share of real spread below which classes have lost their variety
_FEATURES = {"random": "an untrained net", "pixels": "raw pixels"}


def remarks(report: Mapping[str, Any]) -> list[str]:
    """What a reader of the scores should know beside them; warnings begin with that word."""
    parts = (_lost, _ensemble, _selection, _repeats, _guards, _features)
    return [remark for part in parts for remark in part(report)]


def _lost(report: Mapping[str, Any]) -> list[str]:
    """Baselines that beat the recipe on test tasks, as far as that is settled."""
    sign = 1 if report["score"]["direction"] == "minimize" else -1
    better = [
        name
        for name, entry in report.get("against", {}).items()
        if (told := entry.get("test")) and told["settled"] and sign * told["difference"] > 0
    ]
    return [
        "warning: the single winner is better than the ensemble on test tasks"
        if name == SINGLE
        else f"warning: {name!r} {_alike(name)} is better than this recipe on test tasks"
        for name in better
    ]


def _alike(name: str) -> str:
    return f"of the same {'budget' if name == 'figr' else 'network and budget'}"


def _ensemble(report: Mapping[str, Any]) -> list[str]:
    """Of which trials it is made, or that none could be made that is better."""
    told = report.get("ensemble")
    if not told:
        return []
    if not told["taken"]:
        return [f"no {told['rule']} of the candidates is better on confirm tasks than the winner"]
    members = ", ".join(f"{m['name']} ({m['share']:.2f})" for m in told["members"])
    return [
        f"this is a {told['rule']} of {len(told['members'])} trials: {members}; on confirm tasks, "
        f"by which it was chosen, {told['confirm']:.4g} where the winner alone has "
        f"{told['single']:.4g}. It was trained with as many budgets, its baselines with one"
    ]


def _selection(report: Mapping[str, Any]) -> list[str]:
    found, selection = [], report.get("selection", {})
    if not selection.get("kept", True):
        found.append(f"warning: this trial does not keep {' and '.join(selection['bounds'])}")
    if selection.get("all_alike"):
        found.append(
            f"warning: the {selection['finished']} finished trials differ by no more than chance "
            "makes equal ones differ: this search has not found one recipe better than another"
        )
    if selection.get("optimism") and not selection["by_hand"]:
        found.append(
            f"the first of {selection['finished']} trials looks about {selection['optimism']:.3g} "
            f"(in {report['score']['unit']}) better on search tasks than it is (winner's curse); "
            "confirm and test tasks had no part in that choice"
        )
    return found


def _repeats(report: Mapping[str, Any]) -> list[str]:
    told = report.get("repeats", {})
    if not told.get("seeds"):
        return []
    means = ", ".join("diverged" if m is None else f"{m:.4g}" for m in told["means"]["test"])
    deviation = told["deviation"]["test"]
    spread = "" if deviation is None else f"; standard deviation over seeds {deviation:.3g}"
    return [f"trained again with {_seeds(len(told['seeds']))} it scores {means} on test{spread}"]


def _seeds(count: int) -> str:
    return "another seed" if count == 1 else f"{count} other seeds"


def _guards(report: Mapping[str, Any]) -> list[str]:
    found, watched = [], report.get("watched", {})
    copying = watched.get("copying", {}).get("test", {}).get("mean")
    if copying is not None and copying < COPIES:
        found.append(
            f"warning: samples lie nearer to the support than real images do (C_T = {copying:.1f}, "
            f"below {COPIES:.0f}): they copy it, or crowd in the middle of the class"
        )
    diversity = watched.get("diversity", {}).get("test", {}).get("mean")
    if diversity is not None and diversity < NARROW:
        found.append(
            f"warning: samples of a class differ only {diversity:.2f} times as much as real images"
        )
    return found


def _features(report: Mapping[str, Any]) -> list[str]:
    known = report.get("ranking", {}).get("features", {})
    told = [f"{v:.2f} in {_FEATURES[k]}" for k, v in known.items() if v is not None]
    if not told:
        return []
    return [
        "rank correlation of the candidates' order with that in other features: "
        f"{' and '.join(told)}"
    ]
