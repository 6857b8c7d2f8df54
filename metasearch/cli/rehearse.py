"""What `search --dry-run` says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metasearch.cli.output import note, pairs, result, result_json
from metasearch.cli.places import short

_FEW = 8  # whole trials, below which a search can hardly tell recipes apart

if TYPE_CHECKING:
    from metasearch.search.config import SearchFile


def remark(path: Path, file: SearchFile, settings: list[str]) -> None:
    """Warn of what is allowed in a search file and hardly meant."""
    from metasearch.search.lint import findings

    for finding in findings(str(path), file, settings):
        note(f"warning: {finding}")


def rehearse(file: SearchFile, folder: Path, *, as_json: bool) -> None:
    """Print what a search would do and take; nothing is written into a run folder."""
    from metasearch.search.rehearsal import rehearsed

    told = rehearsed(file, folder, note)
    if as_json:
        result_json(told)
    else:
        result(text(file, told))
        for line in advice(told):
            note(line)


def advice(told: dict[str, Any]) -> list[str]:
    """What to change where the time asked for is too short for a search."""
    trial_s, time_s = told["trial_s"]["mean"], told["time_s"]
    begun = told["slots"] * time_s / trial_s  # trials that end within it, one after another
    if begun >= min(_FEW, told["trials"]):
        return []
    from metasearch.observe.text import number, span

    fits = int(float(f"{told['gradients_per_trial'] * begun / _FEW:.1g}"))
    return [
        f"warning: within {span(time_s)} there is room for {number(begun)} whole trials, too few "
        f"to learn from. Give more, as --time {_hours(_FEW * trial_s / told['slots'])}, or smaller "
        f"trials, as -s trial.budget.gradients={fits}."
    ]


def _hours(seconds: float) -> str:
    """As `--time` takes it, rounded up."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes}m" if minutes < 120 else f"{math.ceil(minutes / 60)}h"


def text(file: SearchFile, told: dict[str, Any]) -> str:
    """The same for people."""
    from metasearch import space
    from metasearch.observe.text import span

    search, trial_s = file.search, told["trial_s"]
    splits = ", ".join(f"{n} {split}" for split, n in told["data"]["splits"].items())
    steps = [f"{one['meta_step_s'] * 1000:.0f}" for one in told["measured"]]
    judging = ", ".join(f"{one['judging_s']:.1f}" for one in told["measured"])
    limit = "" if math.isinf(told["time_s"]) else f"; no new trials after {span(told['time_s'])}"
    there = "there already" if told["exists"] else "new"
    return pairs([
        ("name", told["name"]),
        ("folder", f"{short(Path(told['folder']))} ({there})"),
        ("space", str(space.size(file.space))),
        ("trials", f"at most {told['trials']}, {told['slots']} at once{limit}"),
        ("runs on", f"{search.backend}, {search.cpus_per_trial} CPU and "
                    f"{_gpus(search.gpus_per_trial)} GPU per trial"),
        ("data", f"{told['data']['source']}: {splits} tasks"),
        ("budget", f"{told['gradients_per_trial']:,} gradient evaluations per trial"),
        ("measured", f"{len(steps)} recipe{'s' * (len(steps) > 1)}: "
                     f"{', '.join(steps)} ms a meta-step; "
                     f"{judging} s to judge"),
        ("a trial", f"about {span(trial_s['mean'])} ({span(trial_s['min'])} to "
                    f"{span(trial_s['max'])}), if it is not stopped early"),
        ("in all", f"about {span(told['expected_s'])}, and "
                   f"{told['disk_bytes'] / 1e6:,.0f} MB on disk; less where weak trials are "
                   "stopped, more where trials share cores"),
    ], indent="")  # fmt: skip


def _gpus(asked: float | str) -> str:
    return "a measured share of a" if isinstance(asked, str) else f"{asked:g}"
