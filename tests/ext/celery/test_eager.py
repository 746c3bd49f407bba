"""Durable tasks without a worker: `task_always_eager`, `.apply()`, and called as functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery, Task

from resonate_amqp import Context, RemoteError, Resonate, UnknownFunction, UsageError
from resonate_amqp.ext.celery import DurableTask, durable, forget_eager

NOWHERE = "amqp://nobody.invalid"


class Shop:
    """An app whose tasks write down that they ran."""

    def __init__(self) -> None:
        broker = f"{NOWHERE}//"
        self.app = Celery("eager", broker=broker, backend="cache+memory://", set_as_current=False)
        self.app.conf.task_always_eager = True
        self.resonate = Resonate(NOWHERE, group="shop")
        self.ran: list[Any] = []

    def task(self, **options: Any) -> Any:
        """The decorator of a task that no other app gets."""
        return self.app.task(shared=False, **options)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def charging(shop: Shop) -> Any:
    @shop.task(name="charge")
    @durable(shop.resonate)
    def charge(order: str) -> str:
        shop.ran.append(order)
        return f"charged {order} in {threading.current_thread().name}"

    return charge


def test_a_plain_task_runs_once_per_task_id(shop: Shop) -> None:
    charge = charging(shop)
    first = charge.apply(("7",), task_id="one")
    assert first.get() == charge.apply(("7",), task_id="one").get()
    assert shop.ran == ["7"]


def test_whatever_a_workflow_may_yield_works_in_the_callers_thread(shop: Shop) -> None:
    charging(shop)

    @shop.task(name="plain", bind=True)
    def plain(self: Task, one: int) -> int:
        shop.ran.append(self.name)
        return one

    @shop.resonate.register
    def pack(ctx: Context, order: str) -> str:
        return f"packed {order}"

    @shop.task(bind=True)
    @durable(shop.resonate)
    def fulfil(self: Task, ctx: Context, order: str) -> Generator[Any, Any, list[Any]]:
        charged = yield ctx.rfc("charge", order).options(target="celery://payments")
        packed = yield ctx.rfi("pack", order).options(target="poll://any@warehouse")
        both = yield ctx.gather(
            ctx.rfi("plain", 1).options(target="celery://x"), ctx.lfi(lambda _ctx: 2)
        )
        yield ctx.sleep(0.001)
        ctx.detached("plain", 3).options(target="celery://x")
        shop.ran.append(threading.current_thread().name)
        return [charged, (yield packed), both, self.request.id]

    ended = fulfil.apply_async(("8",), task_id="whole").get()
    here = threading.current_thread().name
    assert ended == [f"charged 8 in {here}", "packed 8", [1, 2], "whole"]
    assert shop.ran[-1] == here
    assert shop.ran.count("8") == 1


def test_a_retry_is_no_outcome_and_the_last_failure_is(shop: Shop) -> None:
    @shop.task(bind=True, max_retries=2)
    @durable(shop.resonate)
    def flaky(self: Task, failures: int) -> int:
        shop.ran.append(self.request.retries)
        if self.request.retries < failures:
            raise self.retry(countdown=0, exc=KeyError("later"))
        return failures

    assert flaky.delay(2).get() == 2
    assert shop.ran == [0, 1, 2]
    with pytest.raises(KeyError, match="later"):
        flaky.delay(3).get()


def test_what_autoretry_gives_up_on_is_raised(shop: Shop) -> None:
    @shop.task(autoretry_for=(KeyError,), max_retries=1, default_retry_delay=0)
    @durable(shop.resonate)
    def restless() -> None:
        shop.ran.append("ran")
        raise KeyError("always")

    with pytest.raises(KeyError, match="always"):
        restless.delay().get()
    assert shop.ran == ["ran", "ran"]


def test_arguments_and_results_keep_the_types_that_kombu_carries(shop: Shop) -> None:
    @shop.task()
    @durable(shop.resonate)
    def double(price: Decimal) -> Decimal:
        return 2 * price

    assert double.delay(Decimal("1.10")).get() == Decimal("2.20")


def test_a_workflow_hands_on_the_types_that_kombu_carries_to_a_task_it_names(shop: Shop) -> None:
    @shop.task(name="double")
    @durable(shop.resonate)
    def double(price: Decimal) -> Decimal:
        return 2 * price

    @shop.task()
    @durable(shop.resonate)
    def fourfold(ctx: Context, price: Decimal) -> Generator[Any, Any, Decimal]:
        later = ctx.rfc(double, price)
        doubled = yield ctx.rfc(double, price)
        assert (yield later) == doubled
        again: Decimal = yield ctx.rfc(double, doubled)
        return again

    assert fourfold.delay(Decimal("1.10")).get() == Decimal("4.40")


def test_what_a_task_raises_that_is_no_exception_is_its_outcome(shop: Shop) -> None:
    @shop.task()
    @durable(shop.resonate)
    def cancelled() -> None:
        shop.ran.append("ran")
        raise asyncio.CancelledError("too late")

    for _ in range(2):
        with pytest.raises(RemoteError, match="CancelledError: too late"):
            cancelled.apply(task_id="once").get()
    assert shop.ran == ["ran"]


def test_a_base_class_makes_tasks_durable(shop: Shop) -> None:
    charging(shop)

    class Own(DurableTask):
        abstract = True
        resonate = shop.resonate

    @shop.task(base=Own, bind=True)
    def based(self: Task, ctx: Context, order: str) -> Generator[Any, Any, str]:
        charged = yield ctx.rfc("charge", order).options(target="celery://payments")
        return f"{self.name.rpartition('.')[2]}: {charged}"

    assert based.delay("9").get().startswith("based: charged 9")
    with pytest.raises(TypeError, match="order"):
        based.delay()


def test_a_function_of_another_process_is_asked_for_by_name(shop: Shop) -> None:
    @shop.task()
    @durable(shop.resonate)
    def lost(ctx: Context) -> Generator[Any, Any, Any]:
        return (yield ctx.rfc("pack").options(target="poll://any@warehouse"))

    with pytest.raises(UnknownFunction, match="calls 'pack' at poll://any@warehouse"):
        lost.delay().get()


def test_what_is_no_command_is_refused_in_the_task(shop: Shop) -> None:
    @shop.task()
    @durable(shop.resonate)
    def odd(ctx: Context) -> Generator[Any, Any, str]:
        try:
            yield 5
        except UsageError as error:
            return str(error)
        return "taken"

    assert "type int" in odd.delay().get()


def test_a_call_as_a_function_is_plain_or_refused(shop: Shop) -> None:
    charge = charging(shop)

    @shop.task()
    @durable(shop.resonate)
    def fulfil(ctx: Context, order: str) -> Generator[Any, Any, Any]:
        charge(order)
        return (yield ctx.rfc("charge", order).options(target="celery://payments"))

    assert charge("10").startswith("charged 10")
    with pytest.raises(UsageError, match=r"call it by \.delay"):
        fulfil("10")
    fulfil.delay("11").get()
    assert shop.ran == ["10", "11", "11"]


@pytest.mark.parametrize("embedded", [False, True])
def test_what_ran_eagerly_is_forgotten_at_the_end_of_a_test(shop: Shop, embedded: bool) -> None:
    """The rows of a test are rolled back, and the next one uses their ids."""
    if embedded:
        shop.resonate = Resonate(group="shop")

    @shop.task(name="place")
    @durable(shop.resonate, id=lambda number: f"order-{number}")
    def place(number: int) -> int:
        shop.ran.append(number)
        return number

    for _ in range(2):
        assert place.delay(7).get() == place.delay(7).get() == 7
        forget_eager(shop.app)
    forget_eager(shop.app)
    assert shop.ran == [7, 7]
    shop.resonate.stop()
