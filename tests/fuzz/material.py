"""Sound inputs of every kind, and the commands that read them."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from metasearch import space
from metasearch.bundle.save import save_bundle
from metasearch.cli.places import spaces
from metasearch.cluster.templates import GUIDES
from tests.bundle.conftest import contents_of, squares
from tests.cluster.conftest import filled
from tests.fuzz.mutate import Draw, checksum, damaged
from tests.report.runs import make_run
from tests.small import blobs_file, config, searched, trial

SHARES: Mapping[str, float] = {
    "yaml": 0.26, "cluster": 0.04, "bundle": 0.14, "image": 0.24, "ledger": 0.22, "report": 0.10,
}  # fmt: skip
"""Of all cases, by kind."""


@dataclass(frozen=True)
class Case:
    """A file that is damaged, and the command line that then has to read it."""

    file: Path
    words: Sequence[str]
    reseal: Callable[[], None] | None = None  # what somebody would do who means it


class Material:
    """What is damaged, in a folder of its own; each damage is undone before the next."""

    def __init__(self, folder: Path) -> None:
        """Write it all: a small search is run, a bundle packed, pictures drawn."""
        self.folder = folder
        self.out = folder / "out"
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.out.mkdir()
        self._files: dict[str, list[Path]] = {}
        data = blobs_file(folder / "blobs.npz")
        self._yaml(folder / "yaml", data)
        self._images(folder / "images", data)
        self._cluster(folder / "cluster")
        self.bundle = save_bundle(contents_of(config(data)), folder / "bundle")
        self._files["bundle"] = [self.bundle / name for name in
                                 ("adaptation.json", "report.json", "model.safetensors", "provenance.json")]  # fmt: skip
        searched(self.home / "run", trial(data), trials=3)
        run = self.home / "run"
        inside = [
            *run.glob("ledger/*.json"),
            run / "manifest.json",
            run / "search.yaml",
            run / "study.journal",
        ]
        self._files["ledger"] = sorted(
            [*inside, *run.glob("trials/*/reports.jsonl"), *run.glob("trials/*/config.yaml")]
        )
        told = make_run(self.home / "told", trials=5)
        self._files["report"] = sorted([*told.glob("trials/*/reports.jsonl"), *told.glob("trials/*/samples/*.png"),
                                        *told.glob("ledger/*.json"), told / "manifest.json"])  # fmt: skip

    def _yaml(self, folder: Path, data: Path) -> None:
        folder.mkdir()
        for file in spaces().glob("*.yaml"):
            shutil.copy(file, folder / file.name)
        (folder / "blobs.yaml").write_text(
            space.dump({"search": {"trials": 2}, "trial": trial(data)})
        )
        self._files["yaml"] = sorted(folder.glob("*.yaml"))

    def _images(self, folder: Path, data: Path) -> None:
        for split in ("one", "many"):
            (folder / split).mkdir(parents=True)
        for i, pixels in enumerate(squares()):
            Image.fromarray(pixels).save(folder / "one" / f"{i}.png")
        picture = Image.fromarray(squares(1, 16)[0])
        for suffix in ("png", "jpg", "bmp", "gif", "webp", "tiff"):
            picture.save(folder / f"it.{suffix}")
        picture.convert("RGBA").save(folder / "rgba.png")
        picture.convert("P").save(folder / "p.png")
        Image.fromarray(squares(1, 16)[0].astype(np.uint16) * 200).save(folder / "deep.png")
        rng = np.random.default_rng(0)
        classes = folder / "many"
        for c in range(12):
            (classes / f"c{c:02d}").mkdir()
            for i in range(8):
                Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(
                    classes / f"c{c:02d}" / f"{i}.png"
                )
        with zipfile.ZipFile(folder / "many.zip", "w") as archive:
            for file in sorted(classes.rglob("*.png")):
                archive.write(file, file.relative_to(classes))
        shutil.copy(data, folder / "blobs.npz")
        self._files["image"] = sorted(f for f in folder.iterdir() if f.is_file())
        self._files["image"] += [folder / "many" / "c03" / "0.png"]

    def _cluster(self, folder: Path) -> None:
        for kind in GUIDES:
            filled(kind, folder / kind)
        self._files["cluster"] = sorted(file for file in folder.rglob("*") if file.is_file())

    def case(self, kind: str, draw: Draw) -> Case:
        """One file of a kind, and what reads it."""
        files = self._files[kind]
        file = files[int(draw.integers(len(files)))]
        words = getattr(self, f"_of_{kind}")(file)
        picked = words[int(draw.integers(len(words)))]
        seal = None
        if kind == "bundle" and file.suffix == ".safetensors":
            seal = self._reseal
        return Case(file, picked, seal)

    def _of_yaml(self, file: Path) -> list[list[str]]:
        return [["space", "check", str(file)], ["space", "show", str(file)]]

    def _of_cluster(self, file: Path) -> list[list[str]]:
        return [["cluster", "validate", str(file)]]

    def _of_bundle(self, file: Path) -> list[list[str]]:
        return [self._generate(self.folder / "images" / "one")]

    def _of_image(self, file: Path) -> list[list[str]]:
        if file.suffix in {".zip", ".npz"}:
            return [["tasks", str(file)]]
        if file.parent.name == "c03":
            return [["tasks", str(file.parents[1])], self._generate(file.parent)]
        return [self._generate(file)]

    def _generate(self, support: Path) -> list[str]:
        picture = str(self.out / "drawn.png")
        return ["generate", str(self.bundle), "--support", str(support), "-n", "2", "-o", picture]

    def _of_ledger(self, file: Path) -> list[list[str]]:
        run = "run"
        return [["status", run], ["show", run], ["show", run, "0"], ["best", run], ["best", run, "--json"],
                ["list"], ["doctor", run], ["compare", "run:0", "run:1"], ["resume", run],
                ["space", "check", str(self.home / run / "search.yaml")]]  # fmt: skip

    def _of_report(self, file: Path) -> list[list[str]]:
        return [["report", "told", "-o", str(self.out / "report.html")]]

    def _reseal(self) -> None:
        plan = json.loads((self.bundle / "adaptation.json").read_text())
        plan["sha256"] = {
            "model.safetensors": checksum((self.bundle / "model.safetensors").read_bytes())
        }
        (self.bundle / "adaptation.json").write_text(json.dumps(plan))


@contextmanager
def spoiled(case: Case, draw: Draw) -> Iterator[bytes]:
    """The file of a case with damage in it; as it was, afterwards."""
    sound = case.file.read_bytes()
    beside = {file: file.read_bytes() for file in case.file.parent.glob("adaptation.json")}
    try:
        data = damaged(case.file.name, sound, draw)
        case.file.write_bytes(data)
        if case.reseal:
            case.reseal()
        yield data
    finally:
        case.file.write_bytes(sound)
        for file, text in beside.items():
            file.write_bytes(text)
