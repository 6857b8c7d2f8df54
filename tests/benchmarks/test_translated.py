"""The table of translators: what each start gains over leaving images as they are."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from benchmarks import translated
from metasearch.algorithms import Joint
from metasearch.engine.base import InnerLoop
from metasearch.models.cyclegan import CycleGAN
from metasearch.models.translators import Patches, Resnet


def test_every_start_is_set_beside_images_as_they_are_and_the_last_beside_the_others():
    untouched = np.array([8.0, 7.0, 6.0])
    starts = {"fresh": untouched - 1, "still": untouched - 1.5, "trained": untouched - 2}
    lines = translated.table(untouched, starts).splitlines()
    assert lines[0].startswith("| images left as they are | 7.000 [")
    assert lines[1].endswith("| -1.000 [-1.000, -1.000] |")
    assert lines[2].endswith("| -1.500 [-1.500, -1.500] |")
    assert lines[4:] == [
        "| trained minus fresh | -1.000 [-1.000, -1.000] | |",
        "| trained minus still | -0.500 [-0.500, -0.500] | |",
    ]


def test_both_starts_are_judged_on_the_same_tasks_and_leave_a_sheet(tmp_path, monkeypatch, capsys):
    algorithm = Joint(inner=InnerLoop(steps=1, lr=0.1))
    model = CycleGAN(net=Resnet(width=4, depth=0), critic=Patches(width=4))
    whole = translated.recipe

    def small(*args):
        return replace(whole(*args), models=(model,), algorithms=(algorithm,))

    monkeypatch.setattr(translated, "recipe", small)
    told = ["--seconds", "0.1", "--tasks", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["translated", *told])
    translated.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and "meta-trained, adapted minus a fresh start" in lines[-2]
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
