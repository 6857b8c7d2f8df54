"""The rule by which the glyph tasks were chosen; it rebuilds ``glyphs.json`` from the fonts.

Run ``python -m metasearch.tasks.glyph_rule`` to write the file anew. The rule has no seed:

1. Characters are letters and decimal digits (Lu, Ll, Lo, Nd) that NFKD leaves alone, so accented
   letters, presentation forms and mathematical alphabets are out. A style has a character if the
   table of its font says so. Four styles at least.
2. Two characters are twins if their pictures, fitted to the same frame and a little blurred, have
   a cosine of 0.98 or more in at least half of the styles they share. Twins, and twins of twins,
   become one class, named for the member that comes first by split, script and code point: Latin A
   takes in Cyrillic A and Greek Alpha.
3. Scripts are dealt to splits whole. A class of a later split goes if, on average over shared
   styles, one of its members has a cosine of 0.95 or more with a member of an earlier split: as
   they are, or both stretched to a square, since letters may differ in width alone.
4. The leak check that runs at load runs here too, so that at load it finds nothing.

Rotated or mirrored letters are never classes of their own: Canadian syllabics are rotations of
each other already, and would be in several splits.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.features
import torch

from metasearch.tasks.base import Split
from metasearch.tasks.glyph_fonts import STYLES, font_folder, render_fields, sha256_of
from metasearch.tasks.jitter import FRAME, Pose, draw
from metasearch.tasks.leakage import blur, check, fit_ink

PLAN: Mapping[Split, tuple[str, ...]] = {
    "train": ("Digits", "Latin", "Cyrillic", "Canadian"),
    "inner": ("Arabic",),
    "search": ("Greek", "Coptic"),
    "confirm": ("Hebrew", "Old-Italic"),
    "test": ("Georgian", "Armenian", "Lao"),
}

_SCRIPTS = {  # as ISO 15924 has it
    "Latn": "Latin",
    "Cyrl": "Cyrillic",
    "Cans": "Canadian",
    "Arab": "Arabic",
    "Grek": "Greek",
    "Copt": "Coptic",
    "Hebr": "Hebrew",
    "Ital": "Old-Italic",
    "Geor": "Georgian",
    "Armn": "Armenian",
    "Laoo": "Lao",
}
_PLACE = {
    script: (level, rank)
    for level, scripts in enumerate(PLAN.values())
    for rank, script in enumerate(scripts)
}
_SPLIT = {script: split for split, scripts in PLAN.items() for script in scripts}

MIN_STYLES = 4
TWIN = 0.98
NEAR_TWIN = 0.95


@dataclass(frozen=True)
class Character:
    """A character that could become a class."""

    char: str
    script: str
    styles: tuple[str, ...]  # that have it

    @property
    def order(self) -> tuple[int, int, str]:
        """Split, script, code point: the first of a group of twins gives the class its name."""
        return (*_PLACE[self.script], self.char)


def characters(files: Mapping[str, Path]) -> list[Character]:
    """Every character that step 1 admits, in order of split, script and code point."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    tables = {}
    for style, path in files.items():
        with TTFont(path, lazy=True) as font:
            tables[style] = frozenset(font.getBestCmap())
    found = []
    for code in sorted(frozenset().union(*tables.values())):
        script = admitted_script(chr(code))
        styles = tuple(s for s, table in tables.items() if code in table)
        if script is not None and len(styles) >= MIN_STYLES:
            found.append(Character(chr(code), script, styles))
    return sorted(found, key=lambda c: c.order)


def admitted_script(char: str) -> str | None:
    """The script of a character that may be a class; None if it may not."""
    from fontTools.unicodedata import script  # type: ignore[import-untyped]

    if unicodedata.category(char) not in {"Lu", "Ll", "Lo", "Nd"}:
        return None
    if unicodedata.normalize("NFKD", char) != char:
        return None
    return "Digits" if char in "0123456789" else _SCRIPTS.get(script(char))


def class_name(character: Character) -> str:
    """The name within its script: "small-g", "capital-omega", "carrier-ttsee"."""
    words = unicodedata.name(character.char).lower().replace("-", " ").split()
    noise = {"letter", "syllabics", "digit", *character.script.lower().split("-")}
    return "-".join(w for w in words if w not in noise)


