"""Kill a writing process at random moments, many times, and find everything that it had acknowledged, byte for byte.

    python -m tests.storage.crash --times 300

A child process opens the store, writes through two writers with several jobs in flight, and tells through a pipe what
it hands in and what it was told is durable. It is killed with SIGKILL in the middle. Then the store must hold exactly
what the acknowledged jobs give, or these and the next few that were handed in and not yet answered, in their order:
nothing less, nothing else, nothing half. The same jobs on the memory store say what "exactly" is. The next child goes
on from there. Every fifth kill is of a child that has just begun to make a store of its own.

SIGKILL is the end of a process, not of the machine: what fsync is for is shown elsewhere (tests of the memory store's
power cut). `--lie` makes the child acknowledge before the commit, to show that this finds it; `--half` makes an install
leave the membership out, to show that half an install is found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from replica.errors import ReplicaError
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import (
    Identity,
    Install,
    JournalAppend,
    JournalForget,
    JournalReplace,
    JournalTrim,
    LmdbStore,
    LogCompact,
    LogJob,
    LogReset,
    LogSave,
    MemoryStore,
    StateFlush,
    StateJob,
    StateReplaceAll,
    Store,
    Writer,
    open_store,
)
from replica.storage import store as store_module
from replica.storage.log import LmdbLog, LogEnds

ME = Identity("lifeline", "fr.health.samu440", "site", "0" * 32)
IN_FLIGHT = 8
UNLIMITED = 1 << 30


# --- jobs as words: child and parent make the same bytes of the same words ---


def content(*name: object) -> bytes:
    """Up to a few pages of bytes that only this name has."""
    dice = random.Random(repr(name))
    return dice.randbytes(dice.choice([0, 1, 40, 300, 300, 5000]))


def log_job(words: Sequence[str]) -> LogJob:
    kind, numbers = words[0], [int(word) for word in words[1:]]
    match kind, numbers:
        case "save", [first, last, term, vote]:
            new = [Entry(index, term, EntryKind.DATA, content(index, term)) for index in range(first, last + 1)]
            return LogSave(HardState(term, vote), new, first - 1)
        case "compact", [through]:
            return LogCompact(through)
        case "append", [life, first, last]:
            return JournalAppend([(name_of(life), seq, content(life, seq)) for seq in range(first, last + 1)])
        case "replace", [life, seq, turn]:
            return JournalReplace(name_of(life), seq, content(life, seq, turn))
        case "trim", [life, seq]:
            return JournalTrim([(name_of(life), seq)], at_ms=seq if seq % 3 else None)
        case "forget", [before_ms]:
            return JournalForget(before_ms, 1 << 20)
        case "install", [turn, term]:  # what it does to the log
            return LogReset(turn, term, (turn, content("membership", turn)))
    raise AssertionError(f"no such job: {words}")


def state_job(words: Sequence[str]) -> StateJob:
    kind, turn, term = words[0], int(words[1]), int(words[2])
    dice = random.Random(turn)
    keys = [b"key/%d" % dice.randrange(40) for _ in range(dice.randrange(1, 30))]
    records = {key: content(key, turn) for key in keys}
    local: dict[bytes, bytes | None] = {b"turn": b"%d" % turn}
    if kind == "replace-all":
        return StateReplaceAll(records, (turn, term), local)
    return StateFlush({key: None if dice.random() < 0.3 else records[key] for key in keys}, (turn, term), local)


def name_of(life: int) -> bytes:
    return life.to_bytes(16, "big")


# --- the child ---


class Child:
    """Writes for ever. Says `log|state submit WORDS` before it hands a job in, and `log|state durable` after."""

    def __init__(self, store: LmdbStore, pipe: int, life: int, *, lie: bool) -> None:
        self.store = store
        self.pipe = pipe
        self.life = life
        self.lie = lie
        self.dice = random.Random(life)
        self.room = threading.Semaphore(IN_FLIGHT)
        self.log: Writer[LogJob] = Writer("log", store.commit_log)
        self.state: Writer[StateJob] = Writer("state", store.commit_state)
        self.last = store.log.last_index()
        self.seq = -1
        self.trimmed = -1
        self.term = life * 1000
        self.turn = store.state.applied()[0]

    def say(self, *words: object) -> None:
        os.write(self.pipe, (" ".join(map(str, words)) + "\n").encode())

    def say_both(self, *words: str) -> None:
        """In one write: no kill comes between the two."""
        text = " ".join(words)
        os.write(self.pipe, f"log {text}\nstate {text}\n".encode())

    def run(self) -> NoReturn:
        steps = [self.save] * 12 + [self.append] * 8 + [self.flush] * 6
        steps += [self.compact, self.replace, self.trim] * 2 + [self.forget]
        steps.append(self.install)
        self.append()
        while True:
            self.dice.choice(steps)()

    def hand_in_log(self, *words: object) -> None:
        texts = [str(word) for word in words]
        job = self.store.log.compaction(int(texts[1])) if texts[0] == "compact" else log_job(texts)
        self.room.acquire()
        self.say("log", "submit", *words)
        if self.lie:
            self.say("log", "durable")
        self.log.submit(job, lambda error: self.done("log", error))

    def done(self, environment: str, error: ReplicaError | None) -> None:
        if error is not None:
            self.say(environment, "error", repr(error))
        elif not self.lie:
            self.say(environment, "durable")
        self.room.release()

    def save(self) -> None:
        """Append some entries, now and then in place of the newest ones."""
        floor = self.store.log.first_index() - 1
        first = self.last + 1
        if self.dice.random() < 0.2:
            self.term += 1
            first = max(floor + 1, first - self.dice.randrange(4))
        self.last = first + self.dice.randrange(8)
        self.hand_in_log("save", first, self.last, self.term, self.dice.randrange(4))

    def compact(self) -> None:
        durable = self.store.log.last_index()
        if durable - 10 > self.store.log.first_index() and self.last - 10 >= durable - 10:
            self.hand_in_log("compact", durable - 10)

    def append(self) -> None:
        first = self.seq + 1
        self.seq += self.dice.randrange(1, 5)
        self.hand_in_log("append", self.life, first, self.seq)

    def replace(self) -> None:
        if self.trimmed < self.seq:
            seq = self.dice.randrange(self.trimmed + 1, self.seq + 1)
            self.hand_in_log("replace", self.life, seq, self.dice.randrange(1000))

    def trim(self) -> None:
        self.trimmed = max(self.trimmed, self.seq - self.dice.randrange(10))
        if self.trimmed >= 0:
            self.hand_in_log("trim", self.life, self.trimmed)

    def forget(self) -> None:
        if self.trimmed >= 0:
            self.hand_in_log("forget", self.trimmed - self.dice.randrange(10))

    def flush(self) -> None:
        self.turn += 1
        words = ("replace-all" if self.dice.random() < 0.1 else "flush", str(self.turn), str(self.term))
        self.room.acquire()
        self.say("state", "submit", *words)
        if self.lie:
            self.say("state", "durable")
        self.state.submit(state_job(words), lambda error: self.done("state", error))

    def install(self) -> None:
        """Another state in one step, with nothing else under way, as its contract asks: said for both environments."""
        for _ in range(IN_FLIGHT):
            self.room.acquire()
        self.turn = self.last = max(self.turn, self.last) + 1
        words = ("install", str(self.turn), str(self.term))
        change = state_job(words)
        assert isinstance(change, StateFlush), "an install is prepared from changes"
        local = {key: value for key, value in change.local.items() if value is not None}
        name = f"{self.life}-{self.turn}"
        self.store.snapshots.prepare_changed(name, change.changes, change.applied, local)
        self.say_both("submit", *words)
        job = log_job(words)
        assert isinstance(job, LogReset), "an install resets the log"
        installed = threading.Event()
        self.log.submit(Install(name, job.index, job.term, job.membership), lambda _: installed.set())
        installed.wait()
        self.say_both("durable")
        self.room.release(IN_FLIGHT)


class HalfLog(LmdbLog):
    """A log that leaves the membership out of an install."""

    def _reset(self, txn: Any, index: int, term: int, membership: Any, ends: LogEnds) -> LogEnds:
        return super()._reset(txn, index, term, None, ends)


def be_the_child(folder: Path, pipe: int, life: int, *, lie: bool, half: bool) -> NoReturn:
    try:
        if half:
            vars(store_module)["LmdbLog"] = HalfLog
        Child(open_store(folder, ME, create=True), pipe, life, lie=lie).run()
    except BaseException as problem:
        os.write(pipe, f"child error {problem!r}\n".encode())
        os._exit(1)


# --- the parent ---


@dataclass
class Report:
    kills: int = 0
    jobs_acknowledged: int = 0
    installs: int = 0
    jobs_survived_unacknowledged: int = 0
    jobs_gone_unacknowledged: int = 0
    stores_cut_in_the_making: int = 0
    seconds: float = 0.0


class Lost(AssertionError):
    """The store does not hold what was acknowledged."""


def kill_one(
    folder: Path, life: int, dice: random.Random, *, lie: bool, half: bool, acknowledgements: int
) -> list[str]:
    """Start a child, kill it after so many acknowledgements and a little more. What it said, line by line."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        be_the_child(folder, writing, life, lie=lie, half=half)
    os.close(writing)
    said = b""
    while said.count(b" durable\n") < acknowledgements:
        chunk = os.read(reading, 1 << 16)
        if not chunk:
            break
        said += chunk
    end = time.perf_counter() + dice.random() * 0.003
    while time.perf_counter() < end:
        pass
    os.kill(pid, signal.SIGKILL)
    while chunk := os.read(reading, 1 << 16):
        said += chunk
    os.close(reading)
    os.waitpid(pid, 0)
    lines = said.decode().split("\n")[:-1]  # what follows the last newline was never said whole
    for line in lines:
        if " error " in line:
            raise Lost(f"the child of life {life} met an error: {line}")
    return lines


