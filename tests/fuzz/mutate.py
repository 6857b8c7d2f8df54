"""Ways to damage a file: as bytes, as a tree of plain data, and inside of what seals it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import yaml

Draw = np.random.Generator
Mutation = Callable[[bytes, Draw], bytes]

TOKENS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\t", b"---\n", b"&a ", b"*a", b"!!python/name:os.system ",
    b"{", b"}", b"[", b"]", b": ", b"- ", b"'", b'"', b"\\", b"\\u0000", b"\\ud800", b"NaN", b"Infinity",
    b"-1", b"1e999", b"9" * 400, b"../../", b"/etc/passwd", b"\x1b[2J", b"<script>", b"%s", b"${HOME}",
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"IHDR",
)  # fmt: skip
DEEP = 150  # levels of a list that stands where a number was


def values() -> list[Any]:
    """What may stand where something else is expected."""
    deep: Any = []
    for _ in range(DEEP):
        deep = [deep]
    return [
        None, True, False, -1, 0, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308,
        math.nan, math.inf, -math.inf, "", " ", "nan", "x" * 5000, "\x1b]0;owned\x07", "<b onload=x>",
        "../../../outside", "/etc/passwd", "a\x00b", "\n\n", "ä" * 40, "\u202e", "1e3", "0001", "name", [], {}, [[]], [None],
        {"name": None}, {"name": "vae"}, {"": ""}, {"choice": []}, {"uniform": [1, 0]}, {"uniform": [0, math.inf]},
        {"log_uniform": [-1, 1]}, {"integers": [0, 2**70]}, {"choice": [{"name": "gan"}, 3]}, ["a"] * 300, deep,
    ]  # fmt: skip


def flip(data: bytes, draw: Draw) -> bytes:
    """Some bytes become others."""
    changed = bytearray(data or b"\x00")
    for _ in range(int(draw.integers(1, 9))):
        changed[int(draw.integers(len(changed)))] = int(draw.integers(256))
    return bytes(changed)


def cut(data: bytes, draw: Draw) -> bytes:
    """The end is missing, or a piece in the middle."""
    start = int(draw.integers(len(data) + 1))
    if draw.random() < 0.5:
        return data[:start]
    return data[:start] + data[start + int(draw.integers(1, 200)) :]


def insert(data: bytes, draw: Draw) -> bytes:
    """A piece of something else is in it, once or a few hundred times."""
    token = TOKENS[int(draw.integers(len(TOKENS)))]
    place = int(draw.integers(len(data) + 1))
    return data[:place] + token * int(draw.choice([1, 1, 1, 2, 300])) + data[place:]


def repeat(data: bytes, draw: Draw) -> bytes:
    """A piece stands there again."""
    start = int(draw.integers(len(data) + 1))
    piece = data[start : start + int(draw.integers(1, 400))]
    place = int(draw.integers(len(data) + 1))
    return data[:place] + piece * int(draw.integers(1, 4)) + data[place:]


def nothing(data: bytes, draw: Draw) -> bytes:
    """An empty file, or one of noise."""
    return draw.bytes(int(draw.choice([0, 1, 64, 4096])))


BYTES: Sequence[Mutation] = (flip, cut, insert, repeat, flip, insert, nothing)


def as_bytes(data: bytes, draw: Draw) -> bytes:
    """One damage that knows nothing of the format."""
    return BYTES[int(draw.integers(len(BYTES)))](data, draw)


def _places(tree: Any, above: list[Any] | dict[str, Any] | None = None, key: Any = None) -> Iterator[tuple[Any, Any]]:  # fmt: skip
    if above is not None:
        yield above, key
    pairs = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for inner, value in list(pairs):
        yield from _places(value, tree, inner)


def damage_tree(tree: Any, draw: Draw) -> Any:
    """One to three values become others, move, or go."""
    for _ in range(int(draw.integers(1, 4))):
        places = list(_places(tree))
        if not places:
            break
        above, key = places[int(draw.integers(len(places)))]
        other = values()[int(draw.integers(len(values())))]
        kind = draw.random()
        if kind < 0.6:
            above[key] = other
        elif kind < 0.75:
            del above[key]
        elif kind < 0.9 and isinstance(above, dict):
            above[str(other)[:60]] = above.pop(key)
        else:
            donor, place = places[int(draw.integers(len(places)))]
            if place in donor if isinstance(donor, dict) else place < len(donor):
                above[key] = json.loads(json.dumps(donor[place]))
    return tree


def as_json(data: bytes, draw: Draw) -> bytes:
    """JSON, or JSON lines, with other values in it."""
    lines = data.split(b"\n")
    which = int(draw.integers(max(1, len(lines) - 1)))
    try:
        tree = damage_tree(json.loads(lines[which] if len(lines) > 2 else data), draw)
    except ValueError:
        return as_bytes(data, draw)
    text = json.dumps(tree).encode()
    return b"\n".join([*lines[:which], text, *lines[which + 1 :]]) if len(lines) > 2 else text


def as_yaml(data: bytes, draw: Draw) -> bytes:
    """YAML with other values in it."""
    return yaml.safe_dump(damage_tree(yaml.safe_load(data), draw), sort_keys=False).encode()


def as_png(data: bytes, draw: Draw) -> bytes:
    """A chunk of a PNG says something else, and its checksum agrees."""
    start = 8
    chunks = []
    while start + 12 <= len(data):
        size = struct.unpack(">I", data[start : start + 4])[0]
        chunks.append((start, size))
        start += 12 + size
    place, size = chunks[int(draw.integers(len(chunks)))]
    body = bytearray(data[place + 4 : place + 8 + size])
    for _ in range(int(draw.integers(1, 4))):
        at = int(draw.integers(4 if size else 0, len(body)))
        body[at] = int(draw.choice([0, 1, 2, 127, 128, 255, int(draw.integers(256))]))
    seal = struct.pack(">I", zlib.crc32(bytes(body)))
    return data[: place + 4] + bytes(body) + seal + data[place + 12 + size :]


def as_zip(data: bytes, draw: Draw) -> bytes:
    """One member of a zip, or its name, is another; the zip itself is whole."""
    names = (
        "../../outside.png",
        "/outside.png",
        "a/../../b.png",
        "C:\\x.png",
        "\x1b[2J.png",
        "x" * 300,
    )
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        members = old.infolist()
        victim = int(draw.integers(len(members)))
        for i, member in enumerate(members):
            name, body = member.filename, old.read(member)
            if i == victim and draw.random() < 0.3:
                name = names[int(draw.integers(len(names)))]
            elif i == victim:
                body = as_bytes(body, draw)
            new.writestr(name, body)
    return made.getvalue()


def as_safetensors(data: bytes, draw: Draw) -> bytes:
    """The header of a safetensors file says something else, and its length agrees."""
    size = struct.unpack("<Q", data[:8])[0]
    header = damage_tree(json.loads(data[8 : 8 + size]), draw)
    if draw.random() < 0.3:
        name = min(header)
        header[name] = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


BY_SUFFIX: dict[str, Mutation] = {
    ".json": as_json, ".jsonl": as_json, ".journal": as_json, ".yaml": as_yaml, ".png": as_png, ".zip": as_zip,
    ".npz": as_zip, ".safetensors": as_safetensors,
}  # fmt: skip


def damaged(name: str, data: bytes, draw: Draw) -> bytes:
    """A file as it should not be: half of the time as bytes, half of the time from within."""
    inner = BY_SUFFIX.get("." + name.rpartition(".")[2])
    if inner is None or draw.random() < 0.5:
        return as_bytes(data, draw)
    return inner(data, draw)


def checksum(data: bytes) -> str:
    """As bundles and checkpoints write it."""
    return hashlib.sha256(data).hexdigest()
