"""What a feature level decides: one value, handed along with each operation that is applied.

Most rules are the same under every level and are simply called. Where a level changed one, the changed one is named
here, and the code that both levels share looks it up (`subjects.write`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from replica.cases.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of feature level `level`.

    `decide`: an Act → the verdict on it. `merges`: (subject kind, field name) → the merge that takes the place of the
    one its rule in fields.py has, as `merge.Merge`.
    """

    level: int
    decide: Callable[[Any], Verdict]
    merges: Mapping[tuple[str, str], Callable[[Any, Any, Any], Any]] = field(default_factory=dict)
