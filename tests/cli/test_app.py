"""What holds for the command line as a whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import typer

from metasearch import __version__
from metasearch.cli import app, data
from metasearch.cli.app import build, run
from metasearch.errors import (
    BundleError,
    ConfigError,
    DataError,
    EnvironmentFault,
    MetasearchError,
    NoUsableTrial,
    RunError,
)

HEAVY = "{'torch', 'ray', 'optuna', 'tensorboard', 'matplotlib', 'scipy'}"


def loaded_by(code: str, cwd) -> str:
    """Which heavy packages a piece of code loads."""
    code = f"{code}\nimport sys\nprint(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [[], ["--help"], ["search", "--help"], ["list"], ["--version"]])
def test_help_and_lists_load_nothing_heavy(tmp_path, words):
    assert loaded_by(f"from metasearch.cli.app import run; run({words})", tmp_path) == "[]"


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    assert loaded_by("import metasearch", tmp_path) == "[]"


@pytest.mark.parametrize(
    "words",
    [["status", "planted"], ["best", "planted"], ["show", "planted"], ["show", "planted", "0"]],
)
def test_looking_at_a_run_loads_nothing_heavy(planted, words):
    code = f"from metasearch.cli.app import run; assert run({words}) == 0"
    assert loaded_by(code, planted.parents[1]) == "[]"


VERBS = {
    *("quickstart", "search", "resume", "stop", "train", "refine", "submit"),
    *("list", "status", "show", "best", "compare", "report", "tensorboard", "dashboard"),
    *("export", "generate", "evaluate", "reproduce"),
    *("init", "tasks", "components", "doctor", "space", "cluster"),
}


def test_every_verb_is_there(cli):
    found = cli("--help")
    assert found.code == 0
    command = typer.main.get_command(build())
    assert set(command.commands) == VERBS
    for verb in VERBS:
        assert verb in found.out


@pytest.mark.parametrize("verb", sorted(VERBS - {"space", "cluster"}))
def test_every_help_has_an_example_that_names_the_verb(cli, verb):
    found = cli(verb, "--help")
    assert found.code == 0
    assert f"Example: metasearch {verb}" in found.out


def test_every_verb_that_reports_speaks_json():
    command = typer.main.get_command(build())
    silent = {
        name
        for name, verb in command.commands.items()
        if name not in {"space", "cluster"}
        and "--json" not in [o for p in verb.params for o in p.opts]
    }
    assert silent == {"tensorboard", "dashboard"}  # they serve until they are stopped


def test_the_version_is_told(cli):
    assert cli("--version").out == f"metasearch {__version__}\n"


def test_no_words_show_the_help(cli):
    assert "quickstart" in cli().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serach"], "Did you mean 'search'?"),
        (["search"], "Missing argument"),
        (["search", "x.yaml", "--trails", "3"], "--trials"),
        (["search", "x.yaml", "--trials", "three"], "integer"),
        (["best", "x", "-n", "0"], "'-n'"),
        (["search", "x.yaml", "--backend", "slurm"], "local"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(cli, words, said):
    found = cli(*words)
    assert found.code == 2
    assert said in found.err
    assert not found.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError, 2),
        (DataError, 2),
        (RunError, 2),
        (BundleError, 2),
        (NoUsableTrial, 3),
        (EnvironmentFault, 4),
    ],
)
def test_an_error_of_ours_is_one_message_and_its_exit_code(cli, monkeypatch, error, code):
    raising(monkeypatch, error("the disk is full. Empty it."))
    found = cli("doctor")
    assert (found.code, found.out) == (code, "")
    assert found.err == "error: the disk is full. Empty it.\n"


def raising(monkeypatch, error: BaseException) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("metasearch.cli.machine.examine", fail)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.png/x"), 2,
         "error: a.png/x: Not a directory. Give another place.\n"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "here"), 2,
         "error: here: Is a directory. Give another place.\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 4,
         "error: /root/x: Permission denied. Make room or access there, or give another place.\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 4, "error: x: No space left"),
        (ModuleNotFoundError("no", name="optuna.samplers"), 4,
         "error: optuna is not installed. Searching needs it: pip install 'metasearch[search]'\n"),
        (ModuleNotFoundError("no", name="yaml"), 4,
         "error: yaml is not installed. The command needs it: pip install pyyaml\n"),
    ],
)  # fmt: skip
def test_a_place_or_a_package_that_is_not_there_is_told_as_that(
    cli, monkeypatch, place, error, code, said
):
    raising(monkeypatch, error)
    found = cli("doctor")
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(said)
    assert not (place / "runs").exists(), "no traceback was kept, for there is no fault"


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "No such file", "x"), ModuleNotFoundError(name="x")]
)
def test_what_is_missing_for_no_reason_is_a_fault_of_ours(cli, monkeypatch, error):
    raising(monkeypatch, error)
    assert cli("doctor").code == 1


def test_a_list_of_faults_begins_with_their_places(cli, monkeypatch):
    raising(monkeypatch, ConfigError("a.yaml:1:2: no.\n    line\n    ^"))
    assert cli("doctor").err.startswith("a.yaml:1:2: no.\n")


def test_a_fault_of_ours_ends_with_1_and_keeps_the_traceback_in_a_file(cli, monkeypatch, place):
    raising(monkeypatch, TypeError("no such thing"))
    found = cli("doctor")
    assert found.code == 1
    assert found.err.startswith("error: TypeError: no such thing\n")
    assert "Traceback" not in found.err
    (kept,) = (place / "runs" / ".crashes").glob("*.txt")
    assert str(kept.relative_to(place)) in found.err
    assert "TypeError: no such thing" in kept.read_text()


def test_a_fault_where_nothing_can_be_written_is_told_all_the_same(cli, monkeypatch, place):
    (place / "runs").write_text("in the way")
    raising(monkeypatch, TypeError("no such thing"))
    found = cli("doctor")
    assert found.code == 1
    assert "--debug" in found.err


@pytest.mark.parametrize("error", [TypeError("x"), ConfigError("x")])
def test_debug_shows_the_traceback(place, monkeypatch, error):
    monkeypatch.setenv("METASEARCH_DEBUG", "1")
    raising(monkeypatch, error)
    with pytest.raises(type(error)):
        run(["doctor"])


def test_a_missing_package_for_searching_says_what_to_install(cli, monkeypatch):
    raising(monkeypatch, ModuleNotFoundError("No module named 'optuna'", name="optuna"))
    found = cli("doctor")
    assert found.code == 4
    assert "pip install 'metasearch[search]'" in found.err


def test_any_other_missing_module_is_a_fault_of_ours(cli, monkeypatch):
    raising(monkeypatch, ModuleNotFoundError("No module named 'xyz'", name="xyz"))
    assert cli("doctor").code == 1


def test_ctrl_c_ends_with_130(cli, monkeypatch):
    raising(monkeypatch, KeyboardInterrupt())
    assert cli("doctor").code == 130


def test_without_typer_one_line_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['typer'] = None; from metasearch.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stderr == "error: typer is missing. Install it: pip install typer\n"


def test_it_runs_as_a_module_and_leaves_with_the_code(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "metasearch", "status", "nothing"],
        cwd=tmp_path,
        env=os.environ | {"METASEARCH_HOME": "there"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'nothing' is no run folder")
    assert "there are no runs in there." in done.stderr


def test_all_errors_of_the_package_have_an_exit_code_that_is_no_success():
    assert app.EnvironmentFault is EnvironmentFault
    assert data.ConfigError is ConfigError
    pending, codes = [MetasearchError], {}
    while pending:
        error = pending.pop()
        codes[error.__name__] = error.exit_code
        pending += error.__subclasses__()
    assert set(codes.values()) <= {1, 2, 3, 4}
