"""The page of a run is written while it is searched, and holds nothing up."""

from __future__ import annotations

from metasearch.observe.base import Outcome, SearchInfo
from metasearch.report import LiveReport
from metasearch.report.live import RARELY_S
from metasearch.search.run import run_search
from tests.search.plans import plan
from tests.search.planted import TRIAL


class Looks:
    """Notes after each trial whether the page is there, and of how many trials it tells."""

    def __init__(self):
        self.seen: list[int] = []

    def opened(self, search, past):
        self.page = search.folder / "report.html"

    def started(self, trial):
        pass

    def reported(self, trial, report):
        pass

    def set_aside(self, trial):
        pass

    def ended(self, trial, outcome):
        told = self.page.read_text("utf-8") if self.page.exists() else ""
        self.seen.append(sum(f">{n:04d}</th>" in told for n in range(12)))

    def closed(self, interrupted):
        pass


def test_it_tells_of_every_trial_that_ended_so_far(tmp_path):
    looks = Looks()
    live = LiveReport(share=1e9, rarely_s=0)
    run_search(plan({}, trials=5), tmp_path / "run", [live, looks], trial=TRIAL)
    assert looks.seen == [1, 2, 3, 4, 5]


def test_it_is_written_at_once_and_then_seldom(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("metasearch.report.live.write_report", written.append)
    live = LiveReport()
    live.opened(SearchInfo("a", tmp_path, 9, None, "mmd", "", "minimize", []), [])
    for _ in range(50):
        live.ended(None, Outcome("complete", "finished"))
    assert written == [tmp_path]
    assert RARELY_S > 1
