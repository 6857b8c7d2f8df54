"""A run folder from a stranger: every verb reads it, and nothing in it is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metasearch.search.run import run_search
from tests.house import ROOT
from tests.search.plans import plan
from tests.search.planted import TRIAL

VERBS = [
    ["status", "RUN"],
    ["show", "RUN"],
    ["show", "RUN", "0"],
    ["show", "RUN", "1"],
    ["best", "RUN"],
    ["best", "RUN", "--json"],
    ["list"],
    ["report", "RUN", "-o", "OUT/report.html"],
    ["resume", "RUN", "--backend", "local"],
    ["export", "RUN", "-o", "OUT/bundle"],
    ["search", "RUN/search.yaml", "--dry-run"],
]
WATCHED = """
import sys
from pathlib import Path
def watch(event, args):
    if event in {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}:
        if not (event == "subprocess.Popen" and "uname" in str(args)):
            Path(SEEN).open("a").write(f"{event} {args}\\n")
    if event == "open" and isinstance(args[0], str) and any(c in str(args[1]) for c in "wax+"):
        Path(WRITTEN).parent.mkdir(exist_ok=True)
        with_os = __import__("os")
        handle = with_os.open(WRITTEN, with_os.O_WRONLY | with_os.O_CREAT | with_os.O_APPEND)
        with_os.write(handle, (args[0] + "\\n").encode())
        with_os.close(handle)
"""


class Evil:
    """What runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def payload(mark: Path) -> bytes:
    return pickle.dumps(Evil(mark))


def evil_torch(mark: Path) -> bytes:
    stream = io.BytesIO()
    torch.save(Evil(mark), stream)
    return stream.getvalue()


def _change(path: Path, change: Callable[[dict], object]) -> None:
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


def tuner(run: Path, mark: Path) -> None:
    (run / ".ray" / "tune").mkdir(parents=True)
    (run / ".ray" / "tune" / "tuner.pkl").write_bytes(payload(mark))
    (run / "tuner.pkl").write_bytes(payload(mark))


def searcher(run: Path, mark: Path) -> None:
    (run / "searcher-state-1.pkl").write_bytes(payload(mark))
    (run / "searcher_state.pkl").write_bytes(payload(mark))


def experiment(run: Path, mark: Path) -> None:
    fallback = {"_type": "CLOUDPICKLE_FALLBACK", "value": payload(mark).hex()}
    (run / "experiment_state-1.json").write_text(json.dumps({"runner_data": fallback}))
    _change(run / "manifest.json", lambda m: m.update(runner_data=fallback))


def errors(run: Path, mark: Path) -> None:
    for trial in (run / "trials").iterdir():
        for name in ("error.pkl", "params.pkl"):
            (trial / name).write_bytes(payload(mark))


def weights(run: Path, mark: Path) -> None:
    for trial in (run / "trials").iterdir():
        for step in (trial / "checkpoints").glob("[0-9]*"):
            for name in ("weights.pt", "model.safetensors", "state.pt"):
                (step / name).write_bytes(evil_torch(mark))


def yaml_tags(run: Path, mark: Path) -> None:
    tag = f"!!python/object/apply:os.system ['touch {mark}']"
    file = run / "search.yaml"
    file.write_text(f"search: {{name: {tag}}}\ntrial: {tag}\n", "utf-8")
    for trial in (run / "trials").iterdir():
        (trial / "config.yaml").write_text(tag, "utf-8")


def aliases(run: Path, mark: Path) -> None:
    del mark
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (run / "search.yaml").write_text("\n".join(lines), "utf-8")


def upwards(run: Path, mark: Path) -> None:
    del mark
    name = "../../../outside"
    _change(run / "ledger" / "0000.asked.json", lambda record: record.update(name=name))
    (run / "ledger" / "0000.done.json").unlink()


def symlinks(run: Path, mark: Path) -> None:
    del mark
    trial = run / "trials" / min((run / "trials").iterdir()).name
    shutil.rmtree(trial / "samples", ignore_errors=True)
    (trial / "samples").symlink_to("/etc")
    (trial / "error.txt").unlink(missing_ok=True)
    (trial / "error.txt").symlink_to("/etc/passwd")


