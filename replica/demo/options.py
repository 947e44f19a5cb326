"""What can be asked of a demo run, and what is wrong with what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from replica.errors import ConfigError

MOMENTS: Final = ("cut", "replay")
KILL_WHO: Final = ("random", "leader", "follower", "site", "cut-site")


@dataclass(frozen=True, slots=True)
class Options:
    """One run. `cut_after`: operations before the line is cut, None for half-way. `data`: where the stores stay.

    `also_kill`: one process more to kill with SIGKILL and start again: a node's name or a word of KILL_WHO; empty for
    none. `also_kill_at`: a number of operations, or a word of MOMENTS.
    """

    messages: Path | None = None
    zones: int = 3
    sites: int = 2
    cut_after: int | None = None
    kill: bool = True
    data: Path | None = None
    seed: int = 1
    also_kill: str = ""
    also_kill_at: str = "cut"

    def check(self) -> None:
        """Raises ConfigError, naming the option and what is allowed."""
        if not 1 <= self.zones <= 7:
            raise ConfigError("--zones", f"{self.zones} is not a number of 1 to 7")
        if not 1 <= self.sites <= 100:
            raise ConfigError("--sites", f"{self.sites} is not a number of 1 to 100")
        if self.cut_after is not None and self.cut_after < 0:
            raise ConfigError("--cut-after", f"{self.cut_after} is not a number of 0 or more")
        if self.also_kill_at not in MOMENTS and not self.also_kill_at.isdigit():
            raise ConfigError(
                "--also-kill-at", f"{self.also_kill_at!r} is not a number of operations or one of {', '.join(MOMENTS)}"
            )
        if self.data is not None and self.data.exists() and any(self.data.iterdir()):
            raise ConfigError("--data", f"{self.data} is not empty; the stores of a run need a folder of their own")
