"""Celery tasks that know nothing of us, called durably: a stock worker in a process of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Canceled, Context, RemoteError, TimedOut
from tests.scenarios.callees import WAIT_S, Shop
from tests.scenarios.system import Process, System, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

CELERY = "celery://payments"


class Stock:
    """The shop's worker, and what its tasks noted."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self._shop = shop
        self._path = folder / "stock.txt"

    def work(self, *options: str) -> Process:
        """Start a worker, and wait until it takes tasks."""
        worker = ("worker", "--loglevel=info", "--queues=payments", "--concurrency=1")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        app = ("-A", "tests.scenarios.stock", *options)
        started = self._shop.system.program("celery", *app, *worker, *quiet)
        self._shop.wait_for_taker("payments")
        return started

    def noted(self) -> Counter[str]:
        """How often each thing was done."""
        if not self._path.exists():
            return Counter()
        return Counter(self._path.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def shop(system: System) -> Iterator[Shop]:
    with Shop(system) as made:
        yield made


@pytest.fixture
def stock(shop: Shop, tmp_path: Path) -> Stock:
    return Stock(shop, tmp_path)


def test_a_workflow_calls_celery_tasks_that_know_nothing_of_it(shop: Shop, stock: Stock) -> None:
    @shop.resonate.register
    def fulfil(ctx: Context, order: dict[str, Any]) -> Generator[Any, Any, Any]:
        paid = yield ctx.rfc("shop.tasks.charge", order, currency="USD").options(target=CELERY)
        try:
            yield ctx.rfc("shop.tasks.refuse", "4242").options(target=CELERY)
        except ValueError as refused:
            told = str(refused)
        try:
            yield ctx.rfc("shop.tasks.expire", "4242").options(target=CELERY)
        except RemoteError as expired:
            return paid["paid"], paid["currency"], told, expired.type_name, expired.message

    stock.work()
    handle = shop.resonate.rpc("order-1", fulfil, {"id": 1, "price": 30})
    card = ["tests.scenarios.stock.CardExpired", "4242, 2026"]
    assert handle.result(WAIT_S) == [30, "USD", "card 4242 was refused", *card]
    assert stock.noted() == {"charge 1": 1}
    with pytest.raises(ValueError, match="4242") as raised:
        shop.resonate.options(target=CELERY).rpc("alone", "shop.tasks.refuse", "4242").result(
            WAIT_S
        )
    assert isinstance(raised.value.__cause__, RemoteError)
    assert "in refuse" in raised.value.__cause__.remote_traceback


def test_a_celery_task_that_retries_has_one_outcome(shop: Shop, stock: Stock) -> None:
    stock.work()
    flaky = shop.resonate.options(target=CELERY).rpc("flaky-1", "shop.tasks.flaky", 40)
    assert flaky.result(WAIT_S) == 42
    assert stock.noted() == {"flaky 0": 1, "flaky 1": 1, "flaky 2": 1}
    shop.resonate.stop()
    shop.system.end()


def test_a_schedule_and_the_command_line_call_celery_tasks(shop: Shop, stock: Stock) -> None:
    stock.work()
    nightly = shop.resonate.options(target=CELERY)
    nightly.schedule("nightly", "0 3 * * *", "shop.tasks.charge", {"id": 7, "price": 1})
    assert shop.resonate.schedules.trigger("nightly").result(WAIT_S)["order"] == 7
    order = json.dumps({"id": 8, "price": 2})
    printed = shop.system.run("call", "--target", CELERY, "shop.tasks.charge", order)
    assert json.loads(printed) == {"order": 8, "paid": 2, "currency": "EUR"}
    assert stock.noted() == {"charge 7": 1, "charge 8": 1}


def test_a_celery_task_without_a_result_backend_ends_at_the_deadline_and_is_never_sent_again(
    shop: Shop, stock: Stock
) -> None:
    """A backstop of half a second and a new ledger have had every occasion to send it."""
    stock.work("--result-backend=disabled://")
    call = shop.resonate.options(target=CELERY, timeout=6).rpc(
        "silent", "shop.tasks.charge", {"id": 1, "price": 1}
    )
    wait_until("the task ran", lambda: stock.noted()["charge 1"])
    wait_until("its row is deleted", lambda: "outbox rows" not in shop.system.leftovers())
    shop.restart_ledger(backstop=0.5, hold_max=0.5)
    with pytest.raises(TimedOut):
        call.result(WAIT_S)
    assert stock.noted() == {"charge 1": 1}


def test_a_result_that_comes_while_there_is_no_ledger_is_kept_for_the_next_one(
    shop: Shop, stock: Stock
) -> None:
    stock.work()
    call = shop.resonate.options(target=CELERY).rpc("slow", "shop.tasks.slow", 2)
    wait_until("the task runs", lambda: stock.noted()["slow"])
    [shown] = shop.system.stuck().values()
    state, waits_for = shown
    assert state == "pending"
    assert waits_for.startswith("whoever takes it from payments to answer (a Celery worker whose")
    assert "celery://payments" in shop.system.run("tree", "slow")
    shop.restart_ledger()
    assert call.result(WAIT_S) == "slept"
    assert stock.noted() == {"slow": 1}


def test_a_call_of_a_celery_task_that_is_canceled_stays_canceled(shop: Shop, stock: Stock) -> None:
    stock.work()
    call = shop.resonate.options(target=CELERY).rpc("slow", "shop.tasks.slow", 1)
    wait_until("the task runs", lambda: stock.noted()["slow"])
    shop.resonate.promises.cancel("slow")
    with pytest.raises(Canceled):
        call.result(WAIT_S)
    [dead] = shop.dead_letters()
    assert dead["reason"] == (
        "promise 'slow' is rejected_canceled: the reply came after it was canceled"
    )
    assert json.loads(dead["body"])["result"] == "slept"


def test_a_queue_that_is_not_there_yet_is_waited_for_and_not_made(shop: Shop, stock: Stock) -> None:
    call = shop.resonate.options(target=CELERY).rpc(
        "early", "shop.tasks.charge", {"id": 3, "price": 5}
    )
    wait_until("the ledger says so", lambda: "tasks wait for payments" in shop.system.logs())
    assert not shop.has_queue("payments")
    stock.work()
    assert call.result(WAIT_S)["paid"] == 5
    assert stock.noted() == {"charge 3": 1}
