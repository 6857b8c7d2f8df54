"""What to learn from: sources of tasks, split by group into five sets, and checked for leaks."""

from metasearch.registry import Table
from metasearch.tasks.arrays import Arrays
from metasearch.tasks.folder import Folder
from metasearch.tasks.glyphs import Glyphs
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.omniglot import Omniglot
from metasearch.tasks.parse import parse_source
from metasearch.tasks.sheet import contact_sheet, summary
from metasearch.tasks.strokes import Strokes

SOURCES = Table(
    "task source",
    {
        "glyphs": Glyphs,
        "omniglot": Omniglot,
        "strokes": Strokes,
        "folder": Folder,
        "arrays": Arrays,
    },
    room="tasks",
)

__all__ = [
    "SOURCES",
    "Arrays",
    "Folder",
    "Glyphs",
    "ImageTasks",
    "Omniglot",
    "Strokes",
    "contact_sheet",
    "parse_source",
    "summary",
]
