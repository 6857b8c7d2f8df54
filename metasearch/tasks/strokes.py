"""Characters as the steps of a pen: traced from the embedded fonts, or Omniglot's own strokes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from metasearch.errors import DataError
from metasearch.registry import component
from metasearch.tasks.alphabets import HARDNESS, Drawings, drawings, several
from metasearch.tasks.cache import Arrays, cached, key_of
from metasearch.tasks.decode import MAX_CORRUPT
from metasearch.tasks.glyph_classes import GlyphClass, font_hashes, glyph_classes, glyph_fields
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.jitter import Jitter, decode_distance
from metasearch.tasks.licence import FONTS, OMNIGLOT
from metasearch.tasks.pen import check_length, render, to_steps
from metasearch.tasks.reading import (
    SHOWN,
    ImageClass,
    Leaks,
    Reading,
    Wanted,
    check_settings,
    complain_about,
    finish,
)
from metasearch.tasks.skeleton import thin, trace
from metasearch.tasks.splits import RATIOS, Ratios

TRACED = ("DejaVuSans", "DejaVuSansMono", "cmss10")  # without serifs, and not slanted from another

_WANTED = (
    "wanted are strokes_background.zip, strokes_evaluation.zip, strokes_background_small1.zip or "
    "..._small2.zip as published, or their folders unpacked (Alphabet/character01/0001_01.txt)"
)
_TRACER = 1  # raise when traced or read strokes change, so that cached ones are made anew
_MOST_POINTS = 100_000


@component
class Strokes:
    """A task is a character; a row is its picture "x" and the pen strokes "t" that make it.

    Strokes are `length` steps (dx, dy, pen) as `pen` tells: of equal length within a stroke, the
    drawing centred and its longer side fitted to 20/28 of the frame. Pictures are drawn from them.

    Without a path, characters are the 1,355 of `glyphs` with their splits, their middle lines
    traced in up to three styles without serifs; each drawing is turned, sheared, scaled, shifted
    and bent, so that they never run out. With the path of Omniglot's published stroke files,
    drawings are those of twenty people, as stored, and alphabets are dealt as `omniglot` deals
    them.

    Source: Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic
    program induction", Science 350(6266), 2015. Differs: times are left out, and so is where on
    the sheet, and how large, somebody drew.
    """

    name: Literal["strokes"] = "strokes"
    path: str | None = None  # of Omniglot's stroke files, "a.zip,b.zip"; None: traced from fonts
    size: int = 28  # pixels a side
    length: int = 32  # steps of a drawing
    shot: int = 5
    query: int = 10
    anchor: int = 5
    seed: int = 0  # of the split; that of traced characters is fixed
    ratios: Ratios = RATIOS  # of train, inner, search, confirm, test
    leaks: Leaks = "drop"  # drop characters that resemble one of an earlier split, or keep them

    def __post_init__(self) -> None:
        """Refuse sizes, counts and shares that mean nothing."""
        check_settings(self.size, self.shot, self.query, self.anchor, self.ratios)
        check_length("strokes", self.length)

    @property
    def licence(self) -> str:
        """Terms of the images."""
        return OMNIGLOT if self.path else FONTS

    def open(self) -> ImageTasks:
        """Trace or read what is not in the cache (a few seconds), split, check for leaks.

        Raises:
            DataError: a path is missing or holds no stroke files, there are too few alphabets, or
                matplotlib's fonts are not the ones the characters were chosen from.
            EnvironmentFault: matplotlib is not installed, and there is no path.
        """
        traced = self.path is None
        with complain_about("strokes" if traced else f"strokes {self.path}"):
            wanted = Wanted(
                need=1 if traced else self.shot + self.query + self.anchor,
                invert="no",
                seed=self.seed,
                ratios=self.ratios,
                leaks=self.leaks,
                hardness=HARDNESS,
            )
            reading = self._traced() if self.path is None else self._read(self.path)
            # Lines have one width: `stroke` of the jitter would be seen in pictures alone.
            return finish(reading, wanted, Jitter(stroke=0.0) if traced else None)

    def _traced(self) -> Reading:
        every = glyph_classes()
        styles = [[s for s in TRACED if s in c.styles] or [c.styles[0]] for c in every]
        fonts = dict(font_hashes())
        key = key_of([_TRACER, fonts, self.length, self.size, [c.char for c in every], styles])
        arrays = cached("strokes", key, lambda: self._drawn(_trace_all(every, styles)))
        return Reading(
            images=arrays["images"],
            owner=np.repeat(np.arange(len(every)), [len(s) for s in styles]),
            classes=tuple(ImageClass(c.name, c.script, c.split) for c in every),
            notes={"traced": list(TRACED)},
            strokes=arrays["steps"],
        )

    def _read(self, path: str) -> Reading:
        with drawings(several(path), "strokes", frozenset({".txt"}), _WANTED) as found:
            listed = [[list(m.parts), m.stamp] for m in found.members]
            key = key_of([_TRACER, self.length, self.size, listed])
            arrays = cached("strokes", key, lambda: self._parsed(found))
            known = sorted(set(found.classes), key=lambda c: (c.task, c.given or ""))
            number = {c: i for i, c in enumerate(known)}
            owner = np.array([number[found.classes[i]] for i in arrays["kept"].tolist()], int)
            notes: dict[str, Any] = json.loads(arrays["notes"].tobytes())
            return Reading(
                arrays["images"], owner, tuple(known), notes, strokes=arrays["steps"]
            ).noting(passed_over=dict(found.ignored))

    def _parsed(self, found: Drawings) -> Arrays:
        paths, kept, corrupt = [], [], []
        for i, member in enumerate(found.members):
            try:
                paths.append(parse(member.read()))
                kept.append(i)
            except (OSError, ValueError) as error:
                corrupt.append(f"{'/'.join(member.parts)}: {error}")
        if len(corrupt) > MAX_CORRUPT * len(found.members):
            raise DataError(
                f"{len(corrupt)} of {len(found.members)} files hold no strokes, more than "
                f"{MAX_CORRUPT:.0%}: {'; '.join(corrupt[:3])}. Copy them again; {_WANTED}."
            )
        notes = {
            "files": len(found.members),
            "corrupt": len(corrupt),
            "corrupt_files": corrupt[:SHOWN],
        }
        text = np.frombuffer(json.dumps(notes).encode(), np.uint8)
        return {**self._drawn(paths), "kept": np.array(kept, int), "notes": text}

    def _drawn(self, paths: Sequence[Sequence[np.ndarray]]) -> Arrays:
        steps = np.stack([to_steps(drawing, self.length) for drawing in paths])
        pictures = render(torch.from_numpy(steps), self.size)
        return {"steps": steps, "images": ((pictures + 1) * 127.5).round().byte().numpy()}


def _trace_all(
    every: Sequence[GlyphClass], styles: Sequence[Sequence[str]]
) -> list[list[np.ndarray]]:
    """The strokes of these styles of each character, as paths of x, y."""
    fields = glyph_fields(every)
    pairs = [(i, style) for i, c in enumerate(every) for style in c.styles]
    chosen = fields[[style in styles[i] for i, style in pairs]]
    lines = thin(chosen > 128)
    depth = np.maximum(-decode_distance(torch.from_numpy(chosen).float()).numpy(), 0.5)
    return [
        [path[:, ::-1] for path in trace(line, width)]
        for line, width in zip(lines, depth, strict=True)
    ]


def parse(data: bytes) -> list[np.ndarray]:
    """The strokes of one of Omniglot's stroke files, [points, 2] as x, y with y downwards.

    The file says START, then for each stroke its points ``x,y,milliseconds`` (y upwards) and BREAK.

    Raises:
        ValueError: it is another file.
    """
    first, *lines = data.decode("ascii").split() or [""]
    if first != "START" or not lines or len(lines) > _MOST_POINTS:
        raise ValueError("no stroke file: it does not start with START and go on with points")
    strokes: list[list[list[float]]] = [[]]
    for line in lines:
        if line == "BREAK":
            strokes.append([])
            continue
        point = [float(number) for number in line.split(",")]
        if len(point) != 3 or not np.isfinite(point).all():
            raise ValueError(f"{line[:40]!r} is no point x,y,milliseconds")
        strokes[-1].append([point[0], -point[1]])
    found = [np.array(points) for points in strokes if points]
    if not found:
        raise ValueError("it has no points")
    return found
