"""The pools and the result backends in which durable tasks run."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import chord, group

from tests.ext.celery.system import OLD_DATABASE, OLD_THREADS, Client, Shop, result
from tests.scenarios.system import wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]


@OLD_THREADS
def test_tasks_of_the_threads_pool_run_at_once_and_one_promise_runs_once(
    shop: Shop, client: Client
) -> None:
    shop.celery(pool="threads", slots=4, queue="threads")
    sent = [client.send("fulfil", str(number), queue="threads") for number in range(6)]
    ended = [result(one) for one in sent]
    assert ended == [f"{one.id} fulfilled: billed: charged {at}" for at, one in enumerate(sent)]
    shop.journal.close_gate("once")
    first = client.send("once", "30", queue="threads")
    wait_until("it runs", lambda: shop.journal.runs("once"))
    second = client.send("once", "30", queue="threads")
    wait_until("the second asks again", lambda: "asks again in 1 s" in shop.logs())
    shop.journal.open_gate("once")
    assert result(first) == result(second) == f"30 by {first.id}"
    assert len(shop.journal.runs("once")) == 1


def test_tasks_of_the_solo_pool_wait_without_blocking_it(shop: Shop, client: Client) -> None:
    shop.celery(pool="solo", queue="solo")
    sent = client.send("fulfil", "31", queue="solo")
    assert result(sent) == f"{sent.id} fulfilled: billed: charged 31"
    assert result(client.send("flaky", "32", 1, queue="solo")) == "32 after 1 retries"


@OLD_DATABASE
def test_results_go_to_the_database_that_the_app_uses(shop: Shop, tmp_path: Path) -> None:
    check_backend(shop, f"db+sqlite:///{tmp_path / 'results.db'}", "sqlite")


@OLD_DATABASE
def test_results_go_to_postgresql(shop: Shop, postgres_url: str) -> None:
    check_backend(shop, postgres_url.replace("postgresql://", "db+postgresql+psycopg://"), "pg")


def test_results_go_to_redis(shop: Shop, redis_url: str) -> None:
    check_backend(shop, redis_url, "redis")


def check_backend(shop: Shop, results: str, queue: str) -> None:
    """A chord, what waits, fails and is replaced, in a worker with this result backend."""
    shop.celery(queue=queue, results=results)
    with shop.client(results) as client:
        header = group(client.s("add", 1, 2), client.s("add", 3, 4))
        counted = chord(header, client.s("total")).apply_async(queue=queue)
        sent = client.send("fulfil", "40", queue=queue)
        failed = client.send("decline", "41", queue=queue)
        assert result(sent) == f"{sent.id} fulfilled: billed: charged 40"
        with pytest.raises(Exception, match="402"):
            result(failed)
        assert result(counted) == 10
        assert result(client.send("replaced", "plain", queue=queue)) == 3
        assert result(client.send("replaced", "durable", queue=queue)) == 3


def test_without_a_result_backend_the_ledger_has_the_results(shop: Shop) -> None:
    shop.celery(queue="unheard", results="disabled://")
    with shop.client("disabled://") as client:
        sent = client.send("fulfil", "42", queue="unheard")
    assert shop.outcome(sent.id) == ("resolved", "")