def log_contents(store: Store) -> object:
    log, journal = store.log, store.journal
    first, last = log.first_index(), log.last_index()
    return (
        log.hard_state(), log.commit_hint(), first, log.term(first - 1),
        log.entries(first, last, UNLIMITED) if first <= last else (),
        log.memberships(), log.payload_bytes,
        journal.read(0, UNLIMITED), journal.incarnations(), journal.length, journal.payload_bytes,
        journal.read_past(0, UNLIMITED), journal.past_length, journal.past_bytes,
    )  # fmt: skip


def state_contents(store: Store) -> object:
    state = store.state
    return state.applied(), list(state.scan(b"")), list(state.local_scan(b""))


def compare(found: LmdbStore, model: MemoryStore, lines: Sequence[str], report: Report) -> None:
    """Bring the model up to what was acknowledged, and on through what was not, until it equals what was found."""
    survivors: list[Sequence[str]] = []
    for environment, contents in (("log", log_contents), ("state", state_contents)):
        said = [line.split()[1:] for line in lines if line.startswith(environment)]
        submitted = [words[1:] for words in said if words[0] == "submit"]
        acknowledged = sum(words[0] == "durable" for words in said)
        for words in submitted[:acknowledged]:
            commit(model, environment, words)
            report.installs += environment == "state" and words[0] == "install"
        report.jobs_acknowledged += acknowledged
        pending = submitted[acknowledged:]
        truth = contents(found)
        while contents(model) != truth:
            if not pending:
                raise Lost(f"the {environment} differs from every outcome of its {acknowledged} acknowledged jobs")
            survivors.append(pending.pop(0))
            commit(model, environment, survivors[-1])
        report.jobs_gone_unacknowledged += len(pending)
    report.jobs_survived_unacknowledged += len(survivors)
    if sum(words[0] == "install" for words in survivors) == 1:
        raise Lost("the log and the state differ about an install")


