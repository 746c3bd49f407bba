"""Durable tasks inside of what shops wrap them in: a wait is no failure that may be caught."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import celery
import pytest
from celery.contrib.abortable import AbortableAsyncResult
from celery.result import AsyncResult

from tests.ext.celery.system import OLD_THREADS, Client, Shop, result
from tests.scenarios.system import Process, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

WRAPPING = "tests.ext.celery.wrapping"
WAITING = [
    "bare",
    "wrapped",
    "silenced",
    "object",
    "retried",
    "bare_retried",
    "caught",
]


@pytest.fixture(scope="module", autouse=True)
def whoever() -> Iterator[None]:
    """A worker that takes pickled messages may run as root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("C_FORCE_ROOT", "1")
        yield


@pytest.fixture(scope="module")
def worker(stocked: Shop) -> Process:
    return stocked.celery(WRAPPING)


@pytest.fixture(scope="module")
def client(stocked: Shop) -> Iterator[Client]:
    with stocked.client() as made:
        yield made


def send(client: Client, name: str, order: str, queue: str = "celery") -> AsyncResult:
    return client.app.send_task(f"{WRAPPING}.{name}", (order,), queue=queue)


@pytest.mark.parametrize("name", WAITING)
def test_no_decorator_class_or_retry_takes_a_wait_for_a_failure(
    worker: Process, client: Client, name: str
) -> None:
    assert result(send(client, name, "1")) == f"{name}: charged 1"


def test_what_the_worker_could_not_see_to_be_durable_fails_and_says_what_to_do(
    worker: Process, client: Client
) -> None:
    with pytest.raises(Exception, match=r"Write @functools\.wraps\(func\) in that decorator"):
        result(send(client, "forgotten", "2"))


def test_a_decorator_that_tries_again_gets_the_recorded_failure(
    worker: Process, client: Client, stocked: Shop
) -> None:
    with pytest.raises(KeyError):
        result(send(client, "insistent", "3"))
    assert len(stocked.journal.runs("insistent")) == 1


def test_local_functions_run_where_their_task_does_and_see_what_it_was_given(
    worker: Process, client: Client
) -> None:
    assert result(send(client, "local", "7")) is True


def test_models_and_sets_of_arguments(worker: Process, client: Client) -> None:
    order = {"number": 8, "tags": ["b", "a"]}
    if celery.VERSION >= (5, 5):
        grown = result(client.app.send_task(f"{WRAPPING}.grown", (order,)))
        assert (grown["number"], sorted(grown["tags"])) == (9, ["a", "b"])
        modelled = client.app.send_task(f"{WRAPPING}.modelled", (order,))
        assert result(modelled) == ["charged 8", ["a", "b"]]
    assert result(client.app.send_task(f"{WRAPPING}.added_to", ({"id": 9},))) == ["id", "session"]
    tagged = {"tags": {"a"}}
    with pytest.raises(Exception, match=r"args\[0\]\.tags: set .*sorted"):
        result(client.app.send_task(f"{WRAPPING}.tagged", (tagged,), serializer="pickle"))


@pytest.mark.parametrize("pool", [pytest.param("threads", marks=OLD_THREADS), "solo", "spawn"])
def test_in_each_pool(
    stocked: Shop, client: Client, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pool == "spawn":
        monkeypatch.setenv("SHOP_START", "spawn")
    stocked.celery(WRAPPING, pool="prefork" if pool == "spawn" else pool, queue=pool)
    sent = {name: send(client, name, "4", pool) for name in WAITING}
    assert {name: result(one) for name, one in sent.items()} == {
        name: f"{name}: charged 4" for name in WAITING
    }


def test_a_killed_worker_costs_none_of_them_its_result(
    stocked: Shop, worker: Process, client: Client
) -> None:
    stocked.journal.close_gate("charge")
    before = len(stocked.journal.runs("charge"))
    sent = {name: send(client, name, "5") for name in WAITING}
    wait_until("a charge runs", lambda: len(stocked.journal.runs("charge")) > before)
    stocked.kill_child(worker)
    wait_until("it runs again", lambda: len(stocked.journal.runs("charge")) > before + 1)
    worker.kill()
    stocked.celery(WRAPPING)
    stocked.journal.open_gate("charge")
    assert {name: result(one) for name, one in sent.items()} == {
        name: f"{name}: charged 5" for name in WAITING
    }


def test_a_task_that_comes_back_is_not_stored_as_started_again(
    stocked: Shop, tmp_path: Path
) -> None:
    results = f"db+sqlite:///{tmp_path / 'results.db'}"
    stocked.journal.close_gate("charge")
    before = len(stocked.journal.runs("charge"))
    worker = stocked.celery(WRAPPING, queue="aborting", results=results)
    with stocked.client(results) as client:
        sent = send(client, "abortable", "6", "aborting")
        wait_until("it waits", lambda: len(stocked.journal.runs("charge")) > before)
        assert sent.state == "STARTED"
        assert sent.info["hostname"] == "aborting@localhost"
        AbortableAsyncResult(sent.id, app=client.app).abort()
        stocked.kill_child(worker)
        wait_until("it is charged again", lambda: len(stocked.journal.runs("charge")) > before + 1)
        stocked.journal.open_gate("charge")
        assert result(sent) == "charged 6, aborted: True"
