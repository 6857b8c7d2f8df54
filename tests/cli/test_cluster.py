"""What the verbs for clusters write and say."""

from __future__ import annotations

import json

import pytest

SEARCH = "trial: {}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(SEARCH, "utf-8")
    return tmp_path


def test_render_writes_the_files_and_says_what_to_type(cli, here):
    found = cli("cluster", "render", "slurm", "--search", "my.yaml", "--runs", "/shared/runs")
    assert found.code == 0
    assert found.out.split() == ["cluster-slurm/search.sbatch"]
    assert "sbatch cluster-slurm/search.sbatch" in found.err
    assert '"my.yaml" --name "metasearch" --out "/shared/runs"' in (
        here / "cluster-slurm" / "search.sbatch"
    ).read_text("utf-8")


def test_render_brings_the_search_along_where_no_disk_is_shared(cli, here):
    words = ["--search", "my.yaml", "--runs", "/runs", "-s", "image=reg/metasearch:1.0"]
    assert cli("cluster", "render", "kuberay", *words).code == 0
    assert (here / "cluster-kuberay" / "search.yaml").read_text("utf-8") == SEARCH
    found = cli("cluster", "render", "kuberay", *words[2:], "--search", "missing.yaml")
    assert found.code == 2
    assert "missing.yaml: no such file" in found.err


def test_a_render_that_is_refused_leaves_what_was_there(cli, here, monkeypatch):
    words = ["render", "slurm", "--search", "my.yaml", "--runs", "/runs"]
    cli("cluster", *words)
    before = (here / "cluster-slurm" / "search.sbatch").read_text("utf-8")
    monkeypatch.setattr("metasearch.cluster.validate.shell_faults", lambda text: [(3, "is wrong.")])
    found = cli("cluster", *words, "--nodes", "7")
    assert found.code == 2
    assert found.err.startswith("error: cluster-slurm/search.sbatch:3: is wrong")
    assert (here / "cluster-slurm" / "search.sbatch").read_text("utf-8") == before
    assert cli("cluster", *words, "-o", "new").code == 2 and not (here / "new").exists()


def test_render_as_json_tells_all_it_prints(cli, here):
    found = cli("cluster", "render", "bare", "--runs", "/r", "-s", "head=10.0.0.1", "--json")
    told = json.loads(found.out)
    assert {"kind", "folder", "files", "fields", "start", "watch", "stop"} == set(told)
    assert told["fields"]["head"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["render", "slurm"], "runs: the folder of runs"),
        (["render", "nomad"], "no template is called 'nomad'"),
        (["render", "slurm", "--runs", "/r", "-s", "nodes"], "joined by ="),
        (["render", "slurm", "--runs", "/r;rm"], "may not stand there"),
        (["validate", "."], "nothing to check here"),
        (["fields", "nomad"], "no template is called"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(cli, here, words, said):
    found = cli("cluster", *words)
    assert found.code == 2
    assert said in found.err
    assert "Traceback" not in found.err


def test_validate_lists_files_and_ends_with_2_if_one_is_wrong(cli, here):
    cli("cluster", "render", "bare", "--runs", "/r", "-s", "head=10.0.0.1")
    assert cli("cluster", "validate", "cluster-bare").code == 0
    script = here / "cluster-bare" / "start-head.sh"
    script.write_text(script.read_text("utf-8").replace("127.0.0.1", "0.0.0.0"), "utf-8")
    found = cli("cluster", "validate", "cluster-bare", "--json")
    told = json.loads(found.out)
    assert found.code == 2
    assert not told["ok"]
    assert {f["file"]: bool(f["faults"]) for f in told["files"]} == {
        "cluster-bare/start-head.sh": True,
        "cluster-bare/start-worker.sh": False,
        "cluster-bare/stop.sh": False,
    }


def test_fields_say_which_have_to_be_given(cli, here):
    told = json.loads(cli("cluster", "fields", "slurm", "--json").out)
    assert {name for name, field in told.items() if field["required"]} == {"runs"}
    assert "to be given" in cli("cluster", "fields", "slurm").out


def test_token_says_where_the_token_is_and_not_what_it_is(cli, here, monkeypatch):
    monkeypatch.setenv("METASEARCH_TOKEN", str(here / "token"))
    found = cli("cluster", "token")
    secret = (here / "token").read_text("ascii")
    assert found.out.strip() == str(here / "token")
    assert secret not in found.out + found.err


def test_what_is_no_script_at_all_is_told_in_a_screenful(cli, tmp_path):
    script = tmp_path / "noise.sh"
    script.write_text("#!/bin/bash\n" + "--dashboard-host=0.0.0.0\n" * 300)
    told = cli("cluster", "validate", script)
    lines = told.err.splitlines()
    assert told.code == 2 and len(lines) < 45
    assert "more; --json has all" in lines[-1]
    asked = cli("cluster", "validate", script, "--json")
    assert len(asked.json["files"][0]["faults"]) >= 300
