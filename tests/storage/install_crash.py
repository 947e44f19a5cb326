"""Kill a process at every step, or at every system call, of a snapshot's life, and find the old state or the new one.

    python -m tests.storage.install_crash                 # at each step (each chunk among them): the whole list
    python -m tests.storage.install_crash --syscalls 40   # at 40 system calls, spread over all that it makes

A child takes a snapshot of one store, transfers it to another, prepares and installs it there, and ends by SIGKILL in
the middle. Then both stores are opened: the receiver holds its old state and log or the new ones, each whole; the same
life, gone on with, ends with the new ones, and no folder is left over. With `--syscalls` the kernel sends the signal as
the n-th call begins (strace injects it), so the kill also comes between two calls of one step.

`--mix` has the child swap the state without the log, to show that a mixture is found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import Identity, Install, LmdbStore, Step, Store, open_store
from replica.storage.snapshot_contract import OnStep, no_step

ME = Identity("lifeline", "zone-a", "zone", "0" * 32)
YOU = Identity("lifeline", "zone-b", "zone", "1" * 32)
CHUNK_BYTES = 4096
UNLIMITED = 1 << 30
HARD = HardState(9, 2)
SYSCALLS = (
    "mkdir,rename,unlink,rmdir,unlinkat,openat,write,pwrite64,pwritev,fsync,fdatasync,ftruncate,fallocate,msync,close"
)


class Mixed(AssertionError):
    """Neither the old state and log nor the new ones."""


@dataclass
class Report:
    kills: int = 0
    ended_before_the_kill: int = 0
    found_old: int = 0
    found_new: int = 0


def records(index: int) -> dict[bytes, bytes]:
    return {b"case/%03d" % number: b"case %d at %d " % (number, index) * 40 for number in range(60)}


def make_stores(root: Path) -> None:
    """Two nodes of one cluster: one at 30, one at 10."""
    root.mkdir()
    for identity, index in ((ME, 30), (YOU, 10)):
        with open_store(root / identity.node_id, identity, create=True, chunk_bytes=CHUNK_BYTES) as store:
            kinds = {2: EntryKind.MEMBERSHIP}
            log = [Entry(at, 3, kinds.get(at, EntryKind.DATA), b"x") for at in range(1, index + 1)]
            store.log.save(HardState(3, 1), log, index)
            store.state.flush(records(index), (index, 3), {b"clock": identity.node_id.encode()})


def open_one(root: Path, identity: Identity, on_step: OnStep = no_step) -> LmdbStore:
    return open_store(root / identity.node_id, identity, create=False, chunk_bytes=CHUNK_BYTES, on_step=on_step)


def live(source: Store, target: Store, *, mix: bool = False) -> None:
    """Take, transfer, prepare, install: each as far as it is not done yet."""
    if target.state.applied() == (30, 3) and not mix:
        return
    manifest = (source.snapshots.held() or (source.snapshots.take(),))[0]
    receiving = target.snapshots.receive(manifest)
    for chunk in receiving.missing:
        receiving.write(chunk, source.snapshots.read(manifest.name, chunk))
    target.snapshots.prepare(manifest.name, {b"clock": b"mine"})
    if mix:
        target.state.replace_all(records(30), (30, 3))
    target.commit_log([Install(manifest.name, 30, 3, manifest.membership, HARD)])


def seen(store: Store) -> tuple[object, ...]:
    """Everything of a store that an install changes."""
    log, state = store.log, store.state
    first, last = log.first_index(), log.last_index()
    return (
        state.applied(), dict(state.scan(b"")), dict(state.local_scan(b"")), first, last, log.term(last),
        log.hard_state(), log.memberships(), log.entries(first, last, UNLIMITED) if first <= last else (),
    )  # fmt: skip


class KillAt:
    """Ends this process at the `number`-th step, counted from 1."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, _: Step) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def be_the_child(root: Path, number: int, *, mix: bool) -> NoReturn:
    hook = KillAt(number)
    live(open_one(root, ME, hook), open_one(root, YOU, hook), mix=mix)
    os._exit(0)


