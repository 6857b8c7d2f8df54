"""The picture of who was chosen when."""

from __future__ import annotations

import numpy as np

from metasearch.observe.selection import COLOURS, HEIGHT, LEFT, TOP, WIDTH, selection_sheets


def told():
    return {
        100: {"strategy/models/share/0 vae": 0.5, "strategy/models/share/1 gan": 0.5},
        400: {"strategy/models/share/0 vae": 0.0, "strategy/models/share/1 gan": 1.0, "loss/x": 3},
    }


def test_areas_are_as_large_as_the_shares():
    (sheet,) = selection_sheets(told()).values()
    areas = np.asarray(sheet)[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    shares = [(areas == np.array(c)).all(2).mean() for c in COLOURS[:2]]
    # Half of the first quarter is one's, all the rest the other's.
    assert abs(shares[0] - 0.125) < 0.02
    assert abs(shares[1] - 0.875) < 0.02


def test_an_axis_without_a_choice_has_no_picture():
    assert list(selection_sheets(told())) == ["models"]
    assert selection_sheets({1: {"loss/vae": 2.0}}) == {}


def test_many_arms_fit():
    shares = {f"strategy/tasks/share/a very long name of a group {i}": 1 / 40 for i in range(40)}
    (sheet,) = selection_sheets({10: shares, 20: shares}).values()
    assert sheet.height < 400
