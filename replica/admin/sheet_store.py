"""A store as a sheet needs it: whole where it is whole, else whichever of its two environments can still be opened.

`open_store` refuses a store of which anything is wrong, and for a node it must: half a store lends half its promises.
Paper promises nothing. So here a log that cannot be read costs the journal's acts and no more, and a state that cannot
be read costs the state. Nothing is ever written, and a running node is read beside, through LMDB's table of readers.

Left out: repair. A site has its state rebuilt by a zone (docs/offline.md); this is for when there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from replica.cases.operations import Operation
from replica.cases.records import Empty, Records
from replica.errors import ReplicaError, StoreDamaged, StoreError
from replica.offline.view import TENTATIVE_INDEX, WorkingView
from replica.runtime.site import ZONE_MS
from replica.sheet.journalled import undecided
from replica.sheet.model import Trouble
from replica.storage import CHUNK_BYTES, Identity
from replica.storage.contract import CHANGED_BYTES
from replica.storage.folder import DATA_NAME, check_data_file, check_folder, check_whole, lock_as_reader
from replica.storage.journal import LmdbJournal
from replica.storage.layout import (
    LOG_NAME,
    MAP_LIMIT,
    MAP_SIZE,
    STATE_NAME,
    Sizes,
    open_environment,
    peek_environment_identity,
    peek_state_name,
    state_folders,
)
from replica.storage.snapshot_contract import no_step
from replica.storage.state import LmdbState
from replica.wire.operation_codec import decode_operation

READ_AT_ONCE = 1000
BELOW_TENTATIVE = TENTATIVE_INDEX - 1
_SIZES = Sizes(MAP_SIZE, MAP_LIMIT, CHUNK_BYTES, CHANGED_BYTES, no_step)


@dataclass(slots=True)
class Kept:
    """What a store still says. `index` None: it does not say how far its state goes. `journal` None: unreadable.
    `undecided`: of the journal, what the state has no verdict on."""

    identity: Identity | None = None
    live: bool = False
    has_log: bool = False
    """The log's file is whole, as far as its head and length tell: only then is it safe to map."""
    state: Records = field(default_factory=Empty)
    has_state: bool = False
    index: int | None = None
    zone_ms: int | None = None
    journal: list[Operation] | None = None
    undecided: list[Operation] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def view(self) -> Records:
        """The state with the undecided on top, as the site itself shows it (rule 14)."""
        if not self.has_state or not self.journal:
            return self.state
        return WorkingView(self.state).records(self.journal)

    @property
    def agreed_up_to(self) -> int:
        """The index of the state; above all where it cannot tell, so that only what lies on top counts as tentative."""
        return BELOW_TENTATIVE if self.index is None else self.index


@contextmanager
def kept_store(data: Path) -> Iterator[Kept]:
    """What the store in the folder `data` still says. Raises StoreError where neither state nor journal can be read."""
    check_folder(data, writing=False)
    lock, live = lock_as_reader(data)
    with ExitStack() as open_files:
        if lock is not None:
            open_files.callback(lock.release)
        kept = Kept(live=live)
        log_problem = _read_log(data, kept, open_files)
        state_problem = _read_state(data, kept, open_files)
        if log_problem and state_problem:
            raise StoreError(f"{data}: nothing can be read: {state_problem}; {log_problem}")
        kept.undecided = undecided(kept.journal or (), kept.state)
        yield kept


def _read_log(data: Path, kept: Kept, open_files: ExitStack) -> str:
    """The journal into `kept`; what is wrong where it cannot be read."""
    try:
        identity = _look(data / LOG_NAME, live=kept.live)
        kept.has_log = True
        env = open_environment(
            data / LOG_NAME, LOG_NAME, _SIZES, version=identity.format_version, read_only=True, lock=kept.live
        )
        open_files.callback(env.close)
        kept.identity = identity
        kept.journal = _journal(LmdbJournal(env, _refuse), kept.troubles)
    except StoreError as problem:
        kept.troubles.append(Trouble("journal", str(problem)))
        return str(problem)
    return ""


def _journal(journal: LmdbJournal, troubles: list[Trouble]) -> list[Operation]:
    operations: list[Operation] = []
    position = 0
    while records := journal.read(position, READ_AT_ONCE):
        for record in records:
            position = record.position
            try:
                if record.damaged:
                    raise StoreDamaged(f"{record.incarnation.hex()}/{record.seq}", "checksum")
                operations.append(decode_operation(record.payload))
            except ReplicaError as problem:
                troubles.append(Trouble("journal-record", str(problem)))
    return operations


def _read_state(data: Path, kept: Kept, open_files: ExitStack) -> str:
    """The state in use into `kept`; what is wrong where none can be opened."""
    problems = []
    for name in _state_names(data, kept):
        try:
            identity = _look(data / name, live=kept.live)
            env = open_environment(
                data / name, STATE_NAME, _SIZES, version=identity.format_version, read_only=True, lock=kept.live
            )
            open_files.callback(env.close)
            state = LmdbState(env, _refuse, CHANGED_BYTES)
        except StoreError as problem:
            if kept.live and _state_names(data, kept) != [name]:  # a snapshot was installed while we looked
                return _read_state(data, kept, open_files)
            problems.append(str(problem))
            continue
        kept.identity, kept.state, kept.has_state = kept.identity or identity, state, True
        _measure(state, kept)
        return ""
    problem_text = "; ".join(problems) or f"{data / STATE_NAME}: is missing"
    kept.troubles.append(Trouble("state", problem_text))
    return problem_text


def _state_names(data: Path, kept: Kept) -> list[str]:
    """The state that the log names; where it cannot say any more, every one there is, the newest file first."""
    with suppress(StoreError):
        if kept.has_log:
            return [peek_state_name(data, live=kept.live)]
    found = [name for name in state_folders(data) if (data / name / DATA_NAME).is_file()]
    found.sort(key=lambda name: (data / name / DATA_NAME).stat().st_mtime, reverse=True)
    if len(found) > 1:
        kept.troubles.append(Trouble("state-guessed", found[0]))
    return found


def _measure(state: LmdbState, kept: Kept) -> None:
    try:
        kept.index = state.applied()[0]
    except StoreError:
        kept.troubles.append(Trouble("applied"))
    try:
        recorded = state.local_get(ZONE_MS)
        kept.zone_ms = int.from_bytes(recorded, "big") if recorded else None
    except StoreError as problem:
        kept.troubles.append(Trouble("clock", str(problem)))


def _look(environment: Path, *, live: bool) -> Identity:
    """What can be checked of one environment before it is mapped into memory."""
    check_data_file(environment, writing=False)
    check_whole(environment, writing=False, at_rest=not live)
    return peek_environment_identity(environment, live=live)


def _refuse(jobs: Sequence[Any]) -> NoReturn:
    raise AssertionError(f"{len(jobs)} jobs for a store that is only read")
