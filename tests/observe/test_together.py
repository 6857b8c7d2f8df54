"""A whole search, told to every observer at once, leaves what each promises and nothing else."""

from __future__ import annotations

import math
from io import StringIO

from rich.console import Console

from metasearch.observe.progress import Progress
from metasearch.observe.tensorboard import TensorBoard
from metasearch.observe.trial_files import TrialFiles
from tests.observe.synthetic_search import play, report, rungs_of


def test_all_observers_watch_one_search(tmp_path):
    log = StringIO()
    observers = [TensorBoard(share=math.inf), TrialFiles(), Progress(Console(file=log))]
    ended = play(observers, tmp_path)
    names = {trial.name for trial, _ in ended}
    assert {outcome.state for _, outcome in ended} == {"complete", "pruned", "failed"}
    assert all(name in log.getvalue() for name in names)
    assert {path.name for path in tmp_path.iterdir()} == {"tensorboard", "trials"}
    assert {path.name for path in (tmp_path / "tensorboard").iterdir()} == names | {"_search"}
    wanted = {
        tmp_path / "trials" / trial.name / "samples" / f"{said.step}.png"
        for trial, _ in ended
        for said in (report(trial, rung) for rung in range(1, rungs_of(trial) + 1))
        if said.samples is not None
    }
    assert {path for path in (tmp_path / "trials").rglob("*") if path.is_file()} == wanted


def test_a_search_without_pictures_is_watched_as_well(tmp_path):
    play([TensorBoard(share=math.inf), TrialFiles()], tmp_path, trials=2, pictures=False)
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
