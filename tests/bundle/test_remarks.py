"""What is said beside the scores of a bundle."""

from __future__ import annotations

import pytest

from metasearch.bundle.remarks import remarks


def report(**parts):
    return {"score": {"name": "mmd", "unit": "100 MMD²", "direction": "minimize"}, **parts}


def against(difference, *, settled):
    return {"joint + fine-tune": {"test": {"difference": difference, "settled": settled}}}


def test_where_there_is_nothing_to_say_nothing_is_said():
    assert remarks(report()) == []


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_a_baseline_that_won_is_named_if_that_is_settled(direction, sign):
    score = {"name": "s", "unit": "u", "direction": direction}
    lost = {"score": score, "against": against(sign * 2.5, settled=True)}
    (told,) = remarks(lost)
    assert told.startswith("warning: 'joint + fine-tune'") and "is better than this recipe" in told
    assert remarks({"score": score, "against": against(sign * 2.5, settled=False)}) == []
    assert remarks({"score": score, "against": against(-sign * 2.5, settled=True)}) == []


def test_luck_is_told_unless_the_trial_was_picked_by_hand():
    selection = {"finished": 20, "optimism": 0.5, "all_alike": True, "by_hand": False}
    warning, curse = remarks(report(selection=selection))
    assert warning.startswith("warning: the 20 finished trials differ by no more than chance")
    assert "first of 20 trials looks about 0.5 (in 100 MMD²) better" in curse
    by_hand = remarks(report(selection={**selection, "by_hand": True}))
    assert by_hand == [warning]


def test_copies_and_collapse_are_warned_of():
    def watched(copying, diversity):
        return {"copying": {"test": {"mean": copying}}, "diversity": {"test": {"mean": diversity}}}

    assert remarks(report(watched=watched(-2.9, 0.9))) == []
    copies, narrow = remarks(report(watched=watched(-12.34, 0.3)))
    assert "C_T = -12.3, below -3" in copies
    assert "only 0.30 times as much" in narrow
    assert remarks(report(watched=watched(None, None))) == []


def test_other_seeds_and_other_features_are_told():
    repeats = {"seeds": [1, 2], "means": {"test": [20.5, None]}, "deviation": {"test": None}}
    assert remarks(report(repeats=repeats)) == [
        "trained again with 2 other seeds it scores 20.5, diverged on test"
    ]
    one = {"seeds": [1], "means": {"test": [20.5]}, "deviation": {"test": 0.25}}
    (told,) = remarks(report(repeats=one))
    assert "with another seed it scores 20.5 on test; standard deviation over seeds 0.25" in told
    (told,) = remarks(report(ranking={"features": {"random": 0.5, "pixels": None}}))
    assert told.endswith("in other features: 0.50 in an untrained net")
