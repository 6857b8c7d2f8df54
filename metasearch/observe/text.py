"""Numbers, times and tables as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""The text without what would move a terminal's cursor, or change more than that.

    Names and errors in a run folder may be a stranger's.

    >>> printable('a\x1b[2Jb\n')
    'a[2Jb\n'
    """
    return _CONTROL.sub("", text)


def number(value: float | None, like: float | None = None) -> str:
    """Four significant digits, or as many decimals as `like` would get.

    >>> number(0.29812), number(-93.2134), number(0.3, like=0.29812), number(None)
    ('0.2981', '-93.21', '0.3000', '-')
    >>> number(float("nan")), number(2.5e-7)
    ('nan', '2.5e-07')
    """
    if value is None:
        return "-"
    like = value if like is None or not math.isfinite(like) else like
    if not math.isfinite(value):
        return str(value)
    size = math.floor(math.log10(abs(like))) if like else 0
    if not -4 < size < 6:
        return f"{value:.4g}"
    return f"{value:.{max(0, 3 - size)}f}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A score with its interval, all with the same decimals.

    >>> interval(0.29812, 0.268, 0.3279)
    '0.2981 [0.2680, 0.3279]'
    >>> interval(0.3, None, None)
    '0.3000'
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return number(value)
    return f"{number(value)} [{number(low, like=value)}, {number(high, like=value)}]"


def span(seconds: float) -> str:
    """A length of time.

    >>> span(151.4), span(3661), span(0.2), span(200_000)
    ('2:31', '1:01:01', '0:00', '2d 07:33')
    """
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86_400)
    hours, minutes, secs = rest // 3600, rest // 60 % 60, rest % 60
    if days:
        return f"{days}d {hours:02d}:{minutes:02d}"
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    r"""A Markdown table; what would break a cell is escaped.

    >>> print(markdown_table(["a", "b"], [[1, "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\|y |
    """
    lines = [head, *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    body = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([body[0], "|" + "---|" * len(head), *body[1:]])


def flat(data: Any, path: str = "") -> list[tuple[str, object]]:
    """The leaves of a resolved config with their paths, written as draws are.

    >>> flat({"outer": {"lr": 0.1}, "models": [{"name": "vae"}]})
    [('outer.lr', 0.1), ('models[0].name', 'vae')]
    """
    if isinstance(data, Mapping) and data:
        parts = [(f"{path}.{key}" if path else str(key), value) for key, value in data.items()]
    elif isinstance(data, list | tuple) and any(isinstance(v, Mapping) for v in data):
        parts = [(f"{path}[{i}]", value) for i, value in enumerate(data)]
    else:
        return [(path, data)]
    return [leaf for where, value in parts for leaf in flat(value, where)]


def drawn(params: Mapping[str, Any]) -> str:
    """What a trial drew, in a line.

    >>> drawn({"outer.lr": 0.00123456, "models[0]": "vae"})
    'outer.lr=0.00123 models[0]=vae'
    """
    return " ".join(f"{path}={setting(value)}" for path, value in params.items())


def setting(value: object) -> str:
    """A value as people take it in; in full it is in the recipe.

    >>> setting(0.0015066811787361658), setting(10.0), setting(16), setting("vae")
    ('0.00151', '10', '16', 'vae')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short_paths(paths: Sequence[str]) -> dict[str, str]:
    """Draws as people call them: the room is left out where nothing else is called so.

    >>> short_paths(["models[0]", "models[0].vae.latent", "outer.lr"])
    {'models[0]': 'models[0]', 'models[0].vae.latent': 'vae.latent', 'outer.lr': 'outer.lr'}
    """
    short = {path: re.sub(r"^(models|algorithms)\[\d+\]\.", "", path) for path in paths}
    taken = list(short.values())
    return {path: name if taken.count(name) == 1 else path for path, name in short.items()}


def briefly(params: Mapping[str, Any]) -> list[str]:
    """What a trial drew, but for what its name says already.

    >>> briefly({"models[0]": "vae", "models[0].vae.latent": 8, "outer.lr": 0.00123456})
    ['vae.latent 8', 'outer.lr 0.00123']
    """
    names = short_paths(list(params))
    shown = {k: v for k, v in params.items() if k not in {"models[0]", "algorithms[0]"}}
    return [drawn({names[path]: value}).replace("=", " ", 1) for path, value in shown.items()]


def gist(error: str) -> str:
    """The last line of an error without its numbers, by which failures are found alike.

    >>> gist("OSError: pid 12 of node 4f0c9ab1d2 is gone")
    'OSError: pid # of node # is gone'
    """
    return re.sub(r"\b(?=[a-f]*\d)[0-9a-f.]+\b", "#", error.rpartition("\n")[2])
