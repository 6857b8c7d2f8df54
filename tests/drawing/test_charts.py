"""Charts say what they were told: places, lengths, names; as SVG and as pixels alike."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

from metasearch.drawing.charts import Axis, Curve, Row, Spot, areas, bars, curves, intervals, scene
from metasearch.drawing.charts import spread as moved_apart
from metasearch.drawing.parallel import Lane, Thread, heat, parallel
from metasearch.drawing.raster import to_image
from metasearch.drawing.scene import Area, Dot, Label, Line, Scene, box, shortened, text_width
from metasearch.drawing.svg import to_svg

NAN = math.nan
EVIL = '<script>alert("x")</script>&\u2028'


def line(name="best", **more):
    points = [(float(i), 1.0 / i, 0.8 / i, 1.2 / i) for i in range(1, 6)]
    return Curve(name, points, **more)


def all_charts():
    drawn, height = intervals([Row(EVIL, 0.1, 0.0, 0.2, value=EVIL), Row("b", 1, NAN, NAN)], EVIL)
    yield scene(drawn, EVIL, EVIL, (720, height))
    spots = [Spot(1, 0.5, note=EVIL), Spot(2, NAN)]
    lines = [line(EVIL), line("", faint=True), Curve("empty", [])]
    yield scene(curves(lines, Axis("x"), Axis(EVIL), spots=spots), "c", "c")
    drawn, height = areas({10: {EVIL: 0.25, "b": 0.75}, 40: {EVIL: 1.0}}, EVIL)
    yield scene(drawn, "a", "a", (720, height))
    drawn, height = bars([(EVIL, 0.5, EVIL, "accent"), ("none", 0.0, "", "grey")])
    yield scene(drawn, "b", "b", (720, height))
    lanes = [Lane(EVIL, [(0.2, EVIL), (0.8, "b")]), Lane("n", [(0.0, "0")], conditional=True)]
    drawn, width, height = parallel(lanes, [Thread([0.2, None], note=EVIL), Thread([0.8, 0.4])])
    yield scene(drawn, "p", "p", (width, height))
    drawn, width, height = heat([EVIL], ["1", "2"], [[0.5, NAN]], (1, 0), texts=(EVIL, "0"))
    yield scene(drawn, "h", "h", (width, height))
    yield scene(curves([], Axis("x"), Axis("y")), "nothing", "nothing")


@pytest.mark.parametrize("drawn", list(all_charts()), ids=lambda s: s.title[:8])
def test_every_chart_is_well_formed_and_carries_no_markup_of_its_texts(drawn):
    root = ET.fromstring(to_svg(drawn))
    assert {e.tag.rpartition("}")[2] for e in root.iter()} <= {
        "svg", "title", "desc", "polyline", "polygon", "circle", "text"
    }  # fmt: skip
    assert root.get("role") == "img"
    names = root.get("aria-labelledby").split()
    assert [e.get("id") for e in list(root)[:2]] == names
    assert "nan" not in to_svg(drawn)


@pytest.mark.parametrize("drawn", list(all_charts()), ids=lambda s: s.title[:8])
def test_every_chart_has_pixels_of_its_size(drawn):
    image = to_image(drawn, scale=1)
    assert image.size == (round(drawn.width), round(drawn.height))
    assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 2


def test_a_value_is_where_its_scale_says():
    marks = curves([line(dots=True)], Axis("x", low=0), Axis("y", low=0))
    dots = [m for m in marks if isinstance(m, Dot)][:5]
    texts = {m.text: m for m in marks if isinstance(m, Label)}
    assert texts["5"].x == pytest.approx(dots[-1].x)
    assert texts["1.0"].y - 4 == pytest.approx(dots[0].y)


def test_the_interval_of_a_curve_is_an_area_around_it_and_a_faint_one_has_none():
    (area,) = [m for m in curves([line()], Axis("x"), Axis("y")) if isinstance(m, Area)]
    (shown,) = [m for m in curves([line()], Axis("x"), Axis("y")) if isinstance(m, Line) and m.note]
    for x, y in shown.points:
        around = [q for p, q in area.points if p == pytest.approx(x)]
        assert min(around) < y < max(around)
    faint = curves([line(faint=True)], Axis("x"), Axis("y"))
    assert not [m for m in faint if isinstance(m, Area)]


def test_areas_are_as_large_as_the_shares():
    marks, _ = areas({100: {"a": 0.5, "b": 0.5}, 400: {"a": 0.0, "b": 1.0}}, "x")
    shown = [m for m in marks if isinstance(m, Area) and m.note]

    def size(area):
        (x0, y0), (x1, y1) = area.points[0], area.points[2]
        return (x1 - x0 - 0.4) * (y1 - y0)

    whole = sum(map(size, shown))
    of_a = sum(size(m) for m in shown if m.note.startswith("a"))
    assert of_a / whole == pytest.approx(0.125, abs=1e-6)


def test_bars_are_as_long_as_their_values():
    marks, _ = bars([("a", 0.5, "", "accent"), ("b", 0.25, "", "grey")])
    widths = {m.colour: m.points[1][0] - m.points[0][0] for m in marks if isinstance(m, Area)}
    assert widths["accent"] / widths["rule"] == pytest.approx(0.5)
    assert widths["grey"] / widths["accent"] == pytest.approx(0.5)


def test_what_lacks_a_coordinate_passes_below_the_axis():
    lanes = [Lane("a", [(0.0, "0")]), Lane("b", [(0.0, "0")], conditional=True)]
    marks, _, _ = parallel(lanes, [Thread([0.5, None]), Thread([0.5, 0.0])])
    unset, lowest = (m.points[-1][1] for m in marks if isinstance(m, Line) and m.colour == "grey")
    assert unset > lowest
    assert "unset" in {m.text for m in marks if isinstance(m, Label)}
    alone, _, _ = parallel(lanes[:1], [Thread([0.5])])
    assert "unset" not in {m.text for m in alone if isinstance(m, Label)}


def test_names_at_the_ends_of_curves_do_not_touch():
    places = moved_apart([100.0, 100.5, 101.0, 103.0, 290.0], 14, 30, 284)
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(places))
    assert places[-1] <= 284


def test_a_text_is_shortened_to_its_room():
    long = "models[0].vae.objective.beta" * 3
    assert text_width(shortened(long, 90)) <= 90
    assert shortened("short", 90) == "short"


def test_a_scene_shows_itself_in_a_notebook_with_its_title():
    drawn = Scene(100, 50, "Title", "about", [box(0, 0, 10, 10, "accent")])
    titled = drawn.with_title()
    assert titled.height > drawn.height
    assert ">Title</text>" in drawn._repr_html_()
    assert "background:#ffffff" in drawn._repr_html_()  # dark words on a dark notebook are lost
