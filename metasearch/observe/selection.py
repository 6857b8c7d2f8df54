"""Who was chosen when: shares of tasks, algorithms and models as areas over the budget."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
PAPER, INK, RULE = (250, 250, 250), (32, 32, 32), (205, 205, 205)
WIDTH, HEIGHT = 460, 200  # of the areas
LEFT, TOP, BELOW, KEY = 40, 34, 30, 190  # margins; the key is to the right
# Of Okabe & Ito's palette, which the colour-blind can tell apart, then the same ones lighter.
COLOURS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0),
    (128, 184, 216), (244, 207, 128), (128, 206, 185), (229, 188, 211), (170, 217, 244),
    (234, 174, 128),
)  # fmt: skip
TITLES = {"tasks": "tasks, by group", "algorithms": "algorithms", "models": "models"}


def selection_sheets(told: Mapping[int, Mapping[str, float]]) -> dict[str, Image.Image]:
    """One picture for each axis on which a rule chose, from the scalars of reports by step."""
    found = {}
    for axis, title in TITLES.items():
        prefix = f"strategy/{axis}/share/"
        series = {
            step: {k.removeprefix(prefix): v for k, v in told[step].items() if k.startswith(prefix)}
            for step in sorted(told)
        }
        series = {step: shares for step, shares in series.items() if shares}
        if series:
            found[axis] = stacked_areas(series, title)
    return found


def stacked_areas(series: Mapping[int, Mapping[str, float]], title: str) -> Image.Image:
    """Shares that sum to 1 at each step, one above the other; a step holds until the next.

    `series` is step -> name -> share; a step stands for the stretch that ends there.
    """
    steps = list(series)
    names = list(series[steps[0]])
    sheet = Image.new("RGB", (LEFT + WIDTH + KEY, TOP + HEIGHT + BELOW), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    pen.text((LEFT, 10), f"share of draws: {title}", fill=INK, font=font)
    edges = [0, *steps]
    for begin, end in pairwise(edges):
        x0, x1 = (LEFT + round(WIDTH * x / steps[-1]) for x in (begin, end))
        height = 0.0
        for i, name in enumerate(names):
            top = height + series[end].get(name, 0.0)
            box = [x0, _y(top), max(x1 - 1, x0), _y(height)]
            if box[3] > box[1]:
                pen.rectangle(box, fill=COLOURS[i % len(COLOURS)])
            height = top
    for share in (0.0, 0.5, 1.0):
        pen.line([LEFT - 4, _y(share), LEFT, _y(share)], fill=RULE)
        pen.text((4, _y(share) - 7), f"{share:.0%}", fill=INK, font=font)
    pen.text((LEFT, TOP + HEIGHT + 8), "0", fill=INK, font=font)
    last = f"{steps[-1]:,} gradients"
    pen.text((LEFT + WIDTH - pen.textlength(last, font), TOP + HEIGHT + 8), last, INK, font)
    _key(pen, font, names)
    return sheet


def _y(share: float) -> int:
    return TOP + HEIGHT - round(HEIGHT * min(share, 1.0))


def _key(pen: ImageDraw.ImageDraw, font: Font, names: list[str]) -> None:
    """The names from above, in the order in which they are stacked."""
    left, room = LEFT + WIDTH + 14, max(1, len(names))
    line = min(19, HEIGHT // room)
    for i, name in enumerate(reversed(names)):
        colour = COLOURS[(len(names) - 1 - i) % len(COLOURS)]
        y = TOP + i * line
        pen.rectangle([left, y + 2, left + 10, y + 12], fill=colour)
        text = name if len(name) <= 20 else name[:19] + "…"
        pen.text((left + 17, y - 1), text, fill=INK, font=font)
