"""Asking a node: a running one through its door, a stopped one through its store, which is never written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from replica.cases import queries
from replica.cases.commands import Command
from replica.cases.records import Records
from replica.errors import InvalidMessage, Place
from replica.offline.view import WorkingView
from replica.runtime.site import read_journal
from replica.storage import Store, open_store, peek_identity


@contextmanager
def stopped_node(data: Path) -> Iterator[StoppedNode]:
    """The store of a node that does not run, opened for reading only. Raises StoreError."""
    with open_store(data, peek_identity(data), create=False, read_only=True) as store:
        yield StoppedNode(store)


class StoppedNode:
    """What a stopped node knew when it stopped: its flushed state and, of a site, its journal on top, tentative."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.index, self.term = store.state.applied()
        self.journal, self.damaged = read_journal(store) if store.identity.role == "site" else ([], [])
        self.records: Records = store.state
        if self.journal:
            self.records = WorkingView(store.state).records(self.journal)

    def case(self, case_id: str) -> Any:
        return queries.read_case(self.records, case_id, self.index)

    def resource(self, resource_id: str) -> Any:
        return queries.read_resource(self.records, resource_id, self.index)

    def cases(self, owner: str | None, open_only: bool | None) -> list[Any]:
        found = queries.list_cases(self.records, owner=owner, open=open_only)
        return [self.case(case_id) for case_id in found]

    def resources(self, owner: str | None) -> list[Any]:
        return [self.resource(resource_id) for resource_id in queries.list_resources(self.records, owner=owner)]

    def freshness(self) -> dict[str, Any]:
        """What can be said of a store nobody keeps fresh any more."""
        return {"mode": "stopped", "index": self.index, "term": self.term, "undecided": len(self.journal)}

    def status(self) -> dict[str, Any]:
        """How it stood. Of several stopped zones the one with the highest (`last_term`, `last_index`) has the most
        (admin/founding.py)."""
        identity, log = self.store.identity, self.store.log
        return {
            "node": identity.node_id,
            "role": identity.role,
            "cluster": identity.cluster_id,
            "mode": "stopped",
            "applied_index": self.index,
            "last_index": log.last_index(),
            "last_term": log.term(log.last_index()),
            "journal_length": self.store.journal.length,
            "damaged_journal_records": len(self.damaged),
            "digest": queries.digest(self.store.state),
        }


def read_command(data: bytes) -> Command | None:
    """A command as JSON: `{"command": "change-priority", "case": "…", "priority": "P0"}`; None for anything else.

    Raises InvalidMessage, with every wrong place, for a command whose fields are not right.
    """
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("command"), str):
        return None
    tag = value.pop("command")
    kinds = {str(kind.__struct_config__.tag): kind for kind in Command.__args__}
    if tag not in kinds:
        raise InvalidMessage((Place("$.command", f"{tag!r} is not one of {', '.join(sorted(kinds))}"),))
    return _built(kinds[tag], value)


def _built(kind: type[Command], value: dict[str, Any]) -> Command:
    fields = msgspec.structs.fields(kind)
    places = [Place(f"$.{name}", "is not a field of this command") for name in value.keys() - {f.name for f in fields}]
    places += [Place(f"$.{field.name}", "is missing") for field in fields if field.required and field.name not in value]
    arguments = {}
    for field in fields:
        if field.name in value:
            try:
                arguments[field.name] = msgspec.convert(value[field.name], field.type, strict=True)
            except msgspec.ValidationError as problem:
                places.append(Place(f"$.{field.name}", str(problem)))
    if places:
        raise InvalidMessage(tuple(sorted(places, key=lambda place: place.path)))
    built: Command = kind(**arguments)
    return built
