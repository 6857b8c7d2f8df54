"""Search files: YAML with positions, and a five-word grammar for what is searched.

Knows nothing of models or trials: it turns a tree with draws into trees without.
"""

from metasearch.space.document import Document, Fault, Path, dump, inline, load, parse
from metasearch.space.extension import narrowed
from metasearch.space.faults import check, draws, faults, without
from metasearch.space.grammar import (
    WORDS,
    Draw,
    Label,
    Size,
    body_of,
    label_of,
    places,
    readable,
    size,
    word_of,
)
from metasearch.space.mark import Mark
from metasearch.space.overrides import apply_overrides, under
from metasearch.space.points import place_of, point_at, recipes
from metasearch.space.sampling import (
    Suggester,
    Traced,
    covering,
    random_suggester,
    resolve,
    sample,
    told,
    trace,
    upper_suggester,
    used,
)

__all__ = [
    "WORDS",
    "Document",
    "Draw",
    "Fault",
    "Label",
    "Mark",
    "Path",
    "Size",
    "Suggester",
    "Traced",
    "apply_overrides",
    "body_of",
    "check",
    "covering",
    "draws",
    "dump",
    "faults",
    "inline",
    "label_of",
    "load",
    "narrowed",
    "parse",
    "place_of",
    "places",
    "point_at",
    "random_suggester",
    "readable",
    "recipes",
    "resolve",
    "sample",
    "size",
    "told",
    "trace",
    "under",
    "upper_suggester",
    "used",
    "without",
    "word_of",
]
