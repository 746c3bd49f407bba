"""An app with `install(app)` as its last line, called by durable functions and by others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery.exceptions import WorkerLostError

from resonate_amqp import RemoteError, Resonate
from resonate_amqp.runtime.handle import Handle
from tests.ext.celery.system import Shop, result
from tests.scenarios.system import Process, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

STOCK = "tests.ext.celery.stock"


@pytest.fixture(scope="module")
def worker(stocked: Shop) -> Process:
    return stocked.celery(STOCK, queue="stock")


@pytest.fixture(scope="module")
def caller(stocked: Shop, worker: Process) -> Iterator[Resonate]:
    made = Resonate(stocked.url, group="caller")
    yield made
    made.stop()


def picks(shop: Shop, task_id: str) -> int:
    """How often a task `pick` began."""
    return sum(run.promise_id == task_id for run in shop.journal.runs("pick"))


def called(caller: Resonate, name: str, *args: object, **kwargs: object) -> Handle[object]:
    calling = caller.options(target="celery://stock")
    return calling.rpc(f"call-{name}-{args}", f"{STOCK}.{name}", *args, **kwargs)


def test_an_unmodified_task_is_called_durably_and_returns_its_result(caller: Resonate) -> None:
    assert called(caller, "pick", "pen", count=2).result(20) == ["pen", "pen"]


def test_what_an_unmodified_task_raises_is_raised_by_its_name(caller: Resonate) -> None:
    with pytest.raises(RemoteError) as raised:
        called(caller, "fail", "ink").result(20)
    assert raised.value.type_name == f"{STOCK}.OutOfStock"


def test_a_retry_of_an_unmodified_task_is_no_outcome(caller: Resonate, stocked: Shop) -> None:
    assert called(caller, "fetch", "cap").result(20) == "cap after 2 retries"
    assert len(stocked.journal.runs("fetch")) == 3


def test_a_time_limit_of_an_unmodified_task_is_reported(caller: Resonate) -> None:
    with pytest.raises(RemoteError) as raised:
        called(caller, "search").result(20)
    assert raised.value.type_name == "billiard.exceptions.TimeLimitExceeded"


def test_a_revoked_task_is_reported(caller: Resonate, stocked: Shop) -> None:
    stocked.journal.close_gate("pick")
    handle = called(caller, "pick", "nib")
    wait_until("it runs", lambda: picks(stocked, handle.id))
    with stocked.client() as client:
        client.app.control.revoke(handle.id, terminate=True)
    with pytest.raises(RemoteError) as raised:
        handle.result(20)
    stocked.journal.open_gate("pick")
    assert raised.value.type_name == "celery.exceptions.TaskRevokedError"


def test_a_pool_of_processes_that_were_not_forked_runs_calls_durably_too(
    caller: Resonate, stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_START", "spawn")
    stocked.celery(STOCK, queue="spawned")
    calling = caller.options(target="celery://spawned")
    assert calling.rpc("spawned", f"{STOCK}.fetch", "cup").result(20) == "cup after 2 retries"
    ((version,),) = stocked.query("SELECT version FROM tasks WHERE id = 'spawned'")
    # Each retry was claimed.
    assert version == 3


def test_a_call_survives_its_process_and_other_messages_are_treated_as_ever(
    caller: Resonate, stocked: Shop, worker: Process
) -> None:
    with stocked.client() as client:
        stocked.journal.close_gate("pick")
        task = client.app.signature(f"{STOCK}.pick", ("a",), queue="stock")
        sent = task.apply_async()
        wait_until("the ordinary one runs", lambda: picks(stocked, sent.id))
        stocked.kill_child(worker)
        with pytest.raises(WorkerLostError):
            result(sent)
        handle = called(caller, "pick", "b")
        wait_until("the durable one runs", lambda: picks(stocked, handle.id))
        stocked.kill_child(worker)
        wait_until("it runs again", lambda: picks(stocked, handle.id) > 1)
        stocked.journal.open_gate("pick")
        assert handle.result(20) == ["b"]
    assert picks(stocked, sent.id) == 1
