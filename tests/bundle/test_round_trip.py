"""What is written is what is read: weights, samples, evidence."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from dataclasses import replace

import pytest
import torch
import yaml

import metasearch
from metasearch.algorithms.base import Adapter
from metasearch.bundle.base import Part
from metasearch.bundle.card import model_card
from metasearch.bundle.load import load_bundle
from metasearch.bundle.save import save_bundle
from metasearch.engine.base import InnerLoop, first_rates
from metasearch.errors import DataError
from metasearch.models.base import Learner
from metasearch.models.gan import GAN
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.search.config import SearchFile
from metasearch.space import dump, load
from tests.bundle.conftest import contents_of
from tests.small import config

FILES = {
    "README.md", "adaptation.json", "config.yaml", "constraints.txt", "model.safetensors",
    "provenance.json", "report.json", "samples.png",
}  # fmt: skip


def test_weights_come_back_bit_by_bit(contents, written):
    before = contents.parts[0].adapter
    (part,) = load_bundle(written).parts
    assert part.weight == 1
    assert part.adapter.inner == before.inner
    assert part.adapter.learner.family == before.learner.family
    mine, theirs = before.learner.parameters(), part.adapter.learner.parameters()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("rates", ["per_tensor", "per_step", "per_parameter"])
def test_what_the_inner_loop_learned_comes_back_too(file, tmp_path, rates):
    inner = {"steps": 3, "test_steps": 4, "rates": rates}
    made = contents_of(config(file, algorithms=[{"name": "meta_sgd", "inner": inner}]))
    mine = made.parts[0].adapter.rates
    for rate in mine.values():
        rate.add_(Stream(2).at("move").numpy().random())
    theirs = load_bundle(save_bundle(made, tmp_path / "b")).parts[0].adapter.rates
    assert mine and mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(written, images):
    one, two = (load_bundle(written).adapt(images) for _ in range(2))
    assert one.sample(6).shape == (6, 1, 8, 8)
    assert torch.equal(one.sample(6, seed=3), two.sample(6, seed=3))
    assert not torch.equal(one.sample(6, seed=3), one.sample(6, seed=4))
    assert one.sample(6).min() >= 0 and one.sample(6).max() <= 1


def test_adapting_changes_what_is_drawn_and_not_the_bundle(written, images):
    bundle = load_bundle(written)
    weights = {k: v.clone() for k, v in bundle.parts[0].adapter.learner.parameters().items()}
    none, some, more = (bundle.adapt(images, steps=n).sample(4) for n in (0, None, 9))
    assert not torch.equal(none, some)
    assert not torch.equal(some, more)
    after = bundle.parts[0].adapter.learner.parameters()
    assert all(torch.equal(weights[name], after[name]) for name in weights)


def test_adapting_that_diverges_is_told_and_not_drawn_as_grey(contents, tmp_path, images):
    part = contents.parts[0]
    wild = replace(part.adapter, inner=InnerLoop(steps=4, lr=1e30, clip=0))
    folder = save_bundle(replace(contents, parts=[replace(part, adapter=wild)]), tmp_path / "b")
    with pytest.raises(DataError, match=r"adapting to these images diverged.*fewer `steps`"):
        load_bundle(folder).adapt(images).sample(2)
    assert load_bundle(folder).adapt(images, steps=0).sample(2).isfinite().all()


def test_drawing_leaves_the_global_generator_alone(written, images):
    before = torch.get_rng_state()
    load_bundle(written).adapt(images).sample(3)
    assert torch.equal(before, torch.get_rng_state())


def test_a_mixture_draws_from_its_parts_by_weight(contents, tmp_path, images):
    light, dark = (flat_part(contents, bias) for bias in (9.0, -9.0))
    parts = [replace(light, weight=0.75), replace(dark, weight=0.25)]
    folder = save_bundle(replace(contents, parts=parts), tmp_path / "mixture")
    bundle = load_bundle(folder)
    assert repr(bundle) == f"Bundle({str(folder)!r}, vae + vae, 1x8x8)"
    drawn = bundle.adapt(images, steps=0).sample(400).flatten(1).mean(1)
    assert torch.all((drawn < 0.01) | (drawn > 0.99))
    assert 0.68 < (drawn > 0.5).float().mean() < 0.82


def flat_part(contents, bias: float) -> Part:
    """A part that draws one grey whatever the noise."""
    adapter = contents.parts[0].adapter
    learner = Learner.create(adapter.learner.family, (1, 8, 8), Stream(0))
    with torch.no_grad():
        *_, weight, last = learner.nets["decoder"].parameters()
        weight.zero_()
        last.fill_(bias)
    return Part(replace(adapter, learner=learner))


def test_a_family_without_likelihood_is_carried_too(contents, tmp_path, images):
    learner = Learner.create(GAN(latent=3, net=Mlp(hidden=8)), (1, 8, 8), Stream(2))
    part = Part(Adapter(learner, InnerLoop(steps=1), first_rates(learner, InnerLoop())))
    folder = save_bundle(replace(contents, parts=[part]), tmp_path / "gan")
    assert load_bundle(folder).adapt(images).sample(2).shape == (2, 1, 8, 8)


def test_a_bundle_holds_plain_files_that_others_may_read(contents, tmp_path):
    mask = os.umask(0o022)
    try:
        folder = save_bundle(contents, tmp_path / "deep" / "b")
    finally:
        os.umask(mask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(FILES, 0o644)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_bundle_appears_whole_or_not_at_all(contents, tmp_path):
    broken = replace(contents, report={**contents.report, "bad": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        save_bundle(broken, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    save_bundle(contents, tmp_path / "b")
    with pytest.raises(FileExistsError, match="exists already"):
        save_bundle(contents, tmp_path / "b")


def test_the_front_matter_is_a_model_card_with_its_score(contents, written):
    text = (written / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert set(head["tags"]) >= {"vae", "reptile", "few-shot"}
    (entry,) = head["model-index"]
    assert entry["name"] == "blobs-best"
    (metric,) = entry["results"][0]["metrics"]
    assert metric["type"] == "nll"
    assert metric["value"] == contents.report["splits"]["test"]["mean"]
    assert entry["results"][0]["dataset"]["name"] == "arrays"
    assert "opened once, for this table" in text
    assert "Images it learned from: not stated with the data" in text
    known = replace(contents, provenance={**contents.provenance, "data_licence": "CC0"})
    card = model_card(known.config, known.report, known.provenance, "a")
    assert "Images it learned from: CC0." in card


def test_the_card_tells_a_baseline_that_diverged_and_tests_opened_twice(contents, tmp_path):
    splits = contents.report["splits"]
    nothing = {"mean": None, "low": None, "high": None, "per_task": {}}
    report = {**contents.report, "baselines": {"joint": {**splits, "test": nothing}},
              "test_openings": 2}  # fmt: skip
    text = (save_bundle(replace(contents, report=report), tmp_path / "b") / "README.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| joint")]
    assert line.endswith("| diverged |")
    assert "opened 2 times in this search" in text


def test_every_json_file_is_standard_json(written):
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    for path in written.glob("*.json"):
        assert json.loads(path.read_text(), parse_constant=refuse)


def test_the_recipe_is_a_search_file_again(written):
    tree = {"search": {"backend": "local"}, "trial": load(written / "config.yaml").tree}
    found = SearchFile.from_yaml(dump(tree))
    assert found.draws == []
    assert found.trial(found.space).models[0].latent == 4


def test_constraints_name_the_versions_it_was_made_with(written):
    lines = (written / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z]+==[\w.]+", line) for line in lines)
    versions = dict(line.split("==") for line in lines)
    assert versions["metasearch"] == metasearch.__version__
    assert set(versions) == {"metasearch", "numpy", "pillow", "safetensors", "torch"}


def test_the_public_name_reads_it(written):
    assert isinstance(metasearch.load_bundle(str(written)), metasearch.Bundle)
