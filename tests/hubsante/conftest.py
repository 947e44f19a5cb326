"""Messages as parameters: a test that asks for `example`, `failing`, `schema` or `story` runs once for each file.

The published ones lie beside the project (../shared/hub-messages); where that folder is absent their tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
HUB = PROJECT.parent / "shared" / "hub-messages"
STORIES = PROJECT / "replica" / "demo" / "stories"

FILES = {
    "example": (HUB / "examples", "*/*.json"),
    "failing": (HUB / "failing", "*.json"),
    "schema": (HUB / "schemas", "*.schema.json"),
    "story": (STORIES, "*/*.json"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, (folder, pattern) in FILES.items():
        if name in metafunc.fixturenames:
            paths = sorted(folder.glob(pattern))
            metafunc.parametrize(name, paths, ids=[f"{path.parent.name}/{path.name}" for path in paths])


@pytest.fixture(scope="session")
def published() -> dict[str, Any]:
    """The published schemas by type name (`RS-EDA`)."""
    if not HUB.is_dir():
        pytest.skip(f"no published messages at {HUB}")
    found = (HUB / "schemas").glob("*.schema.json")
    return {path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in found}
