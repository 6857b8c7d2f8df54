"""The table of all trials has one column per draw, whatever a trial's branches hold."""

from __future__ import annotations

import pytest

from metasearch.observe.base import Draw
from metasearch.observe.columns import ABSENT, FIRST, cells, columns
from tests.observe.synthetic_search import DRAWS, trial_info

GAN = (("models[0]", "gan"),)


def by_name(draws):
    return {column.name: column for column in columns(draws)}


def test_every_draw_is_a_column():
    assert list(by_name(DRAWS)) == [draw.path for draw in DRAWS]


def test_a_conditional_choice_a_trial_lacks_reads_as_absent():
    table = columns(DRAWS)
    row = cells(table, trial_info(0).params)
    assert row["models[0].gan.loss"] == ABSENT
    assert ABSENT in by_name(DRAWS)["models[0].gan.loss"].options


def test_a_conditional_number_a_trial_lacks_is_left_out():
    row = cells(columns(DRAWS), trial_info(1).params)
    assert "models[0].vae.beta" not in row
    assert "outer.lr" in row


@pytest.mark.parametrize("number", range(8))
def test_a_row_holds_what_its_columns_allow(number):
    table = by_name(DRAWS)
    for name, cell in cells(columns(DRAWS), trial_info(number).params).items():
        column = table[name]
        if column.options:
            assert cell in column.options
        else:
            assert column.low <= cell <= column.high


@pytest.mark.parametrize(
    ("options", "only_if", "kind"),
    [
        ((True, False), (), bool),
        ((1, 2.5), (), float),
        ((16, "auto"), (), str),
        ((True, 2), (), str),
        ((None, 0.5), (), str),
        ((True, False), GAN, str),
        ((1, 2), GAN, str),
    ],
)
def test_the_options_of_a_column_have_one_type(options, only_if, kind):
    column = columns([Draw("a", "choice", options, only_if=only_if)])[0]
    assert {type(option) for option in column.options} == {kind}
    for option in options:
        assert cells([column], {"a": option})["a"] in column.options


def test_families_and_strategies_are_shown_first_and_a_number_some_trials_lack_never():
    shown = {column.name for column in columns(DRAWS) if column.first}
    assert shown >= {"models[0]", "algorithms[0]", "strategy.tasks", "strategy.algorithms"}
    assert len(shown) == FIRST
    few = (Draw("models[0].gan.r1", "uniform", low=0, high=1, only_if=GAN), *DRAWS[:1])
    assert [column.name for column in columns(few) if column.first] == ["models[0]"]


def test_a_note_says_what_is_allowed_and_when():
    notes = {name: column.note for name, column in by_name(DRAWS).items()}
    assert notes["models[0].vae.beta"] == "0.1 to 4, log; only if models[0] is vae"
    assert notes["algorithms[0].maml.first_order"] == "true | false; only if algorithms[0] is maml"
