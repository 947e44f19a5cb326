"""What a thread answers is called in the loop: in its order, all of it, and harmlessly once the loop has ended."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from functools import partial

import trio
import trio.lowlevel
import trio.testing

from replica.runtime.waking import Answers


async def test_answers_come_in_their_order_and_in_the_loop() -> None:
    """However they fall together on the way."""
    answers, given, here = Answers(), [], threading.get_ident()
    all_there = trio.Event()

    def answer(number: int) -> None:
        assert threading.get_ident() == here, "called in a thread"
        given.append(number)
        if number == 999:
            all_there.set()

    def work() -> None:
        for number in range(1000):
            answers.call_soon(partial(answer, number))

    with trio.fail_after(10):
        await trio.to_thread.run_sync(work)
        await all_there.wait()
    assert given == list(range(1000))
    answers.close()


async def test_what_was_answered_before_the_end_is_given_at_the_end() -> None:
    answers = Answers()
    given: list[int] = []
    answers.call_soon(partial(given.append, 1))
    answers.close()
    assert given == [1]
    await trio.testing.wait_all_tasks_blocked()


async def test_an_answer_that_answers_waits_for_the_next_turn() -> None:
    """So that answers that follow from answers hold up nobody else."""
    answers = Answers()
    given: list[int] = []
    answers.call_soon(lambda: answers.call_soon(partial(given.append, 2)))
    with trio.fail_after(10):
        while not given:
            await trio.lowlevel.checkpoint()
    answers.close()


def test_once_the_loop_has_ended_nobody_is_answered_and_nothing_is_written() -> None:
    """A thread may outlive a node that was killed from inside, and the pipe's number may be another file's by then."""

    async def main() -> Answers:
        return Answers()

    answers = trio.run(main)
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        answers.call_soon(lambda: None)
        with suppress(BlockingIOError):
            assert not os.read(read, 1), "a byte went to another file"
    finally:
        os.close(read)
        os.close(write)
