"""A run folder from a stranger: every verb reads it, and nothing in it is run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from metasearch.search.doctor import mend_run
from metasearch.search.export import export
from tests.bundle.conftest import squares
from tests.house import ROOT
from tests.small import blobs_file, searched
from tests.small import trial as tiny

LOOK = [
    "status RUN", "status RUN --json", "show RUN", "show RUN 0", "show RUN 2", "best RUN",
    "best RUN --json", "list", "report RUN -o OUT/report.html", "doctor RUN", "compare RUN:0 RUN:1",
    "space check RUN/search.yaml", "space show RUN/search.yaml", "stop RUN",
]  # fmt: skip
WORK = [
    "search RUN/search.yaml --dry-run", "reproduce RUN 0", "train RUN/trials/TRIAL --name trained",
    "refine RUN --trials 1 --backend local --name refined", "resume RUN --backend local --trials 4",
    "export RUN -o OUT/bundle", "generate OUT/bundle --support IMAGES -n 2 -o OUT/drawn.png",
    "generate OUT/bundle --support IMAGES -n 2 -o OUT/more.png --program OUT/program.pt2",
    "evaluate OUT/bundle", "doctor RUN --mend", "status RUN",
]  # fmt: skip
OF_BUNDLE = [
    "generate BUNDLE --support IMAGES -n 2 -o OUT/drawn.png", "evaluate BUNDLE",
    "generate BUNDLE --support IMAGES/0.png --grid 2x2 -o OUT/more.png --program OUT/program.pt2",
    "train BUNDLE --name again",
]  # fmt: skip
OF_IMAGES = [
    "tasks IMAGES", "tasks IMAGES.zip", "generate BUNDLE --support IMAGES -n 2 -o OUT/drawn.png",
    "generate BUNDLE --support IMAGES.zip -o OUT/zip.png",
    "generate BUNDLE --support IMAGES --crop -o OUT/crop.png --each OUT/each",
    "evaluate BUNDLE --tasks IMAGES",
]  # fmt: skip
WATCHED = """
import os, sys
RUNS = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
def note(file, text):
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, (text + chr(10)).encode())
    os.close(handle)
STARTS = ("subprocess.Popen", "os.posix_spawn")
def watch(event, args):
    if event in RUNS and not (event in STARTS and any(w in str(args) for w in MEANT)):
        note(SEEN, f"{event} {args}")
    if event == "open" and isinstance(args[0], str) and any(c in str(args[1]) for c in "wax+"):
        note(WRITTEN, args[0])
