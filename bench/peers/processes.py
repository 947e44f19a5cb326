"""Processes of other systems: found where a package manager puts them, started without a word of readiness, ended.

A process of a peer is a `Child` like any node of ours: it dies with this program, in a process group of its own, its
log in its folder. What it lacks is the one line that says it serves, so whoever starts it asks it until it answers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from replica.demo.processes import Child, ProcessFailed

VERSION_SECONDS: Final = 10.0
ASK_SECONDS: Final = 0.02
TO_LOG: Final = ("/bin/sh", "-c", 'exec "$@" 1>&2', "peer")
"""A peer's stdout goes to its log as well: nobody reads the pipe, and a full one would stop it."""


class Program(Struct, frozen=True):
    """A program of a peer: where it is, and the version it says it is."""

    path: str
    version: str

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", self.version))


class PeerChild(Child):
    """One process of a peer."""

    async def begin(self, answers: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Start it and ask until `answers`. Raises ProcessFailed past `timeout_s` or at its end; it is dead then."""
        if self.alive:
            raise ProcessFailed(f"{self.name} runs already")
        self.command = self.command if self.command[: len(TO_LOG)] == TO_LOG else (*TO_LOG, *self.command)
        self._spawn()
        try:
            with trio.fail_after(timeout_s):
                while not await answers():
                    if not self.alive:
                        raise ProcessFailed(
                            f"{self.name} ended with {self.exit_code} before it answered\n{self.last_log()}"
                        )
                    await trio.sleep(ASK_SECONDS)
        except BaseException as problem:
            self.kill_now()
            if isinstance(problem, trio.TooSlowError):
                raise ProcessFailed(f"{self.name} did not answer within {timeout_s:g} s\n{self.last_log()}") from None
            raise


def newest(candidates: Iterable[str], words: tuple[str, ...], version: str) -> Program | None:
    """Of the programs that are there, the one that names the newest version: `version` is a pattern with one group for
    what `words` make it print. None where none is there."""
    found = [Program(path, said) for path in dict.fromkeys(candidates) if (said := _version(path, words, version))]
    return max(found, key=lambda program: program.order, default=None)


def places(name: str, variable: str, package: str = "", inside: str = "") -> list[str]:
    """Where the program `name` may be: what the environment's `variable` names, then `inside` the Python package
    `package`, then the search path. Where the variable is set, nothing else counts."""
    if os.environ.get(variable):
        return [os.environ[variable]]
    found = [shutil.which(name) or ""]
    spec = find_spec(package) if package else None
    if spec is not None and spec.submodule_search_locations:
        found.insert(0, str(Path(spec.submodule_search_locations[0]) / inside / name))
    return [path for path in found if path and os.access(path, os.X_OK)]


def _version(path: str, words: tuple[str, ...], pattern: str) -> str:
    try:
        ran = subprocess.run((path, *words), capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(pattern, ran.stdout + ran.stderr)
    return found[1] if found else ""