def names(run: Path, mark: Path) -> None:
    del mark
    attack = "<script>alert(1)</script>\x1b]0;owned\x07\x1b[2J"
    _change(
        run / "manifest.json", lambda m: m["search"].update(name=attack, score=attack, unit=attack)
    )
    for record in (run / "ledger").glob("*.asked.json"):
        _change(record, lambda r: r["params"].update({attack: attack}))
    for record in (run / "ledger").glob("*.done.json"):
        _change(record, lambda r: r["outcome"].update(reason=attack, error=attack))
    for trial in (run / "trials").iterdir():
        (trial / "error.txt").write_text(attack, "utf-8")


def journal(run: Path, mark: Path) -> None:
    lines = json.dumps({"op_code": 0, "worker_id": payload(mark).hex()})
    (run / "study.journal").write_text(f"{lines}\n{{torn", "utf-8")


def events(run: Path, mark: Path) -> None:
    folder = run / "tensorboard" / "x"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.0.$(touch x);`touch x`").write_bytes(payload(mark))


# Those that would change what the verbs say of each other have a folder of their own.
TOGETHER = (tuner, searcher, experiment, errors, weights, journal, events)
PLACES = [TOGETHER, (yaml_tags,), (aliases,), (upwards,), (symlinks,), (names,)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A run of planted trials that was stopped: some trials are over, some are not."""
    folder = tmp_path_factory.mktemp("home") / "run"
    ends = {"choice": [{"name": "well"}, {"name": "raise"}, {"name": "nan"}]}
    run_search(plan({"end": ends}, trials=4, seed=3), folder, trial=TRIAL)
    return folder


@pytest.mark.parametrize("places", PLACES, ids=lambda places: places[0].__name__)
def test_a_payload_is_never_run_and_every_verb_ends_in_words(sound, tmp_path, places):
    home, out, mark = tmp_path / "home", tmp_path / "out", tmp_path / "mark"
    run = home / "run"
    shutil.copytree(sound, run)
    out.mkdir()
    for place in places:
        place(run, mark)
    seen, written = tmp_path / "seen", tmp_path / "written"
    lines = [f"SEEN, WRITTEN = {str(seen)!r}, {str(written)!r}", WATCHED,
             "from metasearch.cli.app import run", "sys.addaudithook(watch)"]  # fmt: skip
    for verb in VERBS:
        words = [w.replace("RUN", str(run)).replace("OUT", str(out)) for w in verb]
        lines.append(f"code = run({words!r})\nprint('code', code, {verb[0]!r}, flush=True)")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "METASEARCH_HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    codes = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("code ")]
    assert len(codes) == len(VERBS)
    assert {verb: code for code, verb in codes if code not in {"0", "2", "3", "4"}} == {}
    assert "Traceback" not in done.stderr
    assert not mark.exists()
    assert not seen.exists(), seen.read_text("utf-8")
    assert "\x1b" not in done.stdout + done.stderr
    if (page := out / "report.html").exists():
        assert "<script>alert" not in page.read_text("utf-8")
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "out", "seen", "written"}
    outside = [
        line
        for line in (written.read_text("utf-8").splitlines() if written.exists() else ())
        if not Path(tmp_path, line).resolve().is_relative_to(tmp_path)
        and not line.startswith(("/dev/", "/proc/"))
        and "__pycache__" not in line
    ]
    assert outside == []


def test_the_watch_sees_what_it_is_for(tmp_path):
    mark, seen = tmp_path / "mark", tmp_path / "seen"
    (tmp_path / "evil.pkl").write_bytes(payload(mark))
    lines = [f"SEEN, WRITTEN = {str(seen)!r}, {str(tmp_path / 'written')!r}", WATCHED,
             "import pickle", "sys.addaudithook(watch)",
             f"pickle.load(open({str(tmp_path / 'evil.pkl')!r}, 'rb'))"]  # fmt: skip
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
    assert mark.exists()
    assert "pickle.find_class" in seen.read_text("utf-8")
