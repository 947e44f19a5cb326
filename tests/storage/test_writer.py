"""The writer: one transaction for what waits, answers in order, and no job acknowledged that rests on a failed one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from replica.errors import Closed, ReplicaError, StorageFailed, StorageFull, StoreDamaged
from replica.raft.types import HardState
from replica.storage import JobQueue, JournalAppend, LmdbStore, LogJob, LogSave, Writer, open_store

from .battery import LIFE_1, ME, UNLIMITED, entries


class SlowDisk:
    """A commit function that stops at a gate, does as it is told, and remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.errors: dict[str, Exception] = {}
        self.unfinished: dict[str, int] = {}
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.gate.set()

    def commit(self, jobs: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(jobs))
        self.threads.add(threading.get_ident())
        self.entered.release()
        assert self.gate.wait(30), "the gate was never opened"
        for job in jobs:
            if job in self.errors:
                raise self.errors.pop(job)
        left = [job for job in jobs if self.unfinished.get(job, 0) > 0]
        for job in left:
            self.unfinished[job] -= 1
        return left


class Answers:
    """Who was called back, in which order, with what."""

    def __init__(self) -> None:
        self.given: list[tuple[str, ReplicaError | None]] = []
        self.threads: set[int] = set()

    def for_(self, job: str) -> Callable[[ReplicaError | None], None]:
        def done(error: ReplicaError | None) -> None:
            self.threads.add(threading.get_ident())
            self.given.append((job, error))

        return done

    @property
    def kinds(self) -> list[tuple[str, type | None]]:
        return [(job, None if error is None else type(error)) for job, error in self.given]


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def queue(disk: SlowDisk) -> JobQueue[str]:
    return JobQueue("test", disk.commit)


def submit(queue: JobQueue[str], answers: Answers, *jobs: str) -> None:
    for job in jobs:
        queue.submit(job, answers.for_(job))


# --- the rules, without a thread ---


