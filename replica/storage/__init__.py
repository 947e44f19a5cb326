"""A node's durable memory: the log environment and the state environment, on LMDB or in memory.

    store = open_store(path, identity, create=True)
    writer = Writer("log", store.commit_log)
    writer.submit(LogSave(hard_state, entries, commit), done)     # done(None) is called once it is durable

`contract.py` is what to read first: what is promised, and the jobs. Nothing else in this library imports lmdb.
"""

from replica.storage.contract import (
    Incarnation,
    JournalAppend,
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
from replica.storage.store import LmdbStore, open_store, peek_identity
from replica.storage.writer import JobQueue, JobWriter, Writer

__all__ = [
    "FORMAT_VERSION",
    "Identity",
    "Incarnation",
    "JobQueue",
    "JobWriter",
    "JournalAppend",
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
    "MemoryStore",
    "StateFlush",
    "StateJob",
    "StateReplaceAll",
    "StateStore",
    "Store",
    "Writer",
    "open_store",
    "peek_identity",
]