def kill_at_step(root: Path, number: int, *, mix: bool) -> bool:
    """Whether the child was killed before its end."""
    pid = os.fork()
    if pid == 0:
        try:
            be_the_child(root, number, mix=mix)
        finally:
            os._exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise Mixed(f"the child ended with {code} at step {number}")
    return code != 0


def kill_at_call(root: Path, call: tuple[str, int]) -> bool:
    """As above, as a system call begins: its name, and which one of that name."""
    name, number = call
    done = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "-e", f"inject={name}:signal=SIGKILL:when={number}", sys.executable,
         __file__, "--child", str(root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.stderr:
        raise Mixed(f"the child said {done.stderr} at {call}")
    return done.returncode != 0


def calls_of(root: Path, option: str) -> list[tuple[str, int]]:
    """Those of `SYSCALLS` that a child makes: each name, and how many of that name there were with it."""
    trace = root.with_suffix(".trace")
    command = ["strace", "-qq", "-o", str(trace), "-e", f"trace={SYSCALLS}", sys.executable, __file__]
    subprocess.run([*command, option, str(root)], check=True)
    counts: Counter[str] = Counter()
    calls = []
    for line in trace.read_text().splitlines():
        name = line.partition("(")[0]
        if name in SYSCALLS.split(","):
            counts[name] += 1
            calls.append((name, counts[name]))
    return calls


def spread(root: Path, how_many: int) -> list[tuple[str, int]]:
    """So many of the calls of a whole life, evenly, without those of the start and the opening."""
    begin = len(calls_of(root, "--only-open"))
    calls = calls_of(root, "--child")[begin:]
    return calls[:: max(1, len(calls) // how_many)]


def check(root: Path, old: tuple[object, ...], new: tuple[object, ...], report: Report) -> None:
    """Old or new, and after going on: new, and nothing left over."""
    with open_one(root, ME) as source, open_one(root, YOU) as target:
        found = seen(target)
        if found not in (old, new):
            raise Mixed(f"the state is as of {found[0]}, the log begins at {found[3]} under {found[6]}")
        report.found_old += found == old
        report.found_new += found == new
        live(source, target)
        if seen(target) != new:
            raise Mixed("gone on with, it did not end as the new one")
    names = sorted(each.name for each in (root / YOU.node_id).iterdir() if each.name.startswith("state"))
    if len(names) != 1 or names == ["state"]:
        raise Mixed(f"states left over: {names}")
    if list((root / YOU.node_id / "receiving").iterdir()):
        raise Mixed("received chunks left over")


def outcomes(root: Path) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What the receiver holds before and after."""
    make_stores(root)
    with open_one(root, ME) as source, open_one(root, YOU) as target:
        old = seen(target)
        live(source, target)
        return old, seen(target)


def run(root: Path, syscalls: int, *, mix: bool) -> Report:
    """Raises `Mixed` at the first kill that leaves something else."""
    report = Report()
    old, new = outcomes(root / "model")
    make_stores(root / "template")
    shutil.copytree(root / "template", root / "counting")
    calls = spread(root / "counting", syscalls) if syscalls else []
    for number in range(len(calls) if syscalls else 200):
        place = root / str(number)
        shutil.copytree(root / "template", place)
        killed = kill_at_call(place, calls[number]) if syscalls else kill_at_step(place, number + 1, mix=mix)
        report.kills += killed
        report.ended_before_the_kill += not killed
        check(place, old, new, report)
        shutil.rmtree(place)
        if not killed and not syscalls:
            break
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--syscalls", type=int, default=0, help="kill at so many system calls instead of at steps")
    parser.add_argument("--mix", action="store_true", help="swap the state without the log: must be found")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only-open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        be_the_child(options.child, 0, mix=False)
    if options.only_open:
        kept = [open_one(options.only_open, identity) for identity in (ME, YOU)]
        os._exit(len(kept) - 2)
    with tempfile.TemporaryDirectory() as root:
        try:
            report = run(Path(root), options.syscalls, mix=options.mix)
        except Mixed as problem:
            print(json.dumps({"ok": False, "problem": str(problem)}))
            return 1
    print(json.dumps({"ok": True, **asdict(report)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
