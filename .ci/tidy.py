"""Check what no other tool checks: files end with one newline, and none is large.

Usage: tidy.py [FILE ...]; without files, all that git knows.
"""

import subprocess
import sys
from pathlib import Path

LARGEST = 500_000  # bytes


def known_to_git() -> list[str]:
    """Every file in the index."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name]


def faults(path: Path) -> list[str]:
    """What is wrong with one file."""
    content = path.read_bytes()
    found = []
    if len(content) > LARGEST:
        found.append(f"{len(content):,} bytes; at most {LARGEST:,} belong into the repository")
    if b"\0" in content or not content:
        return found
    if not content.endswith(b"\n") or content.endswith(b"\n\n"):
        found.append("must end with exactly one newline")
    return found


def main() -> int:
    """Print the faults; 1 if there are any."""
    paths = [path for name in sys.argv[1:] or known_to_git() if (path := Path(name)).is_file()]
    lines = [f"{path}: {fault}" for path in paths for fault in faults(path)]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
