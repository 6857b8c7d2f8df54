"""The bundle's README: a model card with Hugging Face front matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from metasearch.bundle.remarks import remarks
from metasearch.tasks.licence import UNKNOWN
from metasearch.trial.config import TrialConfig


def model_card(
    config: TrialConfig, report: Mapping[str, Any], provenance: Mapping[str, Any], title: str
) -> str:
    """Front matter that the hub parses, then what a person needs in order of need."""
    test = report["splits"]["test"]
    score = report["score"]
    front = {
        "library_name": "metasearch",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["meta-learning", "few-shot", *sorted(report["recipe"].values())],
        "model-index": [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "unconditional-image-generation"},
                        "dataset": {"name": config.tasks.name, "type": config.tasks.name},
                        "metrics": [
                            {
                                "type": score["name"],
                                "value": test["mean"],
                                "name": f"{score['name']} on unseen test tasks "
                                f"with its 95 % interval, {_cell(test)}",
                            }
                        ],
                    }
                ],
            }
        ],
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{_body(config, report, provenance, title)}"


def _body(
    config: TrialConfig, report: Mapping[str, Any], provenance: Mapping[str, Any], title: str
) -> str:
    recipe = report["recipe"]
    better = "lower" if report["score"]["direction"] == "minimize" else "higher"
    return f"""# {title}

A {recipe["model"]} trained with {recipe["algorithm"]} on many small classes: shown
{config.tasks.shot} images of a class it never saw, it adapts to them and draws more of that class.

```python
import metasearch

model = metasearch.load_bundle("{title}")
images = model.adapt("folder/with/a/few/images").sample(64, seed=0)  # [64, c, h, w] in [0, 1]
```

![support, before and after adaptation, on unseen test tasks](samples.png)

## How good it is

{report["score"]["name"]} ({report["score"]["unit"]}, {better} is better), mean over tasks with a
95 % bootstrap interval:

{_table(report)}

Trials were ranked on `search` tasks, the best few again on `confirm` tasks, and `test` tasks were
{_openings(report["test_openings"])}. The winner of a search looks better on `search` than it is.
{_remarks(report)}{_watched(report)}
## On what terms

Images it learned from: {provenance.get("data_licence", UNKNOWN)}. What a model draws may come close
to them; whether the terms of the data reach it is for you to judge.

## Where it comes from

| | |
|---|---|
{_lines(provenance)}

`config.yaml` is the whole recipe, `report.json` the scores task by task, `constraints.txt` the
versions it was made with.
"""


def _remarks(report: Mapping[str, Any]) -> str:
    told = "\n".join(f"- {remark[0].upper()}{remark[1:]}." for remark in remarks(report))
    return f"\n{told}\n" if told else ""


def _watched(report: Mapping[str, Any]) -> str:
    """What else was measured on test tasks, between its ends, and what adapting takes."""
    watched = {name: told for name, told in report.get("watched", {}).items() if "test" in told}
    if not watched:
        return ""
    ends = list(
        dict.fromkeys(e for told in watched.values() for e in told["test"].get("anchors", ()))
    )
    rows = [f"| watched on test | after | before | {' | '.join([*ends, 'unit'])} |"]
    rows.append("|---" * (len(ends) + 4) + "|")
    for name, told in watched.items():
        test = told["test"]
        known = test.get("anchors", {})  # neither is in reports made by earlier versions
        beside = [_number(test.get("before")), *(_number(known.get(end)) for end in ends)]
        rows.append(f"| {name} | {_cell(test)} | {' | '.join([*beside, told['unit']])} |")
    cost = report["adaptation"]
    return (
        "\n" + "\n".join(rows) + "\n\n"
        "`copying` below -3 means copies of the support; `diversity` is 1 for real images, `c2st` "
        f"1/2.\nAdapting to a class takes {cost['gradients']:,} gradient evaluations, "
        f"{cost['seconds']:.2g} s on one CPU thread where this was exported;\nthe model has "
        f"{cost['parameters']:,} parameters.\n"
    )


def _openings(count: int) -> str:
    return "opened once, for this table" if count == 1 else f"opened {count} times in this search"


def _table(report: Mapping[str, Any]) -> str:
    rows = ["| | search | confirm | test |", "|---|---|---|---|"]
    lines = {"this bundle": report["splits"], **report["baselines"]}
    for name, splits in lines.items():
        cells = [_cell(splits.get(split)) for split in ("search", "confirm", "test")]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    if found["mean"] is None:
        return "diverged"
    if found["low"] is None:  # of a single task
        return f"{found['mean']:.4g}"
    return f"{found['mean']:.4g} [{found['low']:.4g}, {found['high']:.4g}]"


def _number(found: float | None) -> str:
    return "" if found is None else f"{found:.4g}"


def _lines(provenance: Mapping[str, Any]) -> str:
    return "\n".join(
        f"| {key.replace('_', ' ')} | {value} |"
        for key, value in provenance.items()
        if isinstance(value, str | int | float)
    )
