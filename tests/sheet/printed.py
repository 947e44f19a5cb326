"""A sheet as it comes out of a store, for tests that read it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from replica.admin.sheet_command import read_sheet
from replica.admin.sheet_store import kept_store
from replica.runtime.sheet_keeper import laid_out
from replica.sheet.model import CaseSheet, Sheet
from tests.sheet.stores import NOW_MS


def clock(ms: int) -> datetime:
    """UTC, for tests that name times."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def sheet_of(folder: Path, *, owner: str = "", everyone: bool = False, now_ms: int = NOW_MS) -> Sheet:
    with kept_store(folder) as kept:
        return read_sheet(kept, folder.name, now_ms, owner=owner, everyone=everyone)


def printed(sheet: Sheet, language: str = "en", kind: str = "txt") -> str:
    return laid_out(sheet, kind, language, clock)


def case_of(sheet: Sheet, case: str) -> CaseSheet:
    return next(one for one in sheet.cases if one.id == case)


def flat(text: str) -> str:
    """Without the breaks that the layout made."""
    return " ".join(text.split())
