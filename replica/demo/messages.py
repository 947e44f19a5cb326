"""The messages to play, in the order of their stories: found in a folder, or the ones that come with the project.

A file's name ends with its number within one emergency (`….01`, `….03b`, `…_02`). Played by number first, all stories
run side by side as emergencies do; a file without a number is what nobody numbered, and comes first.

Left out: what a message says (replica/hubsante), and through which site it enters (voices.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import msgspec

from replica.errors import ConfigError

STORIES: Final = "stories"
NUMBER: Final = re.compile(r"[._-](\d{1,6})([a-z]?)$")
LARGEST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Message:
    """One file: an envelope or a bare content. `name` is its path below the folder, with `/`."""

    name: str
    data: bytes


def order_of(name: str) -> tuple[int, str, str]:
    """What files are sorted by: story number, its letter, name without folders.

    `a/RS-SR_X.03b.json` → (3, "b", "RS-SR_X.03b.json"); without a number (0, "", name).
    """
    base = name.rpartition("/")[2]
    found = NUMBER.search(base.removesuffix(".json"))
    return (int(found[1]), found[2], base) if found else (0, "", base)


def in_order(messages: Iterable[Message]) -> list[Message]:
    """By story number, then by name; by whole path where two files have the same."""
    return sorted(messages, key=lambda message: (order_of(message.name), message.name))


def find(folder: Path | None) -> list[Message]:
    """Every message under `folder`, or of the stories that come with the project (None), in order.

    A file counts that holds a JSON object and no schema. Raises ConfigError where there is no folder, or none in it.
    """
    if folder is not None:
        return _found_in(folder)
    with as_file(files("replica.demo") / STORIES) as stories:
        return _found_in(stories)


def _found_in(folder: Path) -> list[Message]:
    if not folder.is_dir():
        raise ConfigError("--messages", f"{folder} is not a folder")
    messages = in_order(_read_all(folder))
    if not messages:
        raise ConfigError("--messages", f"no message in {folder}: no .json file there, at any depth, holds an object")
    return messages


def _read_all(folder: Path) -> Iterator[Message]:
    for path in folder.rglob("*.json"):
        if path.is_file() and path.stat().st_size <= LARGEST_BYTES:
            data = path.read_bytes()
            if _is_message(data):
                yield Message(path.relative_to(folder).as_posix(), data)


def _is_message(data: bytes) -> bool:
    """Whether it could be one. A message that is wrong inside is still one: it is to be refused aloud, not skipped."""
    try:
        top = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return bool(top) and "$schema" not in top
