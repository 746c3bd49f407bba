"""No task's message is acknowledged unrun: shared ids, comebacks, other arguments, other forms."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult

from resonate_amqp.errors import RemoteError
from tests.ext.celery.system import Client, Shop, connection, result
from tests.scenarios.journal import FOLDER
from tests.scenarios.system import ROOT, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

KEPT = "tests.ext.celery.kept"


@pytest.fixture(scope="module")
def kept(stocked: Shop) -> Shop:
    """One worker of the default queue and of the one whose rejected messages come back."""
    with contextlib.closing(connection(stocked.url)) as broker:
        back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "picky"}
        broker.channel().queue_declare(
            "picky.wait", durable=True, arguments=back | {"x-message-ttl": 200}
        )
    stocked.celery(KEPT)
    return stocked


@pytest.fixture(scope="module")
def client(kept: Shop) -> Iterator[Client]:
    with kept.client() as made:
        yield made


def send(client: Client, name: str, *args: object, **options: Any) -> AsyncResult:
    return client.app.send_task(f"{KEPT}.{name}", args, **options)


def runs(shop: Shop, name: str) -> list[str]:
    return [run.promise_id for run in shop.journal.runs(name)]


def promises(shop: Shop, like: str) -> list[tuple[str, str]]:
    """Ids and states of the promises whose id is like this, the oldest first."""
    asked = f"SELECT id, state FROM promises WHERE id LIKE '{like}' ORDER BY created_at, id"
    return [(str(one), str(state)) for one, state in shop.query(asked)]


@pytest.mark.parametrize("name", ["note", "guarded"])
def test_a_task_id_that_is_used_for_other_arguments_fails_the_second_task(
    kept: Shop, client: Client, name: str
) -> None:
    """Also below a decorator that lets nothing fail."""
    task_id = f"recycled-{name}"
    first = send(client, name, "a", task_id=task_id)
    assert result(first) == "noted a"
    second = send(client, name, "b", task_id=task_id)
    with pytest.raises(Exception, match=f"'{task_id}' is taken by a message with other content"):
        result(second)
    third = send(client, name, "a", task_id=task_id)
    assert result(third) == "noted a"
    assert [what for what in runs(kept, name) if what in "ab"] == ["a"]


def test_a_task_id_that_is_too_long_is_shortened(kept: Shop, client: Client) -> None:
    for end in "12":
        long = "t" * 240 + end
        assert result(send(client, "note", f"long-{end}", task_id=long)) == f"noted long-{end}"
    found = promises(kept, "ttt%")
    assert len(found) == 2
    assert all(len(promise_id) <= 200 for promise_id, _ in found)


def test_a_retry_with_other_arguments_runs_with_them_and_is_the_task_s_outcome(
    kept: Shop, client: Client
) -> None:
    assert result(send(client, "counted", 1, task_id="counted-1")) == 3
    assert runs(kept, "counted") == ["1", "2", "3"]
    wait_until("it is settled", lambda: kept.outcome("counted-1") == ("resolved", ""))
    wait_until(
        "each is settled",
        lambda: [state for _, state in promises(kept, "counted-1%")] == ["resolved"] * 3,
    )


def test_a_durable_caller_waits_for_the_retry_with_other_arguments(
    kept: Shop, client: Client
) -> None:
    assert result(send(client, "pages")) == 3


def test_a_workflow_s_retry_with_other_arguments_begins_anew_and_waits_as_any(
    kept: Shop, client: Client
) -> None:
    assert result(send(client, "paged", 1, "7")) == ["page-2", "noted page-2"]
    assert runs(kept, "page") == ["1", "2"]
    assert kept.outcome("paged-7") == ("resolved", "")


def test_retries_that_return_to_earlier_arguments_run_with_them(kept: Shop, client: Client) -> None:
    assert result(send(client, "turned", "a", task_id="turned-1")) == "b answers"
    assert runs(kept, "turned") == ["a", "b", "a", "b"]
    wait_until(
        "each is settled",
        lambda: [state for _, state in promises(kept, "turned-1%")] == ["resolved"] * 2,
    )


def test_a_task_id_that_looks_like_a_retry_s_is_a_task_of_its_own(
    kept: Shop, client: Client
) -> None:
    kept.journal.close_gate("note-slow")
    slow = send(client, "note", "slow", task_id="job-1", queue="celery")
    kept.wait_for_run("note")
    other = client.app.send_task(
        f"{KEPT}.note", ("fast",), task_id="job-1.retry-1", queue="other-celery"
    )
    kept.celery(KEPT, queue="other-celery")
    assert result(other) == "noted fast"
    assert promises(kept, "job-1")[0][1] == "pending"
    kept.journal.open_gate("note-slow")
    assert result(slow) == "noted slow"


def test_a_task_that_waits_still_counts_how_often_it_was_rejected(
    kept: Shop, client: Client
) -> None:
    kept.celery(KEPT, queue="picky")
    send(client, "counts", "x", task_id="counts-1", exchange="amq.direct", routing_key="picky")
    assert kept.outcome("counts-1.attempt-3") == ("resolved", "")
    assert len(promises(kept, "counts-1%")) == 3 + 3


def test_a_message_that_is_given_back_pauses_and_runs_again(kept: Shop, client: Client) -> None:
    assert result(send(client, "stubborn", "x")) == "taken x"
    at = [run.at for run in kept.journal.runs("stubborn")]
    assert len(at) == 4
    assert at[2] - at[1] >= 1
    assert at[3] - at[2] >= 2


def test_a_worker_killed_in_a_retry_with_other_arguments_goes_on_with_them(own_shop: Shop) -> None:
    worker = own_shop.celery(KEPT)
    own_shop.journal.close_gate("counted-3")
    with own_shop.client() as client:
        sent = send(client, "counted", 1, task_id="killed")
        wait_until("the retry begins", lambda: "3" in runs(own_shop, "counted"))
        worker.kill()
        own_shop.journal.open_gate("counted-3")
        own_shop.celery(KEPT)
        assert result(sent) == 3
    assert runs(own_shop, "counted") == ["1", "2", "3", "3"]
    assert own_shop.outcome("killed") == ("resolved", "")


def test_a_rejected_task_that_comes_back_runs_again_also_when_its_worker_is_killed(
    own_shop: Shop,
) -> None:
    with contextlib.closing(connection(own_shop.url)) as broker:
        back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "picky"}
        broker.channel().queue_declare(
            "picky.wait", durable=True, arguments=back | {"x-message-ttl": 200}
        )
    worker = own_shop.celery(KEPT, queue="picky")
    picky: dict[str, str] = {"exchange": "amq.direct", "routing_key": "picky"}
    with own_shop.client() as client:
        own_shop.journal.close_gate("picky")
        send(client, "picky", "x", task_id="picky-1", **picky)
        own_shop.wait_for_run("picky")
        worker.kill()
        own_shop.journal.open_gate("picky")
        own_shop.celery(KEPT, queue="picky")
        assert own_shop.outcome("picky-1.attempt-3") == ("resolved", "")
    assert runs(own_shop, "picky") == ["x"] * 4
    assert promises(own_shop, "picky-1%") == [
        ("picky-1", "rejected"),
        ("picky-1.attempt-2", "rejected"),
        ("picky-1.attempt-3", "resolved"),
    ]


def test_each_queue_of_a_fanout_runs_its_copy_also_when_a_worker_is_killed(own_shop: Shop) -> None:
    workers = [own_shop.celery(KEPT, queue=f"news-{number}") for number in (1, 2)]
    own_shop.journal.close_gate("note")
    with own_shop.client() as client:
        client.app.send_task(
            f"{KEPT}.note", ("news",), task_id="news-1", exchange="news", routing_key="news"
        )
        own_shop.wait_for_run("note", 2)
        workers[0].kill()
        own_shop.journal.open_gate("note")
        own_shop.celery(KEPT, queue="news-1")
        for queue in ("news-1", "news-2"):
            assert own_shop.outcome(f"news-1.{queue}") == ("resolved", "")
    assert runs(own_shop, "note") == ["news"] * 3


def test_each_app_that_gets_a_copy_by_its_topic_runs_it(
    own_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in ("1", "2"):
        monkeypatch.setenv("KEPT_GROUP", f"app-{group}")
        own_shop.celery(KEPT, queue=f"events-{group}")
    with own_shop.client() as client:
        for _ in range(2):
            client.app.send_task(
                f"{KEPT}.note",
                ("7",),
                task_id="event-1",
                exchange="events",
                routing_key="order.new",
            )
        wait_until("both have run", lambda: len(promises(own_shop, "event-1%")) == 2)
        for promise_id, _ in promises(own_shop, "event-1%"):
            assert own_shop.outcome(promise_id) == ("resolved", "")
    wait_until(
        "what was sent again is answered", lambda: own_shop.logs().count("is not executed") == 2
    )
    assert runs(own_shop, "note") == ["7", "7"]


@pytest.mark.parametrize("accepted", ["packed", "json"])
def test_a_task_that_waits_comes_back_in_its_own_form(
    own_shop: Shop, tmp_path: Path, accepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serializer and compression: a worker that takes nothing else takes the message, also one
    that was started after the first was killed."""
    monkeypatch.setenv("KEPT_ACCEPTED", accepted)
    dying = own_shop.celery(KEPT)
    own_shop.journal.close_gate("far")
    sender = subprocess.Popen(
        [sys.executable, "-c", SENDS],
        env={
            **os.environ,
            "SHOP_BROKER": own_shop.url,
            "SHOP_RESULTS": "rpc://",
            FOLDER: str(tmp_path),
        },
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    own_shop.wait_for_run("far")
    dying.kill()
    worker = own_shop.celery(KEPT)
    own_shop.journal.open_gate("far")
    printed, failed = sender.communicate(timeout=60)
    assert printed == "waited: far x\n", failed
    log = worker.log.read_text(encoding="utf-8")
    assert "untrusted" not in log
    assert ("come in JSON and are discarded" in log) == (accepted != "json")


SENDS = """
from resonate_amqp import Resonate
from tests.ext.celery.kept import waits
from tests.scenarios.journal import own_journal
far = Resonate(waits.app.conf.broker_url, group="far")
def answer(ctx, what):
    own_journal().began("far", what)
    own_journal().pass_gate("far")
    return f"far {what}"
far.register(answer, name="kept.far")
far.start()
try:
    print(waits.delay("x").get(timeout=20))
finally:
    far.stop()
"""


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"KEPT_ACCEPTED": "pickle"}, r"accept_content = ['pickle']: a durable task that waits"),
        (
            {"KEPT_ACCEPTED": "packed", "KEPT_INSTALL": "1"},
            "accept_content = ['packed']: install(app) is for calls by celery://",
        ),
    ],
)
def test_a_worker_that_would_discard_what_comes_back_ends_at_its_start(
    vhost_url: str, environment: dict[str, str], told: str
) -> None:
    command = [sys.executable, "-m", "celery", "-A", KEPT, "worker", "-P", "solo"]
    done = subprocess.run(
        command,
        env={**os.environ, "SHOP_BROKER": vhost_url, "C_FORCE_ROOT": "1", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert told in done.stderr
    assert "add 'json' to accept_content" in done.stderr


def test_a_failure_that_is_recorded_stays_recorded_under_its_id(kept: Shop, client: Client) -> None:
    for _ in range(2):
        with pytest.raises((LookupError, RemoteError, Exception), match="gone"):
            result(send(client, "fail", "gone", task_id="failed-1"))
    assert runs(kept, "fail") == ["gone"]
