"""Randomness is data."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from metasearch.rng import Stream, global_torch_draws_from

PART = st.one_of(st.integers(), st.text(max_size=5))


@given(st.integers(0, 2**31), st.lists(PART, max_size=4), st.lists(PART, max_size=4))
def test_equal_places_have_equal_keys_and_different_places_different_ones(seed, a, b):
    one, two = Stream(seed).at(*a), Stream(seed).at(*b)
    assert (one.key == two.key) == (one == two)


def test_a_number_and_its_text_are_different_places():
    assert Stream(0).at(1).key != Stream(0).at("1").key
    assert Stream(0).at("a", "b").key != Stream(0).at("ab").key


def test_the_first_draws_of_neighbouring_steps_look_uniform():
    values = [Stream(0).at("x", i).numpy().random() for i in range(2000)]
    assert 0.48 < sum(values) / 2000 < 0.52


def test_constructors_can_draw_from_a_stream_and_the_global_state_comes_back():
    before = torch.get_rng_state()
    with global_torch_draws_from(Stream(0).at("init")):
        one = torch.nn.Linear(3, 3).weight.detach().clone()
    with global_torch_draws_from(Stream(0).at("init")):
        two = torch.nn.Linear(3, 3).weight.detach().clone()
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())