sys.addaudithook(watch)
"""
"""Hung on every interpreter that is started, also by the verbs that serve."""
MEANT = ("uname", "/sbin/ldconfig', '-p'", "optuna_dashboard")
"""What the standard library, a torch with CUDA when it is imported, and the dashboard start."""


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
    """In the place of tensors, with checksums that agree, and beside them."""
    for step in run.glob("trials/*/checkpoints/[0-9]*"):
        for file in [*step.glob("*.safetensors"), step / "weights.pt", step / "state.pt"]:
            file.write_bytes(evil_torch(mark))
        _reseal(step / "manifest.json", "files", step)


def _reseal(sums: Path, key: str, folder: Path) -> None:
    for name in json.loads(sums.read_text())[key]:
        checksum = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        _change(sums, lambda told, name=name, checksum=checksum: told[key].update({name: checksum}))


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
TOGETHER = (tuner, searcher, experiment, errors, journal, events)
PLACES = [TOGETHER, (weights,), (yaml_tags,), (aliases,), (upwards,), (symlinks,), (names,)]
assert sum(map(len, PLACES)) == 12


def bundle_weights(bundle: Path, mark: Path) -> None:
    for file in [*bundle.glob("*.safetensors"), bundle / "model.pt", bundle / "adapter.pkl"]:
        file.write_bytes(evil_torch(mark))
    _reseal(bundle / "adaptation.json", "sha256", bundle)


def bundle_recipe(bundle: Path, mark: Path) -> None:
    tag = f"!!python/object/apply:os.system ['touch {mark}']"
    (bundle / "config.yaml").write_text(tag, "utf-8")


def bundle_names(bundle: Path, mark: Path) -> None:
    attack = "../../../outside\x1b]0;owned\x07"
    _change(bundle / "adaptation.json", lambda plan: plan["sha256"].update({attack: "0"}))
    _change(bundle / "provenance.json", lambda told: told.update(plugins=[attack, "os:system"]))
    _change(bundle / "report.json", lambda told: told["score"].update(name=attack, unit=attack))
    del mark


def bundle_links(bundle: Path, mark: Path) -> None:
    del mark
    (bundle / "model.safetensors").unlink()
    (bundle / "model.safetensors").symlink_to("/etc/passwd")


def pictures(images: Path, mark: Path) -> None:
    """Pickles as pictures, links, names of terminals and shells, and a zip that leads outside."""
    (images / "a.png").write_bytes(payload(mark))
    (images / "b.npz").write_bytes(payload(mark))
    (images / "c.png").symlink_to("/etc/passwd")
    (images / "\x1b[2J$(touch x);`touch x`.png").write_bytes(payload(mark))
    with zipfile.ZipFile(images.with_name("images.zip"), "w") as packed:
        packed.writestr("../../outside.png", payload(mark))
        packed.writestr("a/0.npy", payload(mark))
        packed.write(images / "0.png", "/outside.png")


@dataclass(frozen=True)
class World:
    """A home with a run in it, a bundle of it, and images: all one could be handed."""

    place: Path
    trial: str  # the name of the first

    @property
    def words(self) -> Mapping[str, str]:
        run, images = self.place / "home" / "run", self.place / "images"
        return {"RUN": str(run), "OUT": str(self.place / "out"), "TRIAL": self.trial,
                "BUNDLE": str(self.place / "bundle"), "IMAGES": str(images)}  # fmt: skip

    def go(self, verbs: Sequence[str]) -> str:
        """Let a watched process run the verbs; what it said, held against all that must not be."""
        watch, seen = self.place / "watch", self.place / "seen"
        watch.mkdir()
        names = f"SEEN, WRITTEN = {str(seen)!r}, {str(self.place / 'written')!r}\nMEANT = {MEANT!r}"
        (watch / "sitecustomize.py").write_text(f"{names}\n{WATCHED}")
        lines = ["from metasearch.cli.app import run"]
        for verb in verbs:
            words = [self._word(word) for word in verb.split()]
            lines.append(f"print('code', run({words!r}), {verb!r}, flush=True)")
        homes = {"METASEARCH_HOME": "home", "METASEARCH_CACHE": "cache", "TMPDIR": "tmp"}
        homes = {name: str(self.place / folder) for name, folder in homes.items()}
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            cwd=self.place,
            env={**os.environ, **homes, "PYTHONPATH": f"{watch}:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        codes = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("code ")]
        assert len(codes) == len(verbs)
        assert set(codes) <= {"0", "2", "3", "4"}, said
        assert "Traceback" not in said and "\x1b" not in said
        self.untouched()
        return said

    def _word(self, word: str) -> str:
        for name, place in self.words.items():
            word = word.replace(name, place)
        return word

    def untouched(self) -> None:
        """Nothing was run, nothing written elsewhere, and no page holds a script of theirs."""
        seen, written = self.place / "seen", self.place / "written"
        assert not (self.place / "mark").exists()
        assert not seen.exists(), seen.read_text("utf-8")
        for page in (self.place / "out").rglob("*.html"):
            assert "<script>alert" not in page.read_text("utf-8")
        known = [
            "home",
            "out",
            "bundle",
            "images",
            "images.zip",
            "cache",
            "tmp",
            "watch",
            "seen",
            "written",
        ]
        assert {path.name for path in self.place.iterdir()} <= {*known}
        places = written.read_text("utf-8").splitlines() if written.exists() else []
        assert [line for line in places if self._outside(line)] == []

    def _outside(self, line: str) -> bool:
        ours = os.path.realpath(self.place / line).startswith(str(self.place))
        return not ours and not line.startswith(("/dev/", "/proc/")) and "__pycache__" not in line


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A real run with a trial that failed, a bundle of it, and images of a class."""
    place = tmp_path_factory.mktemp("sound")
    run = searched(place / "home" / "run", tiny(blobs_file(place / "blobs.npz")), trials=3)
    export(run, place / "bundle", baselines=())
    failed = {"state": "failed", "reason": "user", "score": None, "error": "ValueError: no"}
    _change(run.folder / "ledger" / "0002.done.json", lambda r: r["outcome"].update(failed))
    (run.trials[2].folder / "error.txt").write_text("ValueError: no")
    assert mend_run(run.folder) == []
    (place / "images").mkdir()
    for i, pixels in enumerate(squares()):
        Image.fromarray(pixels).save(place / "images" / f"{i}.png")
    return place


