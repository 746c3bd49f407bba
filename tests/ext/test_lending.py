"""A thread that lends itself: who is answered what, and what becomes of them when it leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from resonate_amqp.ext.lending import Job, Lent, LentExecutor, Withdrawn
from resonate_amqp.runtime.claims import Begun
from resonate_amqp.runtime.outcomes import Postponed


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def job(lent: Lent) -> Job:
    found = lent.next(timeout=10)
    assert isinstance(found, Job)
    return found


def test_the_lending_thread_does_what_another_asks_for(others: ThreadPoolExecutor) -> None:
    with Lent() as lent:
        asked = others.submit(lent.call, threading.current_thread)
        job(lent).run()
        assert asked.result(10) is threading.current_thread()


def test_what_is_raised_there_is_raised_where_it_was_asked_for(
    others: ThreadPoolExecutor,
) -> None:
    with Lent() as lent:
        asked = others.submit(lent.call, lambda: 1 // 0)
        job(lent).run()
        with pytest.raises(ZeroDivisionError):
            asked.result(10)


def test_the_end_of_an_iterator_is_an_error_and_not_a_return(others: ThreadPoolExecutor) -> None:
    async def body(lent: Lent) -> Any:
        return await lent.acall(lambda: next(iter(())))

    with Lent() as lent:
        asked = others.submit(asyncio.run, body(lent))
        job(lent).run()
        with pytest.raises(RuntimeError, match="StopIteration"):
            asked.result(10)


def test_what_is_told_is_heard_and_a_wait_may_end_without_anything() -> None:
    with Lent() as lent:
        lent.tell(Begun())
        assert lent.next() == Begun()
        assert lent.next(timeout=0.001) is None


def test_whoever_waits_ends_when_the_thread_leaves(others: ThreadPoolExecutor) -> None:
    async def body(lent: Lent) -> Any:
        return await lent.acall(lambda: None)

    with Lent() as lent:
        asked = [others.submit(lent.call, lambda: None), others.submit(asyncio.run, body(lent))]
    for one in asked:
        assert isinstance(one.exception(10), Withdrawn)


def test_a_word_to_exit_is_the_lending_thread_s_and_not_an_answer(
    others: ThreadPoolExecutor,
) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with Lent() as lent:
        asked = others.submit(lent.call, leave)
        with pytest.raises(SystemExit):
            job(lent).run()
        assert isinstance(asked.exception(10), Withdrawn)


def test_what_nobody_waits_for_any_more_is_not_done(others: ThreadPoolExecutor) -> None:
    done: list[int] = []

    async def impatient(lent: Lent) -> None:
        lent.acall(lambda: done.append(1)).cancel()

    with Lent() as lent:
        others.submit(asyncio.run, impatient(lent)).result(10)
        job(lent).run()
    assert done == []


def test_an_executor_runs_functions_there_and_one_that_is_left_has_no_outcome() -> None:
    done: list[tuple[Any, BaseException | None]] = []

    def tell(value: Any, error: BaseException | None) -> None:
        done.append((value, error))

    refused = KeyError("no")
    outcomes: list[tuple[Any, BaseException | None]] = [(7, None), (None, refused)]
    with Lent() as lent:
        executor = LentExecutor(lent, lambda work: work())
        for outcome in outcomes:
            executor.submit(partial(tuple, outcome), tell, is_async=False)
        executor.submit(lambda: done.append((8, None)), tell, is_async=False)
        for _ in outcomes:
            job(lent).run()
    executor.submit(lambda: done.append((9, None)), tell, is_async=False)
    assert done[:2] == outcomes
    assert [type(error) for _, error in done[2:]] == [Postponed, Postponed]
