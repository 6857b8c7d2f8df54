"""What to learn from: sources of tasks, split by group into five sets, and checked for leaks."""

from metasearch.registry import Table
from metasearch.tasks.arrays import Arrays
from metasearch.tasks.conditional import Conditional
from metasearch.tasks.folder import Folder
from metasearch.tasks.glyphs import Glyphs
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.omniglot import Omniglot
from metasearch.tasks.pair_folder import PairFolder
from metasearch.tasks.pair_tasks import PairTasks
from metasearch.tasks.pairs import Pairs
from metasearch.tasks.parse import parse_source
from metasearch.tasks.regimes import Regime
from metasearch.tasks.sheet import contact_sheet, summary
from metasearch.tasks.strokes import Strokes
from metasearch.tasks.traced import Traced

SOURCES = Table(
    "task source",
    {
        "glyphs": Glyphs,
        "omniglot": Omniglot,
        "strokes": Strokes,
        "pairs": Pairs,
        "folder": Folder,
        "pair_folder": PairFolder,
        "arrays": Arrays,
        "conditional": Conditional,
        "regime": Regime,
        "traced": Traced,
    },
    room="tasks",
)

__all__ = [
    "SOURCES",
    "Arrays",
    "Conditional",
    "Folder",
    "Glyphs",
    "ImageTasks",
    "Omniglot",
    "PairFolder",
    "PairTasks",
    "Pairs",
    "Regime",
    "Strokes",
    "Traced",
    "contact_sheet",
    "parse_source",
    "summary",
]