@pytest.fixture
def world(sound, tmp_path) -> World:
    for name in ("home", "bundle", "images"):
        shutil.copytree(sound / name, tmp_path / name)
    (tmp_path / "out").mkdir()
    (tmp_path / "tmp").mkdir()
    return World(tmp_path, min((tmp_path / "home/run/trials").iterdir()).name)


def _hurt(world: World, target: str, places: Sequence[Callable[[Path, Path], None]]) -> None:
    for place in places:
        place(Path(world.words[target]), world.place / "mark")


@pytest.mark.parametrize("places", PLACES, ids=lambda places: places[0].__name__)
def test_a_payload_in_a_run_is_never_run_by_verbs_that_look(world, places):
    _hurt(world, "RUN", places)
    world.go(LOOK)


@pytest.mark.slow
@pytest.mark.parametrize("places", PLACES, ids=lambda places: places[0].__name__)
def test_a_payload_in_a_run_is_never_run_by_verbs_that_compute(world, places):
    _hurt(world, "RUN", places)
    said = world.go(WORK)
    print(f"{'+'.join(p.__name__ for p in places)}: 0 executions by {len(LOOK + WORK)} verbs; exit 0: {said.count('code 0')} of the {len(WORK)} that compute")  # noqa: T201 # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("place", [bundle_weights, bundle_recipe, bundle_names, bundle_links])
def test_a_payload_in_a_bundle_is_never_run(world, place):
    _hurt(world, "BUNDLE", [place])
    world.go(OF_BUNDLE)
    print(f"{place.__name__}: 0 executions by {len(OF_BUNDLE)} verbs")  # noqa: T201


@pytest.mark.slow
def test_a_payload_among_images_is_never_run(world):
    _hurt(world, "IMAGES", [pictures])
    world.go(OF_IMAGES)
    print(f"images: 0 executions by {len(OF_IMAGES)} verbs")  # noqa: T201


@pytest.mark.slow
def test_sound_material_is_worked_with_under_the_same_watch(world):
    (world.place / "images.zip").write_bytes(b"")
    said = world.go([*LOOK, *WORK, *OF_BUNDLE])
    fails = [line for line in said.splitlines() if line.startswith("code ") and line[5] != "0"]
    assert [line.split()[2] for line in fails] == ["stop"], said


def test_the_watch_sees_what_it_is_for(tmp_path):
    mark, seen = tmp_path / "mark", tmp_path / "seen"
    (tmp_path / "evil.pkl").write_bytes(payload(mark))
    lines = [f"SEEN, WRITTEN = {str(seen)!r}, {str(tmp_path / 'written')!r}", f"MEANT = {MEANT!r}",
             WATCHED, "import pickle",
             f"pickle.load(open({str(tmp_path / 'evil.pkl')!r}, 'rb'))"]  # fmt: skip
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
    assert mark.exists()
    assert "pickle.find_class" in seen.read_text("utf-8")
