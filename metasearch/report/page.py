"""One HTML file that tells of a search: no network, no framework, readable without scripts."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metasearch import __version__
from metasearch.bundle.remarks import remarks
from metasearch.drawing.svg import to_svg
from metasearch.errors import ConfigError
from metasearch.report import plots, sections
from metasearch.report.front import front_table, tradeoff
from metasearch.report.headline import headline
from metasearch.report.pictures import gallery
from metasearch.report.story import Story
from metasearch.search.files import to_json, write_atomically
from metasearch.search.home import home_of

if TYPE_CHECKING:
    from jinja2 import Environment

    from metasearch.drawing.scene import Scene
    from metasearch.search.ledger import Record

NAME = "report.html"
ASSETS = Path(__file__).parent / "assets"
TOLD = 2  # trials whose strategy is told


def write_report(folder: Path | str, to: Path | None = None) -> Path:
    """Write the page of the run in `folder`, into it if no other place is given.

    Raises:
        RunError: it is no run folder, or is damaged.
        ConfigError: there is no folder for the file.
    """
    story = Story.of(folder)
    path = to or story.run.folder / NAME
    if not path.parent.is_dir():
        raise ConfigError(
            f"{path}: there is no folder {path.parent}. Make it, or name another file."
        )
    write_atomically(path, render(story), sync=False)
    home_of(path.parent).keep(path.name)
    return path


def leave_report(folder: Path, tell: Callable[[str], None] = lambda _: None) -> None:
    """Write the page at the end of a search or an export, whatever comes of it: what was found is
    not lost for a page that could not be drawn.
    """
    try:
        tell(f"report: {write_report(folder)}")
    except Exception as fault:  # the search is over and written down
        tell(f"no report could be written ({type(fault).__name__}: {fault})")


def render(story: Story) -> str:
    """The page as text. All that comes from the run is escaped, and no link of it is followed."""
    style = (ASSETS / "style.css").read_text("utf-8")
    script = (ASSETS / "sort.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("page.html").render(
        style=style, script=script, script_hash=digest, version=__version__,
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), **_told(story),
    )  # fmt: skip


def _told(story: Story) -> dict[str, Any]:
    """Everything on the page, by name; what a run does not have is empty."""
    return {
        "info": story.run.info,
        "summary": sections.summary(story),
        "headline": headline(story),
        "remarks": _remarks(story),
        "gallery": gallery(story),
        "trials": sections.trials_table(story),
        "plots": {name: plot(story) for name, plot in plots.PLOTS.items()},
        "front": front_table(story),
        "tradeoffs": _tradeoffs(story),
        "bought": plots.bought(story),
        "strategies": _strategies(story),
        "splits": sections.splits_table(story),
        "candidates": sections.candidates_table(story),
        "troubles": sections.troubles(story),
        "recipe": sections.recipe_table(story),
        "provenance": sections.provenance(story),
        "commands": sections.commands(story),
        "search_file": story.text("search.yaml"),
    }


def _remarks(story: Story) -> list[str]:
    leaders = story.leaders
    selection = {
        "by_hand": False,
        "finished": len(leaders.records),
        "optimism": leaders.optimism,
        "all_alike": leaders.all_alike,
    }
    info = story.run.info
    about = {"score": {"direction": info.direction, "unit": info.unit}, "selection": selection}
    return remarks({**about, **(story.evidence or {})})


def _tradeoffs(story: Story) -> list[Scene]:
    found = [tradeoff(story, watched.name) for watched in story.run.info.watched]
    return [drawn for drawn in found if drawn is not None]


def _strategies(story: Story) -> list[tuple[str, list[Scene]]]:
    """The best trials in which a rule chose, and who was chosen when."""
    found, known = [], set()
    for record in story.leaders.records:
        rules = to_json(_rules(record))
        if rules in known:  # one that chose alike was told
            continue
        known.add(rules)
        drawn = list(plots.strategy(story, record.number).values())
        evenness = plots.evenness(story, record.number)
        if drawn:
            found.append((record.info.name, [*drawn, *([evenness] if evenness else [])]))
        if len(found) == TOLD:
            break
    return found


def _rules(record: Record) -> list[Any]:
    """Which rules choose in a trial, whatever their settings."""
    strategy = record.info.config.get("strategy") or {}
    axes = [strategy.get(axis) for axis in ("tasks", "algorithms", "models")]
    return [axis.get("name") if isinstance(axis, dict) else axis for axis in axes]


@cache
def _environment() -> Environment:
    import jinja2  # takes a moment that other verbs do not need

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    from markupsafe import Markup

    made.filters["svg"] = lambda scene, key="": Markup(to_svg(scene, key))
    return made
