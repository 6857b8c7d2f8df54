"""What the pages tell people to type, and why some of it is typed by no test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.house import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "cluster").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
LEFT_OUT = {
    r"python3 -m venv |\S*pip install ": "installs; needs an index of packages",
    r"\S*python -m pytest": "is the suite that this test belongs to",
    r"\S*python -m benchmarks\.": "trains for minutes; its options are held to its --help",
    r"metasearch cluster up-check ": "needs a cluster; tests/cli/test_up_check.py",
    r"ssh |metasearch submit ": "needs a cluster; its options are held to --help",
    r"metasearch .*s3://": "needs a bucket; tests/cli/test_buckets.py",
    r"metasearch .*(repairer|rings\.yaml)": "needs the example package; tests/api/test_plugins.py",
}
"""How a line begins that is not typed, and the reason."""
SAID_ONLY = {
    "metasearch search leaves.yaml": "typed above",
    "metasearch stop leaves": "wants a search that runs; tests/cli/test_halt.py",
    "metasearch components denoiser": "lists what the reader has written by then",
    "metasearch cluster token": "writes into the home of who types it; tests/cli/test_cluster.py",
    "metasearch doctor --address HOST:PORT": "needs a cluster",
    "metasearch export RUN --ensemble mixture": "takes minutes; tests/search/test_ensemble.py",
    "metasearch refine RUN": "takes minutes; tests/search/test_refine.py",
}
"""Commands within a sentence that are not typed, and the reason."""
REHEARSED = "make "
"""How a line begins that is asked what it would do, for it installs, or takes long."""


@dataclass(frozen=True)
class Line:
    """One line for a shell."""

    page: str  # as a path in the repository
    text: str  # without the remark behind it

    @property
    def reason(self) -> str:
        """Why it is not typed; empty if it is."""
        return next((why for how, why in LEFT_OUT.items() if re.match(how, self.text)), "")


def blocks(page: Path, kinds: str) -> list[str]:
    """The blocks of code of one kind, or of several: `sh|bash`."""
    return re.findall(rf"^```(?:{kinds})\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.M)


def lines(page: Path) -> list[Line]:
    """All lines of a page for a shell: what is in its blocks, or behind a prompt."""
    shown = [line for block in blocks(page, "sh|bash") for line in block.splitlines()]
    asked = re.findall(r"^\$ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    bare = [re.sub(r"\s+#.*", "", line).strip() for line in (*shown, *asked)]
    return [Line(page.relative_to(ROOT).as_posix(), text) for text in bare if text]


def quoted(page: Path) -> list[Line]:
    """Commands that stand within a sentence."""
    found = re.findall(r"`(metasearch [a-z][^`]*)`", page.read_text("utf-8"))
    return [Line(page.relative_to(ROOT).as_posix(), text) for text in found]
