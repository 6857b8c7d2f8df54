"""The verb `report`, and the page that a search leaves."""

from __future__ import annotations

from metasearch.cli.report import leave_report


def test_a_run_becomes_a_file_in_its_folder_or_where_one_says(cli, planted):
    told = cli("report", "planted")
    assert told.code == 0
    assert told.out.strip() == "runs/planted/report.html"
    assert (planted / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    told = cli("report", "planted", "-o", "mailed.html", "--json")
    assert set(told.json) == {"file", "bytes"}
    assert told.json["bytes"] == (planted.parents[1] / "mailed.html").stat().st_size


def test_a_run_that_is_not_there_is_told_in_one_line(cli, planted):
    told = cli("report", "plantde")
    assert told.code == 2
    assert "planted" in told.err
    told = cli("report", "planted", "-o", "no/such/folder.html")
    assert told.code == 2
    assert len(told.err.splitlines()) == 1


def test_a_page_that_cannot_be_written_ends_no_search(planted, capsys):
    (planted / "manifest.json").write_text("{}")
    leave_report(planted)
    told = capsys.readouterr().err
    assert told.startswith("no report could be written (RunError: ")
    assert len(told.splitlines()) == 1