def commit(model: MemoryStore, environment: str, words: Sequence[str]) -> None:
    if environment == "log":
        model.commit_log([log_job(words)])
    else:
        model.commit_state([state_job(words)])


def cut_in_the_making(folder: Path, dice: random.Random) -> None:
    """Kill a child that makes a store; whatever is left, the next opening makes it whole."""
    kill_one(folder, 1, dice, lie=False, half=False, acknowledgements=0)
    with open_store(folder, ME, create=True) as store:
        store.log.save(HardState(9_999_999, 1), [])
    with open_store(folder, ME, create=False, read_only=True) as store:
        if store.log.hard_state() != HardState(9_999_999, 1):
            raise Lost(f"{folder}: does not hold what was saved after a crash in its making")


def torture(root: Path, times: int, seed: int, *, lie: bool = False, half: bool = False) -> Report:
    """Kill `times` children. Raises `Lost` at the first store that lacks something acknowledged."""
    dice = random.Random(seed)
    model = MemoryStore(ME)
    report = Report()
    begun = time.perf_counter()
    for turn in range(1, times + 1):
        report.kills += 1
        if turn % 5 == 0:
            report.stores_cut_in_the_making += 1
            cut_in_the_making(root / f"new {turn}", dice)
            continue
        life, acknowledgements = seed * 10_000 + turn, dice.randrange(120)
        lines = kill_one(root / "store", life, dice, lie=lie, half=half, acknowledgements=acknowledgements)
        with open_store(root / "store", ME, create=turn == 1 or dice.random() < 0.5) as found:
            compare(found, model, lines, report)
            leftovers = sorted(each.name for each in (root / "store").iterdir() if each.name.startswith("state"))
            if len(leftovers) != 1:
                raise Lost(f"states left over: {leftovers}")
        if dice.random() < 0.3:
            with open_store(root / "store", ME, create=False, read_only=True) as found:
                compare(found, model, [], report)
    report.seconds = round(time.perf_counter() - begun, 1)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=300, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lie", action="store_true", help="acknowledge before the commit: must be found")
    parser.add_argument("--half", action="store_true", help="leave the membership out of an install: must be found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        try:
            report = torture(Path(root), options.times, options.seed, lie=options.lie, half=options.half)
        except Lost as problem:
            print(json.dumps({"ok": False, "problem": str(problem), "seed": options.seed}))
            return 1
    print(json.dumps({"ok": True, **asdict(report)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
