"""Logs: events with fields, one JSON line each, on standard error. The library itself never configures the program's
logging.

A program that embeds replica gets its loggers by `logger(node=...)` and whatever structlog is set up for; the `replica`
command calls `log_to_stderr` once at its start.
"""

from __future__ import annotations

import sys
from typing import Any

import structlog


def logger(**fields: Any) -> Any:
    """A logger with these fields on every line. What structlog returns has no narrower type."""
    return structlog.get_logger("replica").bind(**fields)


def log_to_stderr(*, debug: bool = False) -> None:
    """One JSON line an event, with level and UTC time, on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(10 if debug else 20),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
