"""Emergency cases and resources, agreed across cloud zones, writable at every Samu when its line is cut.

The public list and nothing else: what a program that embeds replica imports. See README.md for ten lines that work.
"""

from replica.api import (
    Agreed,
    Change,
    Freshness,
    Journalled,
    Node,
    Outcome,
    Read,
    Receipt,
    Site,
    Zone,
    open_site,
    open_zone,
)
from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    CloseCase,
    EngageResource,
    ReleaseResource,
    ReopenCase,
    SetStatus,
    TransferCase,
)
from replica.cases.operations import OperationId
from replica.cases.verdicts import Verdict, VerdictKind
from replica.config import SiteConfig, ZoneConfig, load_site, load_zone
from replica.errors import (
    Closed,
    ConfigError,
    InvalidMessage,
    NotAvailable,
    NotPermitted,
    OutcomeUnknown,
    Overloaded,
    ReplicaError,
    StorageFull,
    StoreError,
)
from replica.version import __version__

__all__ = [
    "AddNote",
    "Agreed",
    "Change",
    "ChangeCareLevel",
    "ChangePriority",
    "CloseCase",
    "Closed",
    "ConfigError",
    "EngageResource",
    "Freshness",
    "InvalidMessage",
    "Journalled",
    "Node",
    "NotAvailable",
    "NotPermitted",
    "OperationId",
    "Outcome",
    "OutcomeUnknown",
    "Overloaded",
    "Read",
    "Receipt",
    "ReleaseResource",
    "ReopenCase",
    "ReplicaError",
    "SetStatus",
    "Site",
    "SiteConfig",
    "StorageFull",
    "StoreError",
    "TransferCase",
    "Verdict",
    "VerdictKind",
    "Zone",
    "ZoneConfig",
    "__version__",
    "load_site",
    "load_zone",
    "open_site",
    "open_zone",
]