def test_everything_that_waits_is_one_commit(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """And is answered in the order of submission."""
    submit(queue, answers, "a", "b", "c")
    assert (queue.pending, queue.busy) == (3, True)
    assert queue.step() == 3
    assert disk.batches == [["a", "b", "c"]]
    assert answers.kinds == [("a", None), ("b", None), ("c", None)]
    assert (queue.pending, queue.busy, queue.commits) == (0, False, 1)


def test_an_unfinished_job_goes_behind_the_others(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """A long compaction lets the saves pass that came meanwhile, and is answered once, at its end."""
    disk.unfinished["compact"] = 2
    submit(queue, answers, "compact", "save")
    assert queue.step() == 2
    assert disk.batches == [["compact", "save"], ["compact"], ["compact"]]
    assert answers.kinds == [("save", None), ("compact", None)]


def test_a_full_disk_answers_everything_until_resumed(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """Job c was submitted before anybody knew that b failed; it may rest on b, so it is not tried."""
    disk.errors["b"] = StorageFull("full")
    submit(queue, answers, "a", "b")
    queue.step()
    submit(queue, answers, "c")
    queue.resume()
    submit(queue, answers, "d")
    queue.step()
    assert disk.batches == [["a", "b"], ["d"]]
    assert answers.kinds == [("a", StorageFull), ("b", StorageFull), ("c", StorageFull), ("d", None)]
    assert queue.failure is None


def test_a_disk_that_is_still_full_says_so_again(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """Resuming is an attempt, not a promise."""
    disk.errors |= {"a": StorageFull("full"), "b": StorageFull("still full")}
    submit(queue, answers, "a")
    queue.step()
    queue.resume()
    submit(queue, answers, "b", "c")
    queue.step()
    queue.resume()
    submit(queue, answers, "d")
    queue.step()
    assert [str(error) for _, error in answers.given] == ["full", "still full", "still full", "None"]


def test_resuming_a_sound_queue_changes_nothing(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """Jobs on both sides of the mark are committed."""
    submit(queue, answers, "a")
    queue.resume()
    submit(queue, answers, "b")
    assert queue.step() == 2
    assert [kind for _, kind in answers.kinds] == [None, None]


def test_a_failed_disk_ends_everything(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """There is no resuming after a failed fsync."""
    disk.errors["a"] = StorageFailed("fsync")
    submit(queue, answers, "a", "b")
    queue.step()
    queue.resume()
    submit(queue, answers, "c")
    queue.step()
    assert disk.batches == [["a", "b"]]
    assert [kind for _, kind in answers.kinds] == [StorageFailed] * 3
    assert isinstance(queue.failure, StorageFailed)


def test_damage_goes_out_by_its_name_and_ends_everything(
    queue: JobQueue[str], disk: SlowDisk, answers: Answers
) -> None:
    """The batch that met it hears which record; later jobs hear that this writer has stopped, and why."""
    disk.errors["a"] = StoreDamaged("log entry (3, 1)", "its checksum does not match its bytes")
    submit(queue, answers, "a")
    queue.step()
    submit(queue, answers, "b")
    queue.step()
    assert [kind for _, kind in answers.kinds] == [StoreDamaged, StorageFailed]
    assert "log entry (3, 1)" in str(answers.given[1][1])


def test_a_bug_ends_everything_with_its_cause(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """A writer that went on after an unknown error would acknowledge the unknown."""
    bug = AssertionError("entries from 4 on do not join")
    disk.errors["a"] = bug
    submit(queue, answers, "a")
    queue.step()
    error = answers.given[0][1]
    assert isinstance(error, StorageFailed)
    assert error.__cause__ is bug
    assert "do not join" in str(error)


def test_a_callback_that_raises_ends_everything(queue: JobQueue[str], disk: SlowDisk, answers: Answers) -> None:
    """Its job is durable and nobody knows: the node must not go on as if it did. The others are still answered."""

    def broken(_: ReplicaError | None) -> None:
        raise RuntimeError("the loop is gone")

    queue.submit("a", broken)
    submit(queue, answers, "b")
    queue.step()
    submit(queue, answers, "c")
    queue.step()
    assert answers.kinds == [("b", None), ("c", StorageFailed)]
    assert "the loop is gone" in str(queue.failure)
    assert queue.pending == 0


# --- with a thread ---


@pytest.fixture
def writer(disk: SlowDisk) -> Iterator[Writer[str]]:
    writer = Writer("test", disk.commit)
    yield writer
    disk.gate.set()
    assert writer.close(30)


def test_jobs_gather_while_the_disk_works(writer: Writer[str], disk: SlowDisk, answers: Answers) -> None:
    """The first goes alone; what came during its commit goes together. All in one thread, which is not ours."""
    disk.gate.clear()
    submit(writer, answers, "a")
    assert disk.entered.acquire(timeout=30)
    submit(writer, answers, "b", "c", "d")
    assert (writer.pending, writer.busy) == (4, True)
    assert writer.stalled_for_s() > 0
    disk.gate.set()
    assert writer.close(30)
    assert disk.batches == [["a"], ["b", "c", "d"]]
    assert answers.kinds == [(job, None) for job in "abcd"]
    assert (writer.pending, writer.stalled_for_s()) == (0, 0.0)
    assert disk.threads == answers.threads
    assert disk.threads.isdisjoint({threading.get_ident()})
    assert len(disk.threads) == 1


def test_closing_finishes_what_was_submitted(writer: Writer[str], disk: SlowDisk, answers: Answers) -> None:
    """Unfinished jobs too; and takes nothing more."""
    disk.unfinished["a"] = 5
    submit(writer, answers, "a", "b")
    assert writer.close(30)
    assert sorted(answers.kinds) == [("a", None), ("b", None)]
    with pytest.raises(Closed, match="test writer: is closed"):
        submit(writer, answers, "c")
    assert writer.close(30)


def test_closing_does_not_wait_for_a_hanging_disk_for_ever(
    writer: Writer[str], disk: SlowDisk, answers: Answers
) -> None:
    """It says so, and the jobs have no answer: they may or may not be durable."""
    disk.gate.clear()
    submit(writer, answers, "a")
    assert disk.entered.acquire(timeout=30)
    assert writer.close(0.01) is False
    assert answers.given == []


def test_a_full_disk_stops_the_thread_from_nothing(writer: Writer[str], disk: SlowDisk, answers: Answers) -> None:
    """After the answer and `resume`, the same thread goes on."""
    heard = threading.Semaphore(0)

    def done(error: ReplicaError | None) -> None:
        answers.given.append(("a", error))
        heard.release()

    disk.errors["a"] = StorageFull("full")
    writer.submit("a", done)
    assert heard.acquire(timeout=30)
    writer.resume()
    writer.submit("a", done)
    assert heard.acquire(timeout=30)
    assert answers.kinds == [("a", StorageFull), ("a", None)]


# --- with a store ---


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with open_store(tmp_path / "store", ME, create=True) as store:
        yield store


def test_log_and_journal_share_a_commit(store: LmdbStore, tmp_path: Path) -> None:
    """A thousand saves and records through one writer: all there, in far fewer commits, and readable when answered."""
    wrong: list[object] = []
    writer: Writer[LogJob] = Writer("log", store.commit_log)
    for number in range(1, 501):

        def saved(error: ReplicaError | None, index: int = number) -> None:
            if error is not None or store.log.last_index() < index or store.log.term(index) != 1:
                wrong.append((index, error))

        def journalled(error: ReplicaError | None, seq: int = number - 1) -> None:
            last = store.journal.last_seq(LIFE_1)
            if error is not None or last is None or last < seq:
                wrong.append((seq, error))

        writer.submit(LogSave(HardState(1, 1), entries(number, number), number - 1), saved)
        writer.submit(JournalAppend([(LIFE_1, number - 1, b"x")]), journalled)
        if number == 250:
            writer.submit(store.log.compaction(min(store.log.last_index(), 10)), lambda _: None)
    assert writer.close(30)
    assert wrong == []
    assert writer.commits < 1000
    store.close()
    with open_store(tmp_path / "store", ME, create=False) as found:
        assert found.log.entries(found.log.first_index(), 500, UNLIMITED)[-1] == entries(500, 500)[0]
        assert found.journal.length == 500


def test_a_long_compaction_lets_saves_pass(store: LmdbStore) -> None:
    """Five transactions for 5,000 entries; the save that came with it is answered after the first."""
    store.log.save(None, entries(1, 5000))
    order: list[str] = []
    queue: JobQueue[LogJob] = JobQueue("log", store.commit_log)
    queue.submit(store.log.compaction(5000), lambda error: order.append(f"compacted {error}"))
    queue.submit(LogSave(None, entries(5001, 5001)), lambda error: order.append(f"saved {error}"))
    queue.step()
    assert order == ["saved None", "compacted None"]
    assert queue.commits == 5
    assert (store.log.first_index(), store.log.last_index()) == (5001, 5001)
