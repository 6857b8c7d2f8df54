"""What is told of a cluster, by planted answers; real ones are asked in tests/contracts."""

from __future__ import annotations

import pytest

from metasearch.cli import up_check
from metasearch.cli.app import run
from metasearch.cli.up_check import describe
from metasearch.search.ray_link import Machine

HERE = Machine("1", "h1", 8.0, 2.0, "A100")


def verdicts(findings):
    return {finding.what: finding.verdict for finding in findings}


def test_a_machine_that_is_missing_is_a_fault():
    assert up_check._machines([HERE], 1).verdict == "ok"
    lacking = up_check._machines([HERE], 3)
    assert lacking.verdict == "fail" and "1 of 3" in lacking.found


def test_versions_that_differ_are_told_with_their_hosts():
    mine = describe("")
    assert not list(up_check._versions([HERE], [mine]))
    other = {**mine, "host": "h2", "torch": "0.1"}
    (told,) = up_check._versions([HERE, HERE], [mine, other])
    assert told.what == "torch" and "0.1 on h2" in told.found


def test_a_folder_that_is_not_shared_is_a_fault(tmp_path):
    blind = {**describe(str(tmp_path / "nowhere")), "host": "h2"}
    assert not blind["sees"]
    (told,) = up_check._shared(tmp_path, [HERE], [describe(str(tmp_path)), blind])
    assert told.verdict == "fail" and "h2" in told.found


@pytest.mark.parametrize(
    ("shown", "verdict"),
    [("", "ok"), ("127.0.0.1:8265", "ok"), ("10.0.0.1:8265", "fail"), ("0.0.0.0:8265", "fail")],
)
def test_a_dashboard_beyond_its_machine_is_a_fault(shown, verdict):
    assert up_check._dashboard(shown).verdict == verdict


def test_a_cluster_that_takes_anybody_is_a_fault():
    assert up_check._token(strangers=True, even_open=False).verdict == "fail"
    assert up_check._token(strangers=True, even_open=True).verdict == "warn"


def test_a_cluster_that_refuses_strangers_is_closed_and_one_that_is_silent_is_not_called_so():
    assert up_check._token(strangers=False, even_open=False).verdict == "ok"
    assert up_check._token(strangers=None, even_open=False).verdict == "warn"


def test_nobody_at_the_address_is_told_in_a_line(capsys):
    words = ["cluster", "up-check", "--address", "127.0.0.1:9", "--within", "1s"]
    assert run(words) == 4
    assert "no Ray cluster answers at '127.0.0.1:9'" in capsys.readouterr().err
    assert run([*words[:-1], "soon"]) == 2
