"""The table of published rows: every recipe runs, on real handwriting, and says what it is worth."""

from __future__ import annotations

import pytest

from benchmarks import published
from metasearch.trial.config import problems
from tests.scores.fakes import OMNIGLOT


@pytest.fixture
def drawings():
    if not OMNIGLOT.exists():
        pytest.skip(f"{OMNIGLOT.name} is not beside the repository")
    return str(OMNIGLOT)


@pytest.mark.parametrize("name", published.RECIPES)
def test_every_recipe_is_sound(name):
    config = published.recipe(name, published.Omniglot(path="omniglot.npz", shot=9, query=5), 1000)
    assert list(problems(config)) == []


def test_a_row_is_trained_judged_and_set_beside_floors_and_published_figures(
    drawings, monkeypatch, capsys
):
    small = {"name": "mlp", "hidden": 16}
    model, algorithm = published.RECIPES["set-VAE, averaging"]
    monkeypatch.setattr(published, "RECIPES", {"tiny": ({**model, "net": small}, algorithm)})
    told = ["--omniglot", drawings, "--seconds", "0.5", "--episodes", "8", "--importance", "2"]
    assert published.main(told) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "not the published test alphabets" in lines[1]
    ours = [line for line in lines if line.startswith("tiny") and "CPU" not in line]
    floors = [line for line in lines if line.startswith("pixel marginal")]
    assert len(ours) == len(floors) == 2
    assert all(len(line.split()) == 11 for line in ours)
    assert any(line.startswith("GMN, averaging") and "80.3" in line for line in lines)
    (longer,) = (line for line in lines if "of CPU" in line)
    assert "18.1 M images, as published, would take" in longer
