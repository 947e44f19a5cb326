"""One question for all who ask in one turn; what it costs when the one who asks is gone."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from replica.errors import NotAvailable
from replica.runtime.together import Together

LONG_S = float("inf")


class Quorum:
    """Answers question n with n, once it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = trio.Event()
        self.fails = False

    async def confirm(self) -> int:
        self.asked += 1
        mine = self.asked
        await self.let.wait()
        if self.fails:
            raise NotAvailable("no quorum")
        return mine


async def test_all_who_ask_in_one_turn_share_one_question() -> None:
    quorum, answers = Quorum(), list[int | None]()
    quorum.let.set()
    together = Together(quorum.confirm)

    async def one() -> None:
        answers.append(await together.until(LONG_S))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(one)
    assert (quorum.asked, answers) == (1, [1] * 50)


async def test_who_comes_after_the_question_has_left_asks_anew() -> None:
    """Else a read could be answered from before it was asked."""
    quorum, answers = Quorum(), list[int | None]()
    together = Together(quorum.confirm)

    async def one() -> None:
        answers.append(await together.until(LONG_S))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        assert quorum.asked == 1
        nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        quorum.let.set()
    assert set(answers) == {1, 2}


async def test_where_the_one_who_asked_is_cancelled_the_others_ask_again() -> None:
    """One caller's short budget is no other's."""
    quorum, answers = Quorum(), list[int | None]()
    together = Together(quorum.confirm)

    async def patient() -> None:
        answers.append(await together.until(LONG_S))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as hasty:
            async with trio.open_nursery() as first:
                first.start_soon(together.until, LONG_S)
                first.start_soon(patient_in, nursery, patient)
                await trio.testing.wait_all_tasks_blocked()
                hasty.cancel()
        await trio.testing.wait_all_tasks_blocked()
        quorum.let.set()
    assert (quorum.asked, answers) == (2, [2])


async def patient_in(nursery: trio.Nursery, patient: object) -> None:
    nursery.start_soon(patient)  # type: ignore[arg-type]  # an async function, told as an object


async def test_a_question_that_fails_fails_for_all_who_share_it() -> None:
    quorum = Quorum()
    quorum.fails = True
    quorum.let.set()
    together, failed = Together(quorum.confirm), []

    async def one() -> None:
        with pytest.raises(NotAvailable, match="no quorum"):
            await together.until(LONG_S)
        failed.append(1)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one)
    assert (quorum.asked, len(failed)) == (1, 3)


async def test_who_has_less_patience_leaves_alone_and_the_others_get_their_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    quorum, answers = Quorum(), list[int | None]()
    together = Together(quorum.confirm)

    async def one(budget_s: float) -> None:
        answers.append(await together.until(trio.current_time() + budget_s))

    async with trio.open_nursery() as nursery:
        for budget_s in (9, 1, 9):
            nursery.start_soon(one, budget_s)
        await trio.sleep(2)
        assert answers == [None]
        quorum.let.set()
    # Where the hasty one happened to be the first, the others asked again.
    assert answers == [None, quorum.asked, quorum.asked]
    assert quorum.asked <= 2


async def test_who_has_more_patience_than_the_one_who_asked_asks_again(autojump_clock: trio.testing.MockClock) -> None:
    quorum, answers = Quorum(), dict[float, int | None]()
    together = Together(quorum.confirm)

    async def one(budget_s: float) -> None:
        answers[budget_s] = await together.until(trio.current_time() + budget_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 1)
        nursery.start_soon(one, 3)
        await trio.sleep(2)
        assert answers in ({1: None}, {})  # whichever of them was the first to ask
        quorum.let.set()
    assert answers == {1: None, 3: quorum.asked}


async def test_all_of_one_budget_give_up_at_once(autojump_clock: trio.testing.MockClock) -> None:
    quorum, answers = Quorum(), list[int | None]()
    together = Together(quorum.confirm)

    async def one() -> None:
        answers.append(await together.until(trio.current_time() + 1))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one)
    assert (quorum.asked, answers, trio.current_time()) == (1, [None] * 20, 1)


async def test_who_shares_a_question_can_be_cancelled() -> None:
    quorum, answers = Quorum(), list[int | None]()
    together = Together(quorum.confirm)

    async def one() -> None:
        answers.append(await together.until(LONG_S))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        with trio.CancelScope() as gone:
            async with trio.open_nursery() as others:
                others.start_soon(one)
                others.start_soon(one)
                await trio.testing.wait_all_tasks_blocked()
                gone.cancel()
        quorum.let.set()
    assert (answers, gone.cancelled_caught) == ([quorum.asked], True)
    assert quorum.asked <= 2
