"""A command of the bench sets its process up for measuring; what runs after it in the same process is not to notice."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logs, the collector of garbage and the turns of threads are put back."""
    logs, thresholds, turn_s = structlog.get_config(), gc.get_threshold(), sys.getswitchinterval()
    yield
    structlog.configure(**logs)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(turn_s)
