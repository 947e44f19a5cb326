"""Emergency cases and resources, agreed across cloud zones, writable at every Samu when its line is cut.

The public list and nothing else: what a program that embeds replica imports. See README.md for ten lines that work.

Names are looked up when they are first used, so that importing a pure room (`replica.raft`) loads no runtime.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replica.api import (
        Agreed,
        Journalled,
        Node,
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
    from replica.offline.events import Outcome
    from replica.offline.freshness import Freshness
    from replica.runtime.service import Change
    from replica.version import __version__

_HOMES = {
    "AddNote": "replica.cases.commands",
    "Agreed": "replica.api",
    "Change": "replica.runtime.service",
    "ChangeCareLevel": "replica.cases.commands",
    "ChangePriority": "replica.cases.commands",
    "CloseCase": "replica.cases.commands",
    "Closed": "replica.errors",
    "ConfigError": "replica.errors",
    "EngageResource": "replica.cases.commands",
    "Freshness": "replica.offline.freshness",
    "InvalidMessage": "replica.errors",
    "Journalled": "replica.api",
    "Node": "replica.api",
    "NotAvailable": "replica.errors",
    "NotPermitted": "replica.errors",
    "OperationId": "replica.cases.operations",
    "Outcome": "replica.offline.events",
    "OutcomeUnknown": "replica.errors",
    "Overloaded": "replica.errors",
    "Read": "replica.api",
    "Receipt": "replica.api",
    "ReleaseResource": "replica.cases.commands",
    "ReopenCase": "replica.cases.commands",
    "ReplicaError": "replica.errors",
    "SetStatus": "replica.cases.commands",
    "Site": "replica.api",
    "SiteConfig": "replica.config",
    "StorageFull": "replica.errors",
    "StoreError": "replica.errors",
    "TransferCase": "replica.cases.commands",
    "Verdict": "replica.cases.verdicts",
    "VerdictKind": "replica.cases.verdicts",
    "Zone": "replica.api",
    "ZoneConfig": "replica.config",
    "__version__": "replica.version",
    "load_site": "replica.config",
    "load_zone": "replica.config",
    "open_site": "replica.api",
    "open_zone": "replica.api",
}

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


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'replica' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
