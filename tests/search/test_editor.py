"""What an editor is told of search files."""

from __future__ import annotations

import jsonschema
import pytest

from metasearch import space
from metasearch.cli.places import spaces
from metasearch.models import MODELS
from metasearch.search.editor import json_schema

FILES = sorted(spaces().glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_shipped_search_fits_the_schema(validator, file):
    assert [fault.message for fault in validator.iter_errors(space.load(file).tree)] == []


SOUND = """\
search: {trials: 3, sampler: random}
trial:
  tasks: glyphs
  score: mmd
  outer: {lr: {log_uniform: [1e-4, 1e-2]}}
  budget: {gradients: 1000, tasks_per_step: {integers: [4, 8]}}
  models: [{choice: [vae, {name: gan, label: a, latent: {log_integers: [8, 16]}}]}]
  algorithms: [{name: reptile, inner: {steps: {choice: [3, 5]}}}]
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("trials: 3", "trails: 3"),
        ("trials: 3", "trials: many"),
        ("trials: 3", "trials: {integers: [3, 5]}"),
        ("sampler: random", "sampler: rando"),
        ("tasks: glyphs", "tasks: {choice: [glyphs, pairs]}"),
        ("outer:", "outre:"),
        ("log_uniform: [1e-4, 1e-2]", "log_uniform: [1e-4]"),
        ("log_uniform: [1e-4, 1e-2]", "loguniform: [1e-4, 1e-2]"),
        ("gradients: 1000", "gradients: {integers: [1, 2]}"),
        ("integers: [4, 8]", "integers: [4, many]"),
        ("name: gan", "name: gna"),
        ("latent:", "latnet:"),
        ("steps: {choice: [3, 5]}", "steps: {uniform: [3, 5]}"),
        ("score: mmd", ""),
    ],
)
def test_what_is_wrong_is_underlined(validator, before, after):
    assert validator.is_valid(space.parse(SOUND, "a file").tree)
    assert not validator.is_valid(space.parse(SOUND.replace(before, after), "a file").tree)


def test_settings_are_explained_in_the_words_of_the_code(validator):
    gan = validator.schema["definitions"]["model gan drawn"]
    assert gan["description"] == (MODELS["gan"].__doc__ or "").partition("\n")[0]
    assert gan["properties"]["critic_steps"]["description"]
    assert gan["properties"]["critic_steps"]["default"] == MODELS["gan"]().critic_steps
