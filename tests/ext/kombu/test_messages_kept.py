"""No message is acknowledged unrun: shared names, dead-letter loops, limits, with kills between."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.ext.kombu.processes import QUEUE, ShopSystem
from tests.ext.kombu.test_limits import logged
from tests.scenarios.system import wait_until

pytestmark = pytest.mark.processes

WAIT, DEAD = "wait", "orders.dead"
"""The shop's own queues: rejected messages come back from the first after a while."""


@pytest.fixture
def shop(processes: ShopSystem) -> ShopSystem:
    processes.ledger()
    return processes


def test_three_mails_of_one_correlation_id_are_sent_and_a_killed_consumer_loses_none(
    shop: ShopSystem,
) -> None:
    shop.queue()
    for to in ("ann", "bob", "cy"):
        shop.send({"to": to}, correlation_id="one-request")
    shop.journal.close_gate("mail")
    dying = shop.consumer("mail")
    shop.wait_for_run("mail")
    dying.kill()
    shop.journal.open_gate("mail")
    consumer = shop.consumer("mail")
    shop.wait_for_run("mail", 4)
    sent = [run.promise_id for run in shop.journal.runs("mail")]
    assert sent[0] == "ann"
    assert sorted(sent[1:]) == ["ann", "bob", "cy"]
    assert "without a message_id" in logged(consumer)
    shop.wait_for_empty()
    shop.end()


def test_one_event_is_run_by_each_service_and_by_each_try_of_its_producer(
    shop: ShopSystem,
) -> None:
    """Two services have a callback of one name; the producer's retry header is another message."""
    queues = ("orders-shop", "orders-mails")
    for queue in queues:
        shop.queue(queue)
    shop.bind("events", *queues)
    shop.journal.close_gate("plain")
    dying = [shop.consumer("plain", queue, group=queue) for queue in queues]
    for tries in range(3):
        shop.send(
            {"order": f"event-{tries}"},
            exchange="events",
            message_id="event-1",
            headers={"retry": tries},
        )
    shop.wait_for_run("plain", 2)
    for one in dying:
        one.kill()
    shop.journal.open_gate("plain")
    for queue in queues:
        shop.consumer("plain", queue, group=queue)
    wait_until("each has run", lambda: settled(shop, "event-1") == 6, 30)
    assert shop.journal.counts() == {"plain": 8}
    shop.wait_for_empty(*queues)
    shop.end()


def settled(shop: ShopSystem, message_id: str) -> int:
    return sum(state == "resolved" for _, state in shop.executions(message_id))


def has_settled(shop: ShopSystem, message_id: str, times: int) -> bool:
    return settled(shop, message_id) == times


def dead_letters_to(queue: str) -> dict[str, Any]:
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}


def back_after(ttl_ms: int) -> dict[str, Any]:
    return dead_letters_to(QUEUE) | {"x-message-ttl": ttl_ms}


@pytest.mark.parametrize("dies", ["", "reject"])
def test_a_rejected_message_that_comes_back_runs_again_as_the_next_attempt(
    shop: ShopSystem, dies: str
) -> None:
    """Killed between the record and the rejection, it rejects what is recorded, and runs later."""
    shop.queue(QUEUE, **dead_letters_to(WAIT))
    shop.queue(WAIT, **back_after(200))
    shop.send({"order": "1"}, message_id="order-1")
    if dies:
        dying = shop.consumer("picky", dies=dies)
        wait_until("it is dead", lambda: not dying.running)
    consumer = shop.consumer("picky")
    wait_until("it is done", lambda: settled(shop, "order-1") == 3)
    ids = [promise_id for promise_id, _ in shop.executions("order-1")]
    assert [promise_id.rpartition(".")[2] for promise_id in ids[1:]] == ["attempt-2", "attempt-3"]
    assert all(promise_id.startswith(ids[0]) for promise_id in ids)
    assert "it runs as attempt 3" in logged(consumer)
    shop.wait_for_empty(QUEUE, WAIT)
    assert shop.journal.counts() == {"picky": 3}
    shop.end()


def test_a_message_that_is_put_back_by_hand_from_a_dead_letter_queue_runs_again(
    shop: ShopSystem,
) -> None:
    shop.queue(QUEUE, **dead_letters_to(DEAD))
    shop.queue(DEAD)
    shop.consumer("picky")
    shop.send({"order": "1"}, message_id="order-1")
    for attempt in (1, 2):
        wait_until("it is rejected", lambda: shop.ready(DEAD) == 1)
        assert settled(shop, "order-1") == attempt
        shop.move(DEAD, QUEUE)
    wait_until("it is done", lambda: settled(shop, "order-1") == 3)
    shop.wait_for_empty(QUEUE, DEAD)
    assert shop.journal.counts() == {"picky": 3}
    shop.end()


def test_a_message_published_again_into_a_waiting_queue_runs_again(shop: ShopSystem) -> None:
    """It was acknowledged, and its copy comes from a queue that lets it expire."""
    shop.queue()
    # RabbitMQ tells passages of one kind by their second, and these come within one.
    shop.queue(WAIT, **back_after(100))
    shop.consumer("plain")
    shop.send({"order": "1"}, message_id="order-1")
    for runs in (1, 2, 3):
        wait_until("it ran", partial(has_settled, shop, "order-1", runs))
        shop.send({"order": "1"}, WAIT, message_id="order-1")
    wait_until("it ran", lambda: settled(shop, "order-1") == 4)
    shop.wait_for_empty(QUEUE, WAIT)
    assert shop.journal.counts() == {"plain": 4}
    shop.end()


def test_a_name_of_250_bytes_stops_no_consumer(shop: ShopSystem) -> None:
    name = "n" * 250
    shop.queue()
    shop.journal.close_gate("plain")
    dying = shop.consumer("plain")
    shop.send({"order": "1"}, message_id=name)
    shop.wait_for_run("plain")
    dying.kill()
    shop.journal.open_gate("plain")
    shop.consumer("plain")
    assert shop.outcome(name) == "done 1"
    shop.wait_for_empty()
    assert shop.journal.counts() == {"plain": 2}
    shop.end()


def test_what_a_queue_drops_at_its_delivery_limit_ends_visibly_and_no_message_loops_hot(
    shop: ShopSystem,
) -> None:
    """The pause between deliveries grows, for a consumer that takes a killed one's place too; the
    dropped message's promise does not stay pending."""
    limited: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 3}
    shop.queue(QUEUE, **limited)
    dying = shop.consumer("stubborn", hold_max=4)
    shop.send({"order": "1"}, message_id="order-1")
    shop.wait_for_run("stubborn", 2)
    dying.kill()
    shop.consumer("stubborn", hold_max=4)
    shop.wait_for_run("stubborn", 4)
    at = [run.at for run in shop.journal.runs("stubborn")]
    assert at[3] - at[2] >= 2
    (execution,) = shop.executions("order-1")
    wait_until("it ends", lambda: shop.executions("order-1")[0][1] == "rejected", 30)
    assert "came too late" in shop.run("promises", "get", execution[0])
    shop.wait_for_empty()
    shop.end()


def test_a_first_start_says_nothing_that_alarms(shop: ShopSystem) -> None:
    """Queues that are looked for and not there yet are no failure."""
    shop.wait_for_ledger()
    shop.queue()
    consumer = shop.consumer("plain")
    shop.publish("order-1")
    shop.outcome("order-1")
    for word in ("NOT_FOUND", "WARNING", "ERROR"):
        assert word not in logged(consumer)
    shop.wait_for_empty()
    shop.end()
