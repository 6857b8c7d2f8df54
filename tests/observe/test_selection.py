"""The picture of who was chosen when."""

from __future__ import annotations

from metasearch.drawing.scene import Area, Label
from metasearch.observe.selection import selections, shares_of


def told():
    return {
        400: {"strategy/models/share/0 vae": 0.0, "strategy/models/share/1 gan": 1.0, "loss/x": 3},
        100: {"strategy/models/share/0 vae": 0.5, "strategy/models/share/1 gan": 0.5},
    }


def test_shares_are_those_of_the_axis_by_step():
    assert list(shares_of(told(), "models").items()) == [
        (100, {"0 vae": 0.5, "1 gan": 0.5}),
        (400, {"0 vae": 0.0, "1 gan": 1.0}),
    ]
    assert shares_of(told(), "tasks") == {}


def test_an_axis_without_a_choice_has_no_picture():
    assert list(selections(told())) == ["models"]
    assert selections({1: {"loss/vae": 2.0}}) == {}


def test_the_words_say_who_leads_at_the_end():
    assert "1 gan has 100%" in selections(told())["models"].about


def test_many_arms_have_a_name_and_a_colour_each():
    shares = {f"strategy/tasks/share/group {i}": 1 / 40 for i in range(40)}
    drawn = selections({10: shares, 20: shares})["tasks"]
    texts = {m.text for m in drawn.marks if isinstance(m, Label)}
    assert {f"group {i}" for i in range(40)} <= texts
    assert len([m for m in drawn.marks if isinstance(m, Area) and m.note]) == 80
    assert max(m.y for m in drawn.marks if isinstance(m, Label)) <= drawn.height