def choose(files: Mapping[str, Path]) -> list[tuple[Character, list[Character]]]:
    """The classes by steps 1 to 4: the character that is drawn, and the twins that it took in."""
    candidates = characters(files)
    pairs = [(c.char, style) for c in candidates for style in c.styles]
    owner = np.repeat(np.arange(len(candidates)), [len(c.styles) for c in candidates])
    style = np.array([STYLES.index(s) for _, s in pairs])
    fields = render_fields(pairs, files)
    pictures = draw(fields, Pose.neutral(len(fields)), FRAME)
    twins, mean = likeness(pictures, owner, style, len(candidates))
    square = fit_ink((pictures + 1) / 2, stretch=True) * 2 - 1
    mean = np.maximum(mean, likeness(square, owner, style, len(candidates))[1])
    groups = sorted(components(twins))
    groups = _without_near_twins(groups, [_PLACE[c.script][0] for c in candidates], mean)

    class_of = np.full(len(candidates), -1)
    class_of[[members[0] for members in groups]] = np.arange(len(groups))
    mine = class_of[owner] >= 0
    names = [f"{candidates[m[0]].script}/{class_name(candidates[m[0]])}" for m in groups]
    splits = [_SPLIT[candidates[m[0]].script] for m in groups]
    images = ((pictures[mine] + 1) * 127.5).round().byte().numpy()
    gone = set(check(images, class_of[owner][mine], names, splits).dropped)
    return [
        (candidates[m[0]], [candidates[i] for i in m[1:]])
        for m, name in zip(groups, names, strict=True)
        if name not in gone
    ]


def likeness(
    pictures: torch.Tensor, owner: np.ndarray, style: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of `n` characters are twins, and the mean cosine of all pairs, both [n, n].

    Args:
        pictures: [m, 1, h, w] in [-1, 1].
        owner: character of each, [m].
        style: its style, [m].
        n: how many characters there are.
    """
    flat = blur((pictures + 1) / 2).flatten(1)
    unit = torch.nn.functional.normalize(flat, dim=1)
    common = np.zeros((n, n), np.int16)
    alike = np.zeros((n, n), np.int16)
    total = np.zeros((n, n), np.float32)
    for s in np.unique(style):
        rows = np.flatnonzero(style == s)
        cosine = (unit[rows] @ unit[rows].T).numpy()
        at = np.ix_(owner[rows], owner[rows])
        common[at] += 1
        alike[at] += cosine >= TWIN
        total[at] += cosine
    return (common > 0) & (2 * alike >= common), total / np.maximum(common, 1)


def components(linked: np.ndarray) -> list[tuple[int, ...]]:
    """The connected components of a graph given as a symmetric boolean matrix, members sorted."""
    seen = np.zeros(len(linked), bool)
    found = []
    for start in range(len(linked)):
        members, frontier = set(), set() if seen[start] else {start}
        while frontier:
            members |= frontier
            reached = np.flatnonzero(linked[list(frontier)].any(0))
            frontier = set(reached.tolist()) - members
        seen[list(members)] = True
        if members:
            found.append(tuple(sorted(members)))
    return found


def _without_near_twins(
    groups: Sequence[tuple[int, ...]], level: Sequence[int], mean: np.ndarray
) -> list[tuple[int, ...]]:
    """Step 3. A group's level is that of its first member."""
    kept: list[tuple[int, ...]] = []
    for group in groups:
        earlier = [i for other in kept if level[other[0]] < level[group[0]] for i in other]
        if not (mean[np.ix_(group, earlier)] >= NEAR_TWIN).any():
            kept.append(group)
    return kept


def manifest(files: Mapping[str, Path]) -> dict[str, object]:
    """What ``glyphs.json`` holds, from the fonts."""
    chosen = choose(files)
    return {
        "about": "Written by `python -m metasearch.tasks.glyph_rule`; the rule is told there.",
        "freetype": PIL.features.version("freetype2"),
        "fonts": {style: sha256_of(path) for style, path in files.items()},
        "splits": PLAN,
        "classes": [
            {
                "script": first.script,
                "name": class_name(first),
                "char": first.char,
                "styles": [STYLES.index(s) for s in first.styles],
                "twins": "".join(c.char for c in twins),
            }
            for first, twins in chosen
        ],
    }


def to_text(data: Mapping[str, object]) -> str:
    """The manifest as JSON with a class a line, so that a change can be read."""
    head = json.dumps({k: v for k, v in data.items() if k != "classes"}, indent=1)
    classes = data["classes"]
    assert isinstance(classes, Iterable)
    lines = ",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in classes)
    return head[:-2] + f',\n "classes": [\n{lines}\n ]\n}}\n'


if __name__ == "__main__":
    here = {style: font_folder() / f"{style}.ttf" for style in STYLES}
    Path(__file__).with_name("glyphs.json").write_text(to_text(manifest(here)))
