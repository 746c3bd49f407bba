"""What Celery users report, executed: each pain with stock Celery, and with `@durable`.

One worker runs the twins of `pains.py`, over a node of RabbitMQ that only these tests use. The
page names each test in its table.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from billiard.exceptions import WorkerLostError
from celery import chord

from resonate_amqp import Resonate
from resonate_amqp.dev.binaries import installed
from resonate_amqp.dev.broker import PrivateBroker
from tests.docs.markdown import ROOT
from tests.docs.pain_system import PAINS, SLOTS, Pains
from tests.ext.celery.system import result
from tests.scenarios.system import Process, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

PAGE = ROOT / "docs" / "explanation" / "what-it-solves.md"
QUIET_S = 2.0
"""For how long a thing has not to happen, for a test to say that it does not."""
ACK_TIMEOUT_S = 3.0
DEFAULT_ACK_TIMEOUT_S = 1_800.0
TICK = "[{rabbit, [{channel_tick_interval, 250}]}].\n"
"""How often the broker looks for deliveries that are too old, in milliseconds."""
SENDING = "Sending due task"
"""What a beat logs for each message."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A node whose connections may be closed, and whose acknowledgement timeout changed."""
    if not installed():
        pytest.skip("rabbitmq-server is not installed; `make system` installs it")
    home = tmp_path_factory.mktemp("node")
    (home / "advanced.config").write_text(TICK, encoding="ascii")
    with PrivateBroker(home) as started:
        yield started


@pytest.fixture(scope="module")
def shop(node: PrivateBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pains]:
    folder = tmp_path_factory.mktemp("pains")
    made = Pains(node.url, folder, f"db+sqlite:///{folder / 'results.db'}")
    try:
        made.ledger(max_deliveries=2)
        made.wait_for_ledger()
        made.celery(PAINS, queue="explode", slots=2)
        with made.client() as made.client_of:
            # It takes a while, and the last test asks what became of it.
            made.exploding = made.send("explode_durable", "crash-durable", queue="explode")
            yield made
    finally:
        made.kill_all()
        sys.stdout.write(made.logs())


@pytest.fixture(autouse=True)
def worker(shop: Pains) -> Iterator[Process]:
    """The worker that runs both; a test may kill it."""
    yield shop.work()
    shop.open_gates()


@pytest.fixture
def impatient(node: PrivateBroker) -> Iterator[float]:
    """Channels that are opened now close when a message is not acknowledged for so many seconds."""
    _set_ack_timeout(node, ACK_TIMEOUT_S)
    yield ACK_TIMEOUT_S
    _set_ack_timeout(node, DEFAULT_ACK_TIMEOUT_S)


def _set_ack_timeout(node: PrivateBroker, seconds: float) -> None:
    node.control("eval", f"application:set_env(rabbit, consumer_timeout, {seconds * 1000:.0f}).")


