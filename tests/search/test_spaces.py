"""The search spaces that come along: each can be searched."""

from __future__ import annotations

import pytest

from metasearch import space
from metasearch.cli.places import spaces
from metasearch.rng import Stream
from metasearch.search.config import SearchFile
from metasearch.search.lint import findings
from metasearch.search.study import make_pruner, make_sampler


@pytest.mark.parametrize("path", sorted(spaces().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_space_is_sound_leaves_nothing_to_remark_and_each_of_200_draws_makes_a_recipe(path):
    file = SearchFile.load(path)
    for i in range(200):
        file.trial(space.sample(file.space, space.random_suggester(Stream(0).at(i))))
    make_sampler(file.search.sampler, seed=0, root=0)
    make_pruner(file.search.pruner, reports=8)
    assert SearchFile.from_yaml(file.to_yaml()) == file
    assert findings(str(path), file, []) == []
