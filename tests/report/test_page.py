"""The page tells what a run holds, whatever it holds, and nothing of it becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from metasearch.errors import RunError
from metasearch.observe.base import Outcome
from metasearch.report import PLOTS, Story, render, write_report
from metasearch.report.plots import bought
from tests.observe.synthetic_search import trial_info
from tests.report.runs import EVIL, add_evidence, fail, make_run
from tests.test_light_imports import HEAVY, loaded_by


class Page(HTMLParser):
    """The elements of a page, and the text of each section."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.texts, self.section = [], [], [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "section":
            self.section = ""

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.texts[self.section] = self.texts.get(self.section, "") + data

    def text(self, section):
        return " ".join(self.texts[section].split())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "made", 16)


@pytest.fixture(scope="module")
def page(run):
    return Page(render(Story.of(run)))


def test_every_element_is_closed_and_every_section_named(page):
    assert not page.open
    sections = [a["id"] for tag, a in page.attributes if tag == "section"]
    assert sections == [
        "result", "gallery", "trials", "learning", "strategies", "settings", "failures", "again",
    ]  # fmt: skip
    linked = {a["href"] for tag, a in page.attributes if tag == "a"}
    assert linked == {f"#{name}" for name in sections}


def test_the_top_names_the_leader_its_interval_and_what_is_not_known_yet(run, page):
    leader = Story.of(run).leaders.records[0]
    text = page.text("result")
    assert leader.info.name in text
    assert f"outer.lr {leader.info.params['outer.lr']:.3g}" in text
    assert f"{leader.outcome.score:.4f}" in text
    assert f"[{leader.outcome.low:.4f}, {leader.outcome.high:.4f}]" in text
    assert "not compared with joint and scratch" in text


def test_a_leader_is_compared_with_the_best_trial_that_does_not_meta_learn(tmp_path):
    run = make_run(tmp_path / "tried", 8)
    story = Story.of(run)
    rival = story.leaders.records[2]
    path = run / "ledger" / f"{rival.number:04d}.asked.json"
    asked = json.loads(path.read_text())
    asked["config"]["algorithms"] = [{"name": "joint"}]
    path.write_text(json.dumps(asked))
    text = Page(render(Story.of(run))).text("result")
    assert f"better than {rival.info.name}, the best joint trial, by" in text.replace("it is ", "")
    assert "scratch trial" not in text


def test_the_gallery_shows_the_best_first_and_each_task_in_every_column(run, page):
    best = [r.info.name for r in Story.of(run).leaders.records]
    text = page.text("gallery")
    places = [text.index(name) for name in best[:8]]
    assert places == sorted(places)
    alts = [a["alt"] for tag, a in page.attributes if tag == "img"]
    for task in ("Greek/omega", "Georgian/an"):
        assert f"{best[0]} draws {task}" in alts


def test_every_trial_is_in_the_table_with_how_it_ended(run, page):
    text = page.text("trials")
    for record in Story.of(run).run.trials:
        assert record.info.name in text
    assert "failed: out_of_memory" in text
    assert "pruned: pruner" in text


def test_failures_are_grouped_with_a_command_that_shows_one(run, page):
    text = page.text("failures")
    assert "1 failed ran out of memory" in text
    assert "MemoryError: 2 GiB wanted" in text
    assert "metasearch show made 5" in text
    assert "metasearch reproduce made 5" in text


def test_the_strategy_of_the_best_trial_is_told(run, page):
    assert "Who was chosen when" in page.text("strategies")
    assert "0 vae" in page.text("strategies")
    assert "tasks: cooperative" in page.text("strategies")


def test_what_each_rule_would_have_found_is_told(run, page):
    drawn = bought(Story.of(run))
    assert drawn
    for scene in drawn:
        assert scene.title in page.text("strategies")


