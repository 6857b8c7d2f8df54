"""Templates are filled in whole, and nothing gets into them that should not."""

from __future__ import annotations

import re
import subprocess

import pytest

from metasearch.cluster.fields import FIELDS, settle
from metasearch.cluster.templates import GUIDES, MARK, fields_of, read, render, source, steps
from metasearch.cluster.validate import validate
from metasearch.errors import ConfigError
from tests.cluster.conftest import filled


def test_every_folder_of_templates_is_a_kind_with_a_guide():
    assert {path.name for path in source().iterdir() if path.is_dir()} == set(GUIDES)


def test_every_marked_field_is_known(kind):
    assert fields_of(kind) <= set(FIELDS)


def test_every_field_is_used_by_some_template():
    assert set().union(*map(fields_of, GUIDES)) == set(FIELDS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_example_and_the_default_of_a_field_fit_its_pattern(name):
    field = FIELDS[name]
    for value in {field.like, field.default} - {None, ""}:
        assert re.fullmatch(field.pattern, value), value


@pytest.mark.parametrize("name", sorted(FIELDS))
@pytest.mark.parametrize(
    "hostile", ["a b", "a\nb", "a'b", 'a"b', "$(id)", "`id`", "a;b", "a#b", "{a}"]
)
def test_no_field_admits_what_a_shell_or_yaml_would_take_for_more_than_a_word(name, hostile):
    with pytest.raises(ConfigError, match=f"^{name}: "):
        settle({name}, {name: hostile})


def test_filled_in_templates_leave_nothing_open_and_pass_the_checks(kind, tmp_path):
    folder = filled(kind, tmp_path)
    for file in folder.iterdir():
        assert not MARK.search(file.read_text("utf-8"))
    verdicts = validate(folder)
    assert {v.file.name: v.faults for v in verdicts if v.faults} == {}
    assert {v.file.name for v in verdicts if v.kind != "other"} == {
        f.name for f in folder.iterdir()
    }


def test_with_runs_in_a_bucket_no_template_needs_a_disk_for_them(kind, tmp_path):
    if "runs" not in fields_of(kind):
        pytest.skip(f"{kind} knows no runs")
    folder = filled(kind, tmp_path, runs="s3://shelf/runs")
    assert {v.file.name: v.faults for v in validate(folder) if v.faults} == {}
    text = "".join(file.read_text("utf-8") for file in folder.iterdir())
    for word in ("mountPath: s3", "claimName", "--output=", MARK.pattern):
        assert not re.search(word, text), word


def test_every_value_arrives_in_the_files_or_the_commands(kind):
    odd = {n: FIELDS[n].like for n in fields_of(kind) if n != "nodes"}
    texts, values = render(kind, odd)
    lines = [line for lines in steps(kind, values, "f").values() for line in lines]
    everything = "\n".join([*texts.values(), *lines])
    assert {n for n, value in values.items() if value not in everything} == set()


def test_lines_of_fields_without_a_value_are_left_out(tmp_path):
    script = (filled("slurm", tmp_path) / "search.sbatch").read_text("utf-8")
    assert "--partition" not in script
    script = (filled("slurm", tmp_path, partition="gpu") / "search.sbatch").read_text("utf-8")
    assert "#SBATCH --partition=gpu\n" in script


def test_a_queue_of_kueue_suspends_the_job_and_without_one_nothing_does(tmp_path):
    bare = filled("kuberay", tmp_path / "bare")
    assert not (bare / "kueue.yaml").exists()
    assert "suspend" not in (bare / "rayjob.yaml").read_text("utf-8")
    assert "kueue" not in (bare / "kustomization.yaml").read_text("utf-8")
    queued = filled("kuberay", tmp_path / "queued", queue="research", cluster_queue="gpus")
    assert "clusterQueue: gpus" in (queued / "kueue.yaml").read_text("utf-8")
    assert "suspend: true" in (queued / "rayjob.yaml").read_text("utf-8")
    assert "- kueue.yaml" in (queued / "kustomization.yaml").read_text("utf-8")


def test_all_faults_of_what_is_given_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        render("slurm", {"partitoin": "gpu", "nodes": "0"})
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["partitoin", "nodes", "runs"]
    assert "Did you mean 'partition'?" in lines[0]
    assert "-s runs=/shared/runs" in lines[2]


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("slurm", {"gpus": "1", "gpus_per_trial": "4"}, "gpus_per_trial: 4 of the 1 GPUs"),
        ("slurm", {"gpus": "0", "gpus_per_trial": "auto"}, "gpus_per_trial: auto of the 0 GPUs"),
        ("slurm", {"runs": "runs"}, "runs: 'runs' may not stand there"),
        ("slurm", {"runs": "~/runs"}, "another folder on each node"),
        ("kuberay", {"cluster_queue": "gpus"}, "cluster_queue: does nothing without queue"),
        ("kuberay", {"head_label": "pool"}, "head_label: does nothing without head_value"),
        ("ssh", {"nodes": "3"}, "nodes: 3, but workers lists"),
        ("bare", {"port": "6380"}, "three apart"),
        ("bare", {"first_port": "30000"}, "first_port: 30000 comes after"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(kind, given, said):
    needed = {n: FIELDS[n].like for n in fields_of(kind) if FIELDS[n].default is None}
    with pytest.raises(ConfigError, match=re.escape(said)):
        render(kind, {**needed, **given})


def test_machines_without_a_gpu_get_trials_without_one(tmp_path):
    script = (filled("slurm", tmp_path, gpus="0") / "search.sbatch").read_text("utf-8")
    assert "--gres" not in script and "--gpus-per-trial 0 " in script


def test_over_ssh_the_workers_are_counted_and_the_head_is_waited_for(tmp_path):
    _, values = render("ssh", {"head": "h1", "workers": "[h2, h3]", "ssh_key": "~/k", "runs": "/r"})
    assert values["nodes"] == "2"
    wait = next(x for x in steps("ssh", values, "f")["start"] if "up-check" in x)
    assert "--nodes 3 " in wait


@pytest.mark.parametrize("kind", [kind for kind in GUIDES if "gpus" in fields_of(kind)])
def test_trials_get_the_share_of_a_gpu_that_is_asked_for(kind, tmp_path):
    given = {} if kind == "ssh" else {"nodes": "2"} if "nodes" in fields_of(kind) else {}
    needed = {n: FIELDS[n].like for n in fields_of(kind) if FIELDS[n].default is None}
    texts, values = render(kind, {**needed, **given, "gpus": "2", "gpus_per_trial": "0.25"})
    typed = [line for lines in steps(kind, values, "f").values() for line in lines]
    assert "--gpus-per-trial 0.25" in "\n".join([*texts.values(), *typed])


def test_a_queue_that_is_there_already_is_named_and_not_made(tmp_path):
    queued = filled("kuberay", tmp_path, queue="research")
    assert "suspend: true" in (queued / "rayjob.yaml").read_text("utf-8")
    assert not (queued / "kueue.yaml").exists()
    assert "kueue.yaml" not in (queued / "kustomization.yaml").read_text("utf-8")


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'slurm'"):
        read("slrum")


def test_scripts_are_bash_that_parses(kind, tmp_path):
    for file in filled(kind, tmp_path).iterdir():
        if file.suffix in {".sh", ".sbatch"}:
            subprocess.run(["bash", "-n", str(file)], check=True)


def test_no_template_runs_a_trial_on_the_machine_that_runs_the_search_in_a_cloud(tmp_path):
    for cloud in ("aws", "gcp", "azure"):
        text = (filled(cloud, tmp_path / cloud) / "cluster.yaml").read_text("utf-8")
        head = text.partition("  head:\n")[2].partition("  workers:\n")[0]
        assert "resources: {CPU: 0}" in head
        assert "pot" not in head and "preemptible" not in head
