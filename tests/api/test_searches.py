"""A search from Python."""

from __future__ import annotations

from typing import Literal

import pytest

import metasearch
from metasearch import space
from metasearch.errors import ConfigError
from metasearch.models import MODELS
from metasearch.models.vae import VAE
from tests.small import blobs_file, trial


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    tree = trial(blobs_file(tmp_path / "blobs.npz"), outer={"lr": {"uniform": [0.01, 0.02]}})
    search = {"backend": "local", "sampler": "random", "pruner": "none", "confirm": {"top": 1}}
    path.write_text(space.dump({"search": search, "trial": tree}))
    return path


def test_a_search_is_planned_and_run_and_its_best_exported_and_loaded(file, tmp_path, capsys):
    search = metasearch.load(file, {"trial.tasks.query": 5}, trials=2, out=tmp_path / "runs")
    assert (search.file.search.trials, search.file.space["tasks"]["query"]) == (2, 5)
    assert [draw.path for draw in search.draws] == ["outer.lr"]
    assert "outer.lr" in search._repr_html_()
    plan = search.plan()
    assert (plan["trials"], plan["slots"]) == (2, 1)
    assert "2 trials" in repr(plan) and "<table" in plan._repr_html_()
    assert not (tmp_path / "runs").exists()

    found = search.run(quiet=True)
    assert capsys.readouterr() == ("", "")
    assert (found.state, len(found.trials)) == ("finished", 2)
    bundle = metasearch.load_bundle(found.best.export(tmp_path / "best"))
    assert bundle.report["trial"] == found.best.number
    assert search.run(quiet=True).best.number == found.best.number  # again: nothing is left to do


def test_all_faults_of_a_file_and_of_settings_are_told(file):
    with pytest.raises(ConfigError, match=r"trial\.outre(.|\n)*search\.trials"):
        metasearch.load(file, {"trial.outre": 1}, trials="many")


@metasearch.component
class Mine(VAE):
    """One of my own."""

    name: Literal["mine"] = "mine"


OWN = {"trial.models": [{"name": "mine", "latent": 4, "net": {"name": "mlp", "hidden": 16}}]}


@pytest.fixture
def registered():
    metasearch.register("models")(Mine)
    yield MODELS
    MODELS._own.pop("mine", None)
    MODELS._guests.pop("mine", None)


def test_a_model_of_ones_own_is_searched_by_name(file, registered, tmp_path):
    found = metasearch.load(file, OWN, trials=1, out=tmp_path / "runs").run(quiet=True)
    assert found.best.name.startswith("0000-mine-")
    assert found.run.manifest["plugins"] == {"models/mine": f"the module {__name__}"}


def test_what_only_a_notebook_knows_is_not_sent_to_other_processes(file, registered):
    registered._guests["mine"] = "the module __main__"
    with pytest.raises(ConfigError, match="METASEARCH_PLUGINS"):
        metasearch.load(file, OWN, backend="ray").run(quiet=True)


def test_a_cell_that_is_run_again_registers_again_and_another_class_does_not(registered):
    anew = type("Mine", (Mine,), {"__module__": __name__})
    metasearch.register("models")(anew)
    assert registered["mine"] is anew
    with pytest.raises(ConfigError, match="exists already"):
        metasearch.register("models")(type("Mine", (Mine,), {"__module__": "elsewhere"}))


def test_a_room_that_is_not_there_and_a_class_without_a_name_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'models'"):
        metasearch.register("model")

    class Nameless:
        pass

    with pytest.raises(ConfigError, match="has no name"):
        metasearch.register("models")(Nameless)