def test_a_search_with_several_objectives_tells_its_front(tmp_path):
    run = make_run(tmp_path / "several", 12)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["search"] |= {
        "objectives": ["nll"],
        "bounds": [{"score": "nll", "at_least": None, "at_most": 500.0}],
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    story = Story.of(run)
    text = Page(render(story)).text("learning")
    assert "No other trial is better in all of mmd, nll, with nll at most 500" in text
    values = {
        r.info.name: (r.outcome.score, r.last.scalars["score/nll"])
        for r in story.leaders.records
        if "score/nll" in r.last.scalars
    }
    table = text.partition("The front")[2].partition("mmd and nll.")[0]
    for name, (score, nll) in values.items():
        beaten = any(s <= score and n <= nll and (s, n) != (score, nll) for s, n in values.values())
        assert (name in table) == (not beaten), name


def test_settings_that_a_trial_lacks_have_a_lane(page):
    assert "unset" in page.text("settings")
    assert "vae.beta" in page.text("settings")


def test_the_page_loads_nothing_and_runs_no_script_but_its_own(run):
    text = render(Story.of(run))
    page = Page(text)
    assert page.tags.count("script") == 1
    assert not {"link", "iframe", "object", "form"} & set(page.tags)
    for _, attributes in page.attributes:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:image/png;base64,", "#"))
    policy = next(a["content"] for t, a in page.attributes if a.get("http-equiv"))
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_nothing_from_a_run_becomes_markup(tmp_path, page):
    text = render(Story.of(make_run(tmp_path / "evil", 10, evil=EVIL)))
    evil = Page(text)
    assert evil.tags.count("script") == 1
    assert set(evil.tags) <= set(page.tags) | {"details", "summary"}
    assert "<script>alert" not in text
    assert EVIL in evil.texts["again"]


def test_a_link_out_of_the_run_folder_is_not_followed(tmp_path):
    run = make_run(tmp_path / "linked", 4)
    secret = tmp_path / "secret.txt"
    secret.write_text("do not mail this")
    (run / "search.yaml").unlink()
    (run / "search.yaml").symlink_to(secret)
    assert "do not mail this" not in render(Story.of(run))


def test_test_scores_are_told_against_the_baselines_once_they_are_known(tmp_path):
    run = make_run(tmp_path / "exported")
    add_evidence(run)
    page = Page(render(Story.of(run)))
    text = page.text("result")
    assert "0006-vae-maml, exported and judged on 24 test tasks" in text
    assert "settled better than joint by 0." in text
    assert "on the way from real images (0)" in text
    assert "joint, confirm" in page.text("generalisation")


def test_an_ensemble_is_named_by_its_members(tmp_path):
    run = make_run(tmp_path / "together")
    place = add_evidence(run)
    told = json.loads((place / "report.json").read_text())
    members = [{"trial": 6, "name": "a", "share": 0.75}, {"trial": 0, "name": "b", "share": 0.25}]
    told["ensemble"] = {"rule": "greedy", "members": members, "taken": True}
    told["ensemble"] |= {"confirm": 0.3, "single": 0.31}
    (place / "exported.json").write_text(json.dumps(told))
    text = Page(render(Story.of(run))).text("result")
    assert "greedy of 2 trials: a (75%), b (25%)" in text


@pytest.mark.parametrize(("joint", "said"), [(-0.2, "settled worse than joint by 0."),
                                             (0.0, "not settled that it is better than joint")])  # fmt: skip
def test_a_baseline_that_wins_or_draws_is_not_hidden(tmp_path, joint, said):
    run = make_run(tmp_path / "exported")
    add_evidence(run, joint=joint)
    assert said in Page(render(Story.of(run))).text("result")


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_a_run_of_few_trials_has_a_page(tmp_path, trials):
    page = Page(render(Story.of(make_run(tmp_path / "few", trials))))
    assert not page.open


def test_a_run_that_goes_on_and_one_without_pictures_have_a_page(tmp_path):
    page = Page(render(Story.of(make_run(tmp_path / "going", 5, pictures=False, open_last=True))))
    assert "gallery" not in page.texts
    assert "1 open" in page.texts[""]


def test_a_run_in_which_nothing_finished_says_so(tmp_path):
    run = make_run(tmp_path / "bad", 3)
    for number in range(3):
        fail(run, trial_info(number), Outcome("failed", "user", error=f"ValueError: {number} bad"))
    page = Page(render(Story.of(run)))
    assert "No trial has finished, so there is nothing to compare" in page.text("result")
    assert "3 failed raised an error: ValueError: # bad" in page.text("failures")


def test_a_damaged_sheet_costs_its_column_alone(tmp_path):
    run = make_run(tmp_path / "torn", 8)
    story = Story.of(run)
    first = story.leaders.records[0]
    story.sheet(first).write_bytes(b"\x89PNG torn")
    page = Page(render(Story.of(run)))
    alts = " ".join(a["alt"] for tag, a in page.attributes if tag == "img")
    assert first.info.name not in alts
    assert story.leaders.records[1].info.name in alts


def test_writing_goes_into_the_run_or_where_it_is_told(tmp_path):
    run = make_run(tmp_path / "made", 3)
    assert write_report(run) == run / "report.html"
    other = tmp_path / "mailed.html"
    assert write_report(run, other).read_text("utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(RunError, match="no run folder"):
        write_report(tmp_path)


def test_writing_a_page_loads_nothing_heavy(run, tmp_path):
    code = f"from metasearch.report import write_report\nfrom pathlib import Path\nwrite_report({str(run)!r}, Path({str(tmp_path / 'a.html')!r}))"
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_a_drawing_or_nothing(run, name, tmp_path):
    drawn = PLOTS[name](Story.of(run))
    if name != "gap":  # which needs test scores
        assert drawn.title
        assert drawn.about
        assert "<svg" in drawn._repr_html_()
    empty = Story.of(make_run(tmp_path / "empty", 0))
    assert PLOTS[name](empty) is None


def test_the_importance_of_pruned_trials_needs_no_study(run):
    (run / "study.journal").unlink(missing_ok=True)
    assert PLOTS["importance"](Story.of(run)) is not None
    assert json.loads((run / "manifest.json").read_text())["search"]["draws"]


@pytest.mark.slow
def test_the_page_of_a_hundred_trials_can_be_mailed(tmp_path):
    path = write_report(make_run(tmp_path / "hundred", 100))
    assert path.stat().st_size < 5_000_000


def test_a_rule_without_a_name_does_not_end_a_page(tmp_path):
    run = make_run(tmp_path / "run", trials=3)
    record = run / "ledger" / "0001.asked.json"
    data = json.loads(record.read_text())
    data["config"]["strategy"] = {"tasks": {"": 1}, "models": [3]}
    record.write_text(json.dumps(data))
    assert write_report(run).is_file()
