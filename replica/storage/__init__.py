"""A node's durable memory: the log environment and the state environment, on LMDB or in memory.

    store = open_store(path, identity, create=True)
    writer = Writer("log", store.commit_log)
    writer.submit(LogSave(hard_state, entries, commit), done)     # done(None) is called once it is durable

`contract.py` is what to read first: what is promised, and the jobs; then `snapshot_contract.py`: how a state gets from
one node to another. Nothing else in this library imports lmdb.
"""

from replica.storage.aside import set_aside
from replica.storage.contract import (
    Incarnation,
    Install,
    JournalAppend,
    JournalForget,
    JournalRecord,
    JournalReplace,
    JournalStore,
    JournalTrim,
    LogCompact,
    LogJob,
    LogReset,
    LogSave,
    LogStore,
    StateFlush,
    StateJob,
    StateReplaceAll,
    StateStore,
    Store,
)
from replica.storage.identity import FORMAT_VERSION, Identity
from replica.storage.memory import MemoryStore
from replica.storage.snapshot_contract import (
    CHUNK_BYTES,
    NO_MEMBERSHIP,
    Manifest,
    Receiving,
    SnapshotStore,
    Step,
    hash_chunk,
)
from replica.storage.store import LmdbStore, open_store, peek_identity
from replica.storage.writer import JobQueue, JobWriter, Writer

__all__ = [
    "CHUNK_BYTES",
    "FORMAT_VERSION",
    "NO_MEMBERSHIP",
    "Identity",
    "Incarnation",
    "Install",
    "JobQueue",
    "JobWriter",
    "JournalAppend",
    "JournalForget",
    "JournalRecord",
    "JournalReplace",
    "JournalStore",
    "JournalTrim",
    "LmdbStore",
    "LogCompact",
    "LogJob",
    "LogReset",
    "LogSave",
    "LogStore",
    "Manifest",
    "MemoryStore",
    "Receiving",
    "SnapshotStore",
    "StateFlush",
    "StateJob",
    "StateReplaceAll",
    "StateStore",
    "Step",
    "Store",
    "Writer",
    "hash_chunk",
    "open_store",
    "peek_identity",
    "set_aside",
]