def test_lost_with_its_worker(shop: Pains) -> None:
    """First a process of the pool is killed, as the kernel does for want of memory; then all."""
    shop.journal.close_gate("charge")
    failed, recovered = shop.both("charge", "child")
    shop.wait_for("charge", "child", stock=1, durable=1)
    for run in shop.journal.runs("charge"):
        if run.promise_id.startswith("child-"):
            os.kill(run.pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        result(failed)
    stock, durable = shop.both("charge", "lost")
    shop.wait_for("charge", "lost", stock=1, durable=1)
    shop.crash()
    shop.journal.open_gate("charge")
    assert result(durable) == "charge of lost-durable"
    assert result(recovered) == "charge of child-durable"
    time.sleep(QUIET_S)
    assert shop.times("charge", "lost") == {"stock": 1, "durable": 2}
    assert stock.state == "PENDING"


def test_runs_again_from_the_top(shop: Pains) -> None:
    shop.journal.close_gate("pack")
    stock, durable = shop.both("fulfil", "top")
    shop.wait_for("pack", "top", stock=1, durable=1)
    shop.crash()
    shop.journal.open_gate("pack")
    assert len(result(stock)) == len(result(durable)) == 3
    for step in ("reserve", "pay"):
        assert shop.times(step, "top") == {"stock": 2, "durable": 1}
    assert shop.times("pack", "top") == {"stock": 2, "durable": 2}


def test_runs_twice_at_once(shop: Pains, node: PrivateBroker) -> None:
    shop.journal.close_gate("export")
    stock, durable = shop.both("export", "twice")
    shop.wait_for("export", "twice", stock=1, durable=1)
    node.control("close_all_connections", "the network is gone")
    shop.wait_for("export", "twice", stock=2)
    time.sleep(QUIET_S)
    shop.journal.open_gate("export")
    assert result(durable) == "export of twice-durable"
    assert result(stock) == "export of twice-stock"
    assert shop.times("export", "twice") == {"stock": 2, "durable": 1}


def test_submitted_twice(shop: Pains) -> None:
    sent = [one for _ in range(2) for one in shop.both("refund", "7")]
    assert Counter(map(result, sent)) == {"refund of 7-stock": 2, "refund of 7-durable": 2}
    assert shop.times("refund", "7") == {"stock": 2, "durable": 1}


def test_sent_too_early_or_never(shop: Pains, tmp_path: Path) -> None:
    """A checkout rolls one order back, and is killed when it has committed the other one."""
    for how in ("stock", "durable"):
        checkout = shop.program("tests.docs.checkout", f"sqlite:///{tmp_path / how}.db", how)
        assert checkout.wait() == -signal.SIGKILL
    shop.wait_for("charge", "undone", stock=1)
    database = f"sqlite:///{tmp_path / 'durable.db'}"
    relay = shop.program("resonate_amqp", "relay", "--database", database)
    shop.wait_for("charge", "bought", durable=1)
    time.sleep(QUIET_S)
    assert shop.times("charge", "undone") == {"stock": 1}
    assert shop.times("charge", "bought") == {"durable": 1}
    relay.terminate()


def test_a_retry_repeats_what_was_done(shop: Pains) -> None:
    stock, durable = shop.both("deliver", "retry")
    assert len(result(stock)) == len(result(durable)) == 2
    assert shop.times("label", "retry") == {"stock": 2, "durable": 1}
    assert shop.times("ship", "retry") == {"stock": 2, "durable": 2}


def test_a_chord_never_ends(shop: Pains) -> None:
    shop.journal.close_gate("measure")
    chords = [
        chord([shop.s(name, order, n) for n in range(2)], app=shop.client_of.app)(shop.s("total"))
        for name, order in (("measure", "chord-stock"), ("measure_durable", "chord-durable"))
    ]
    gathered = shop.send("total_durable", "gather-durable", 2)
    shop.wait_for("measure", "chord", stock=2, durable=2)
    shop.wait_for("measure", "gather", durable=2)
    shop.crash()
    shop.journal.open_gate("measure")
    assert result(gathered) == 1
    assert result(chords[1]) == 1
    time.sleep(QUIET_S)
    assert chords[0].state == "PENDING"
    assert shop.times("measure", "chord") == {"stock": 2, "durable": 4}


def test_waiting_for_a_task_blocks_the_pool(shop: Pains) -> None:
    durable = [shop.send("invoice_durable", "pool-durable") for _ in range(SLOTS)]
    assert {result(one) for one in durable} == {"invoice over price of pool-durable"}
    shop.journal.close_gate("invoice")
    for _ in range(SLOTS):
        shop.send("invoice", "pool-stock")
    shop.wait_for("invoice", "pool", stock=SLOTS)
    shop.journal.open_gate("invoice")
    time.sleep(QUIET_S)
    assert shop.times("price", "pool") == {"durable": SLOTS}
    shop.crash()


def test_waiting_holds_up_a_deploy(shop: Pains, worker: Process) -> None:
    shop.journal.close_gate("answer")
    stock, durable = shop.both("approve", "deploy")
    shop.wait_for("approve", "deploy", stock=1, durable=1)
    wait_until("the durable one has left", lambda: shop.task_state(durable.id) == "suspended")
    worker.terminate()
    time.sleep(QUIET_S)
    assert worker.running
    shop.journal.open_gate("answer")
    assert worker.wait() == 0
    assert result(stock) == "approved deploy-stock"
    shop.work()
    shop.run("promises", "resolve", "answer-deploy-durable")
    assert result(durable) == "approved deploy-durable"
    assert shop.times("approve", "deploy") == {"stock": 1, "durable": 1}


def test_an_acknowledgement_timeout(shop: Pains, impatient: float) -> None:
    slow = shop.celery(PAINS, queue="slow")
    durable = shop.send("remind_durable", "late-durable", 2 * impatient, queue="slow")
    assert result(durable) == "remind of late-durable"
    assert slow.running
    shop.send("remind", "late-stock", countdown=2 * impatient, queue="slow")
    assert slow.wait() == 1
    assert shop.times("remind", "late") == {"durable": 1}


def test_a_long_task_is_given_out_again(shop: Pains, impatient: float) -> None:
    shop.journal.close_gate("export")
    first = shop.celery(PAINS, queue="long", slots=2)
    shop.send("export", "long-stock", queue="long")
    durable = shop.send("export_durable", "long-durable", queue="long")
    wait_until("it is told", lambda: "timed out" in first.log.read_text("utf-8"))
    shop.celery(PAINS, queue="long", slots=2)
    shop.wait_for("export", "long", stock=2)
    time.sleep(impatient / 2)
    shop.journal.open_gate("export")
    assert result(durable) == "export of long-durable"
    assert shop.times("export", "long")["durable"] == 1


def test_beat_sends_everything_twice(shop: Pains, tmp_path: Path) -> None:
    """For the length of a deployment there are two of whatever there is one of."""
    options = ("-A", PAINS, "beat", "-l", "INFO", "--pidfile=")
    beats = [shop.program("celery", *options, "-s", str(tmp_path / str(n))) for n in range(2)]
    deployed = [Resonate(shop.url, group=f"deployed-{n}") for n in range(2)]
    for one in deployed:
        celery = one.options(target="celery://celery")
        celery.schedule("tidy", "* * * * * *", f"{PAINS}.tidy_durable")

    def sent() -> list[int]:
        return [beat.log.read_text("utf-8").count(SENDING) for beat in beats]

    wait_until("both beats have sent", lambda: min(sent()) > 4)
    for beat in beats:
        beat.kill()
    wait_until("it ran", lambda: len(shop.journal.runs("tidy-durable")) > 4)
    deployed[0].schedules.delete("tidy")
    for one in deployed:
        one.stop()
    # A beat writes its line before it sends the message.
    wait_until("it ran", lambda: len(shop.journal.runs("tidy")) >= sum(sent()) - len(beats))
    ids = Counter(run.promise_id for run in shop.journal.runs("tidy-durable"))
    ticks = sorted(datetime.strptime(one, "tidy.%Y%m%dT%H%M%S%z") for one in ids)
    assert ticks == [ticks[0] + timedelta(seconds=n) for n in range(len(ticks))]
    assert set(ids.values()) == {1}


def test_a_revocation_is_forgotten(shop: Pains, worker: Process) -> None:
    stock = shop.send("remind", "revoked-stock", countdown=7)
    durable = shop.send("remind_durable", "revoked-durable", 7)
    wait_until("the durable one waits", lambda: shop.task_state(durable.id) == "suspended")
    stock.revoke()
    wait_until("the worker knows", lambda: "flagged as revoked" in worker.log.read_text("utf-8"))
    shop.run("promises", "cancel", durable.id)
    shop.crash()
    shop.wait_for("remind", "revoked", stock=1)
    time.sleep(QUIET_S)
    assert shop.times("remind", "revoked") == {"stock": 1}
    assert shop.outcome(durable.id)[0] == "rejected_canceled"


def test_nobody_can_say_where_it_stopped(shop: Pains) -> None:
    shop.journal.close_gate("pay")
    stock, durable = shop.both("fulfil", "where")
    shop.wait_for("pay", "where", stock=1, durable=1)
    assert stock.state == shop.fresh("an-id-that-nobody-sent").state == "PENDING"
    whole, reserved = shop.run("tree", durable.id).split("\n", 1)
    assert "acquired by" in whole
    assert f"{durable.id}:1" in reserved
    assert "waits for its holder" in shop.run("stuck", "--older", "0")
    shop.journal.open_gate("pay")
    assert len(result(stock)) == len(result(durable)) == 3


def test_the_result_is_gone(shop: Pains) -> None:
    stock, durable = shop.both("charge", "gone")
    assert [result(stock), result(durable)] == ["charge of gone-stock", "charge of gone-durable"]
    # What `celery.backend_cleanup` does every night with results that are older than a day.
    shop.client_of.app.backend.expires = timedelta()
    shop.client_of.app.backend.cleanup()
    assert shop.fresh(stock.id).state == shop.fresh(durable.id).state == "PENDING"
    assert "charge of gone-durable" in shop.run("promises", "get", durable.id)
    shop.send("charge", "gone-stock", task_id=stock.id)
    shop.send("charge_durable", "gone-durable", task_id=durable.id)
    assert result(shop.fresh(stock.id)) == "charge of gone-stock"
    assert result(shop.fresh(durable.id)) == "charge of gone-durable"
    assert shop.times("charge", "gone") == {"stock": 2, "durable": 1}


def test_a_crash_loop(shop: Pains) -> None:
    halted = partial(shop.task_state, shop.exploding.id)
    wait_until("the durable one is halted", lambda: halted() == "halted", 60.0)
    shop.send("explode", "crash-stock", queue="explode")
    shop.wait_for("explode", "crash", stock=4)
    assert shop.times("explode", "crash")["durable"] == 3
    assert "lost 3 times without progress" in shop.run("stuck", "--older", "0")
