"""Searching from the command line, small and in this process."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from PIL import Image

from metasearch.search.ledger import open_run

TINY = """\
search: {backend: local, sampler: random, pruner: none, trials: 2, confirm: {top: 2}}
trial:
  tasks: {name: glyphs, size: 16, shot: 3, query: 4}
  score: {name: nll, samples: 2}
  budget: {gradients: 300, reports: 2, tasks_per_step: 4}
  judging: {tasks: 6, samples: 8}
  models: [{name: vae, latent: {integers: [4, 8]}, net: mlp}]
  algorithms: [{name: reptile, inner: {steps: 2}}]
"""


@pytest.fixture
def file(place):
    path = place / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_a_search_runs_and_tells_what_to_do_next(cli, file, place):
    told = cli("search", file)
    assert told.code == 0
    assert "2 of 2 ended: 2 complete" in told.out
    assert "metasearch export tiny -o runs/tiny-best" in told.out
    assert "tasks: " in told.err
    assert "search tiny: 2 trials" in told.err
    folder = place / "runs" / "tiny"
    assert open_run(folder).state == "finished"
    assert sorted(p.name for p in (folder / "tensorboard").iterdir())[0] == "0000-vae-reptile"
    assert list((folder / "trials" / "0000-vae-reptile" / "samples").glob("*.png"))

    again = cli("search", file)  # nothing is left to do
    assert again.code == 0
    assert again.out == told.out.replace(_state(told.out), _state(again.out))

    longer = cli("resume", "tiny", "--trials", 3, "--json").json
    assert longer["trials"]["complete"] == 3
    assert longer["ending"] == "trials"

    refused = cli("search", file, "--resume", "never")
    assert refused.code == 2
    assert "holds a search already" in refused.err

    other = cli("search", file, "-s", "trial.outer.lr=0.5")
    assert other.code == 2
    assert "another space" in other.err


def test_a_limit_is_a_flag_and_raised_it_takes_back_what_it_ended(cli, file):
    told = cli("search", file, "--gradients", 150, "--time", "1h")
    assert "1 trials would go on with a higher limit" in told.err
    assert "metasearch resume tiny --gradients 300\n" in told.err, "the time was not over"
    again = cli("resume", "tiny", "--gradients", 10_000, "--json")
    assert again.code == 0, again.err
    longer = again.json
    assert (longer["trials"]["complete"], longer["ending"]) == (2, "trials")


def _state(out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith("  state"))


def test_flags_are_laid_over_the_file(cli, file, place):
    told = cli(
        *("search", file, "--name", "mine", "--out", place / "deep" / "there", "--trials", 1),
        *("--time", "20m", "--seed", 7, "--max-concurrent", 1, "--cpus-per-trial", 1),
        *("-s", "search.trials=9", "-s", "trial.budget.reports=1", "--json"),
    )
    assert told.code == 0
    assert told.json["trials"]["wanted"] == 1
    assert told.json["time_s"] == 1200
    run = open_run(place / "deep" / "there" / "mine")
    assert run.manifest["seed"] == 7
    assert run.trials[0].info.config["budget"]["reports"] == 1


def test_a_dry_run_writes_nothing(cli, file, place):
    told = cli("search", file, "--dry-run")
    assert told.code == 0
    assert "runs/tiny (new)" in told.out
    assert not (place / "runs").exists()
    data = cli("search", file, "--dry-run", "--json").json
    assert data["gradients"] == 2 * 300
    assert data["time_s"] is None
    assert data["data"]["splits"]["train"] > 0
    assert set(data) == {
        *("name", "folder", "exists", "trials", "time_s", "draws", "configurations", "branches"),
        *("gradients_per_trial", "gradients", "data", "measured", "trial_s", "slots"),
        *("expected_s", "disk_bytes"),
    }
    for one in data["measured"]:
        assert one["meta_step_s"] > 0 and one["judging_s"] > 0
        steps = data["gradients_per_trial"] / one["gradients"]
        assert one["trial_s"] == pytest.approx(steps * one["meta_step_s"] + 2 * one["judging_s"])
    assert data["slots"] == 1  # in this process
    assert data["expected_s"] == pytest.approx(2 * data["trial_s"]["mean"])


def test_a_dry_run_warns_of_a_time_too_short_and_its_advice_is_enough(cli, file):
    short = ("search", file, "--dry-run", "--trials", 20)
    assert "there is room for" not in cli(*short).err
    told = cli(*short, "--time", 0.001)
    assert told.code == 0
    (line,) = [x for x in told.err.splitlines() if "there is room for" in x]
    longer = re.search(r"--time (\w+)", line)[1]
    assert "there is room for" not in cli(*short, "--time", longer).err


def test_a_dry_run_remarks_what_a_check_of_the_file_does(cli, file):
    odd = ("-s", "search.pruner=median", "-s", "trial.outer.lr={choice: [0.1]}")
    told, checked = cli("search", file, "--dry-run", *odd), cli("space", "check", file, *odd)
    remarks = [line for line in checked.err.splitlines() if line.startswith("warning: ")]
    assert any("trials race" in line for line in remarks)
    assert told.err.startswith("\n".join(remarks))


def test_a_dry_run_expects_the_disk_that_a_search_takes(cli, file, place):
    expected = cli("search", file, "--dry-run", "--json").json["disk_bytes"]
    assert cli("search", file).code == 0
    taken = sum(p.stat().st_size for p in (place / "runs" / "tiny").rglob("*") if p.is_file())
    assert expected / 5 < taken < 5 * expected


def test_a_wrong_flag_is_told_like_a_wrong_file(cli, file):
    told = cli("search", file, "--trials", 0)
    assert told.code == 2
    assert told.err.startswith("-s: search.trials: trials must be at least 1.\n")
    told = cli("search", file, "--time", "soon")
    assert "-s: search.time: time is a duration such as 150s, 20m or 1h30m" in told.err


def test_missing_data_ends_with_2_before_anything_is_written(cli, file, place):
    told = cli("search", file, "-s", "trial.tasks={name: folder, path: nowhere}")
    assert told.code == 2
    assert "nowhere" in told.err
    assert "Traceback" not in told.err
    assert not (place / "runs").exists()


def test_a_run_that_is_not_there_cannot_be_resumed(cli):
    assert cli("resume", "nothing").code == 2


def test_the_winner_is_exported_and_draws_images(cli, file, place):
    assert cli("search", file).code == 0
    told = cli("export", "tiny")
    assert told.code == 0
    assert "the recipe" in told.out
    assert "minus joint" in told.out
    assert "written to runs/tiny-best" in told.out
    assert "opening the test tasks" in told.err

    twice = cli("export", "tiny")
    assert twice.code == 2
    assert "exists already" in twice.err

    data = cli("export", "tiny", "-o", "other", "--json").json
    assert set(data) == {"bundle", "report"}

    mine = place / "mine"
    mine.mkdir()
    for i in range(3):
        Image.new("L", (20, 20), 250 - i).save(mine / f"{i}.png")
    drawn = cli("generate", "other", "--support", mine, "-n", 4, "-o", "deep/out.png")
    assert drawn.code == 0
    assert drawn.out == "4 images, your own to the left: deep/out.png\n"
    with Image.open(place / "deep" / "out.png") as picture:
        assert picture.format == "PNG"
    words = ("--support", mine, "-n", 4, "-o", "deep/again.png", "--each", "each", "--json")
    told = cli("generate", "other", *words).json
    assert told == {
        "picture": "deep/again.png", "images": 4, "folder": "each", "program": None,
    }  # fmt: skip
    assert (place / "deep/again.png").read_bytes() == (place / "deep/out.png").read_bytes()
    assert len(list((place / "each").glob("*.png"))) == 4
    images = sorted(mine.glob("*.png"))  # as a shell passes mine/*.png
    listed = cli("generate", "other", "--support", *images, "-n", 4, "-o", "listed.png")
    assert listed.code == 0
    assert (place / "listed.png").read_bytes() == (place / "deep/out.png").read_bytes()

    whole = Image.new("L", (60, 20), "white")
    for i, image in enumerate(images):
        whole.paste(
            Image.open(image).resize((14, 14)).point(lambda v, i=i: 40 * i), (20 * i + 3, 3)
        )
    whole.save(place / "sheet.png")
    words = ("--support", "sheet.png", "--grid", "3x1", "-n", 4, "--program", "out.pt2")
    told = cli("generate", "other", *words)
    assert told.code == 0
    assert "program: out.pt2 takes z [n, 4] (standard normal)" in told.out
    assert (place / "out.pt2").is_file()
    assert cli("generate", "other", *words, "--json").json["program"]["difference"] <= 1e-5
    assert cli("generate", "other", *words[:-2], "--crop", "-o", "cut.png").code == 0
    assert (place / "cut.png").read_bytes() != (place / "samples.png").read_bytes()
    bare = cli("generate", "other", "--support", mine, "--crop")
    assert bare.code == 2 and "0.png shows nothing but paper" in bare.err
    both = cli("generate", "other", "--support", *images, "--grid", "3x1")
    assert both.code == 2
    assert len(both.err.splitlines()) == 1


def test_what_is_no_bundle_ends_with_2(cli, place):
    told = cli("generate", place, "--support", place)
    assert told.code == 2
    assert "not a bundle" in told.err


def test_a_search_in_which_nothing_finishes_ends_with_3(cli, file):
    told = cli("search", file, "-s", "search.pruner={name: threshold, upper: -1}")
    assert told.code == 3
    assert "no trial finished" in told.err
    assert "2 pruned (2 pruner)" in told.out
    exported = cli("export", "tiny")
    assert exported.code == 3
    assert "nothing to export" in exported.err


def test_ctrl_c_leaves_a_search_that_goes_on(file, place):
    words = [sys.executable, "-m", "metasearch", "search", "tiny.yaml", "--trials", "200"]
    with subprocess.Popen(
        words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as search:
        assert search.stderr is not None
        for line in search.stderr:
            if "done:" in line:
                break
        search.send_signal(signal.SIGINT)
        out, err = search.communicate(timeout=60)
    assert search.returncode == 130
    assert "metasearch resume tiny" in err
    assert "Traceback" not in err
    assert "stopped after" in out
    assert 0 < open_run(place / "runs" / "tiny").count("complete") < 200


@pytest.fixture
def quick(place, monkeypatch):
    """The search spaces that come along, made small."""
    folder = place / "spaces"
    folder.mkdir()
    for name in ("quickstart.yaml", "glyphs-vae.yaml"):
        (folder / name).write_text(TINY)
    monkeypatch.setattr("metasearch.cli.search.spaces", lambda: folder)


def test_the_quickstart_ends_with_commands_that_work(cli, place, quick):
    told = cli("quickstart")
    assert told.code == 0
    assert "models[0].latent" in told.out
    assert "minus scratch" in told.out
    lines = told.out.partition("next\n")[2].splitlines()
    commands = [shlex.split(line)[shlex.split(line).index("metasearch") + 1 :] for line in lines]
    assert [words[0] for words in commands] == ["best", "tensorboard", "generate", "search"]
    assert commands[1] == ["tensorboard", "quickstart"]
    assert (place / "runs" / "quickstart" / "tensorboard").is_dir()
    assert cli(*commands[0]).code == 0
    assert cli(*commands[2]).code == 0
    assert (place / "runs" / "quickstart" / "generated.png").is_file()
    assert cli(*commands[3], "--dry-run").code == 0

    again = cli("quickstart")  # nothing is searched or exported twice
    assert again.code == 0
    assert again.out == told.out
    assert "was exported before" in again.err
    assert cli("quickstart", "--json").json["report"]["trial"] in {0, 1}

    shutil.rmtree(place / "runs" / "quickstart")
    stale = cli("quickstart")
    assert stale.code == 2
    assert "of an earlier search" in stale.err


def test_a_quickstart_in_which_nothing_finishes_ends_with_3(cli, quick):
    told = cli("quickstart", "-s", "search.pruner={name: threshold, upper: -1}")
    assert told.code == 3
    assert "no trial finished" in told.err
