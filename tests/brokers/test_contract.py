"""What every broker promises, whatever carries the messages."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from resonate_amqp.ports import ConsumerLost, Consuming, Opened, Refused, Unconfirmed
from resonate_amqp.wire.address import EXCHANGE
from resonate_amqp.wire.topology import (
    Exchange,
    Queue,
    ledger_queue,
    reply_queue,
    target_queue,
)
from tests.brokers.party import Party, Site

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))
QUORUM = target_queue("poll://any@billing", "quorum")
REPLIES = reply_queue("billing", "p1", "e1")
SINGLE = ledger_queue(0)


def test_both_connections_are_up_once_opened_is_reported(party: Party) -> None:
    assert party.all(Opened) == [Opened(1)]
    assert party.broker.connected()


@pytest.mark.parametrize("queue", [WORK, QUORUM], ids=["classic", "quorum"])
def test_what_is_published_is_delivered_in_order(party: Party, queue: Queue) -> None:
    bodies = [str(number).encode() for number in range(20)]
    party.consume(queue, prefetch=20)
    party.publish(queue.name, *bodies)
    deliveries = party.deliveries(queue.name, 20)
    assert [delivery.body for delivery in deliveries] == bodies
    assert not any(delivery.redelivered for delivery in deliveries)
    assert {delivery.queue for delivery in deliveries} == {queue.name}


def test_what_was_published_before_anybody_consumed_waits(site: Site, party: Party) -> None:
    party.declare(WORK)
    party.publish("work", b"1", b"2")
    assert site.depth("work") == 2
    other = site.connect()
    other.consume(WORK)
    assert other.bodies("work", 2) == [b"1", b"2"]


def test_the_address_for_the_answer_travels_with_the_message(party: Party) -> None:
    party.consume(WORK)
    party.broker.publish("work", b"", reply_to="resonate.reply.a.b.c")
    assert party.deliveries("work", 1)[0].reply_to == "resonate.reply.a.b.c"


def test_no_more_than_prefetch_are_under_way(party: Party) -> None:
    party.consume(WORK, prefetch=2)
    party.publish("work", b"1", b"2", b"3", b"4")
    first, _ = party.deliveries("work", 2)
    party.barrier()
    assert len(party.seen("work")) == 2
    party.broker.ack([first])
    party.deliveries("work", 3)
    party.barrier()
    assert len(party.seen("work")) == 3


def test_what_was_acknowledged_does_not_come_again(site: Site, party: Party) -> None:
    party.consume(WORK)
    party.publish("work", b"1", b"2", b"3")
    first, second, third = party.deliveries("work", 3)
    party.broker.ack([third, first])
    party.broker.leave("work")
    other = site.connect()
    other.consume(WORK)
    assert [one.body for one in other.deliveries("work", 1)] == [second.body]
    other.barrier()
    assert len(other.seen("work")) == 1


@pytest.mark.parametrize("queue", [WORK, QUORUM], ids=["classic", "quorum"])
def test_what_is_given_back_comes_again_flagged(party: Party, queue: Queue) -> None:
    party.consume(queue, prefetch=1)
    party.publish(queue.name, b"1")
    party.broker.give_back(party.deliveries(queue.name, 1)[0])
    again = party.deliveries(queue.name, 2)[1]
    assert again.body == b"1"
    assert again.redelivered
    assert again.redeliveries in (-1, 1)


def test_leaving_a_queue_returns_every_unacknowledged_delivery(site: Site, party: Party) -> None:
    """The lease of a worker that leaves ends at once, and in the order of the queue."""
    party.consume(WORK, prefetch=3)
    party.publish("work", b"1", b"2", b"3", b"4")
    party.deliveries("work", 3)
    other = site.connect()
    other.consume(WORK, prefetch=10)
    party.broker.leave("work")
    party.barrier()
    other.until(lambda: len(other.seen("work")) == 4)
    found = {delivery.body: delivery.redelivered for delivery in other.seen("work")}
    assert found == {b"1": True, b"2": True, b"3": True, b"4": False}


def test_returned_deliveries_come_before_what_is_behind_them(site: Site, party: Party) -> None:
    """Under a single active consumer a rival must see the requests in the order they were made."""
    party.broker.declare(Exchange(EXCHANGE))
    party.consume(SINGLE, prefetch=2)
    rival = site.connect()
    rival.consume(SINGLE, prefetch=10)
    party.publish(SINGLE.name, b"1", b"2", b"3", b"4")
    party.deliveries(SINGLE.name, 2)
    party.broker.leave(SINGLE.name)
    party.barrier()
    assert rival.bodies(SINGLE.name, 4) == [b"1", b"2", b"3", b"4"]


def test_a_left_queue_delivers_nothing_more(party: Party) -> None:
    party.consume(WORK, prefetch=500)
    party.publish("work", *(str(number).encode() for number in range(200)))
    party.broker.leave("work")
    party.forget()
    party.barrier()
    assert party.seen("work") == []


def test_a_left_queue_can_be_consumed_again_at_once(party: Party) -> None:
    party.consume(WORK)
    party.publish("work", b"1")
    party.deliveries("work", 1)
    party.forget()
    party.broker.leave("work")
    party.consume(WORK)
    again = party.deliveries("work", 1)[0]
    assert again.redelivered
    party.broker.ack([again])
    party.publish("work", b"2")
    assert party.deliveries("work", 2)[1].body == b"2"
    assert party.all(ConsumerLost) == []


def test_a_queue_left_before_its_consumer_stands_is_not_consumed(site: Site, party: Party) -> None:
    party.broker.consume(WORK, prefetch=10)
    party.broker.leave("work")
    party.barrier()
    party.forget()
    other = site.connect()
    other.consume(WORK)
    other.publish("work", b"1", b"2")
    assert other.bodies("work", 2) == [b"1", b"2"]
    party.barrier()
    assert party.seen("work") == []


def test_a_canceled_consumer_keeps_what_it_has(site: Site, party: Party) -> None:
    party.consume(WORK, prefetch=2)
    party.publish("work", b"1", b"2", b"3")
    first, second = party.deliveries("work", 2)
    party.broker.cancel("work")
    party.barrier()
    other = site.connect()
    other.consume(WORK)
    assert other.bodies("work", 1) == [b"3"]
    party.broker.ack([first])
    party.broker.give_back(second)
    again = other.deliveries("work", 2)[1]
    assert (again.body, again.redelivered) == (b"2", True)


def test_a_queue_canceled_before_its_consumer_stands_is_not_consumed(
    site: Site, party: Party
) -> None:
    party.broker.consume(WORK, prefetch=10)
    party.broker.cancel("work")
    party.barrier()
    party.forget()
    other = site.connect()
    other.consume(WORK)
    other.publish("work", b"1", b"2")
    assert other.bodies("work", 2) == [b"1", b"2"]
    party.barrier()
    assert party.seen("work") == []


def test_consuming_twice_is_consuming_once(party: Party) -> None:
    party.consume(WORK, prefetch=1)
    party.broker.consume(WORK, prefetch=1)
    party.barrier()
    party.publish("work", b"1", b"2")
    party.barrier()
    assert len(party.seen("work")) == 1


@pytest.mark.parametrize("queue", [WORK, QUORUM], ids=["classic", "quorum"])
def test_a_lowered_prefetch_counts_what_is_held_already(party: Party, queue: Queue) -> None:
    party.consume(queue, prefetch=4)
    party.publish(queue.name, *(str(number).encode() for number in range(12)))
    held = party.deliveries(queue.name, 4)
    party.broker.consume(queue, prefetch=2)
    party.barrier()
    for _ in range(2):
        party.broker.ack([held.pop()])
        party.barrier()
    assert len(party.seen(queue.name)) == 4
    party.broker.ack([held.pop()])
    held += party.deliveries(queue.name, 5)[4:]
    party.barrier()
    assert len(party.seen(queue.name)) == 5
    party.broker.consume(queue, prefetch=5)
    party.deliveries(queue.name, 8)
    party.barrier()
    assert len(party.seen(queue.name)) == 8


@pytest.mark.parametrize("queue", [WORK, QUORUM], ids=["classic", "quorum"])
def test_a_prefetch_changed_under_load_is_the_most_that_is_held(party: Party, queue: Queue) -> None:
    """Whatever was delivered before a change, everything comes once, and never too much."""
    party.consume(queue, prefetch=8)
    party.publish(queue.name, *(str(number).encode() for number in range(200)))
    settled = 0
    for limit in (3, 8, 2, 1, 4, 8):
        party.broker.consume(queue, prefetch=limit)
        party.barrier()
        for _ in range(30):
            party.deliveries(queue.name, settled + 1)
            party.broker.ack([party.seen(queue.name)[settled]])
            settled += 1
        party.barrier()
        assert len(party.seen(queue.name)) - settled <= limit
    while settled < 200:
        party.deliveries(queue.name, settled + 1)
        party.broker.ack([party.seen(queue.name)[settled]])
        settled += 1
    assert sorted(int(one.body) for one in party.seen(queue.name)) == list(range(200))


def test_a_reply_queue_goes_with_its_connection(site: Site, party: Party) -> None:
    party.consume(REPLIES, auto_ack=True)
    other = site.connect()
    other.broker.publish(REPLIES.name, b"1", mandatory=True)
    assert party.bodies(REPLIES.name, 1) == [b"1"]
    party.close()
    other.broker.publish(REPLIES.name, b"2", mandatory=True)
    assert other.await_event(Unconfirmed) == Unconfirmed((), REPLIES.name)


def test_deliveries_that_need_no_acknowledgement_are_not_bounded(party: Party) -> None:
    party.consume(REPLIES, prefetch=0, auto_ack=True)
    party.publish(REPLIES.name, b"1", b"2", b"3")
    deliveries = party.deliveries(REPLIES.name, 3)
    party.broker.ack(deliveries)
    party.broker.give_back(deliveries[0])
    party.barrier()
    assert len(party.seen(REPLIES.name)) == 3


def test_looking_for_a_missing_queue_is_refused_and_creates_nothing(
    site: Site, party: Party
) -> None:
    party.broker.declare(WORK, passive=True)
    refused = party.await_event(Refused)
    assert refused.queue == "work"
    assert refused.reason
    party.broker.publish("work", b"", mandatory=True)
    assert party.await_event(Unconfirmed).unroutable == "work"


def test_a_queue_that_somebody_else_has_to_make_is_consumed_once_it_is_there(
    party: Party,
) -> None:
    party.broker.consume(WORK, prefetch=1, passive=True)
    assert party.await_event(Refused).queue == "work"
    party.broker.publish("work", b"", mandatory=True)
    assert party.await_event(Unconfirmed).unroutable == "work"
    party.declare(WORK)
    party.broker.consume(WORK, prefetch=1, passive=True)
    party.publish("work", b"1")
    assert party.bodies("work", 1) == [b"1"]


def test_looking_goes_on_behind_what_is_missing(party: Party) -> None:
    party.declare(WORK)
    missing = Queue("missing")
    party.broker.declare(Exchange("no.exchange"), WORK, missing, passive=True)
    party.await_event(Refused, 2)
    assert {event.queue for event in party.all(Refused)} == {"no.exchange", "missing"}


def test_an_existing_queue_with_other_arguments_is_used_as_it_is(site: Site, party: Party) -> None:
    """Redeclaring it would fail, and the operator's arguments are the operator's."""
    party.declare(WORK)
    party.publish("work", b"1")
    other = replace(WORK, durable=True, arguments=(("x-queue-type", "quorum"),))
    party.broker.declare(other)
    party.consume(other)
    assert party.bodies("work", 1) == [b"1"]
    assert party.all(Refused) == []


def test_a_queue_deleted_under_its_consumer_is_a_lost_consumer(site: Site, party: Party) -> None:
    party.consume(WORK)
    party.publish("work", b"1")
    stale = party.deliveries("work", 1)[0]
    site.delete("work")
    lost = party.await_event(ConsumerLost)
    assert lost.queue == "work"
    assert lost.reason
    party.forget()
    party.consume(WORK)
    party.broker.ack([stale])
    party.publish("work", b"2")
    assert party.bodies("work", 1) == [b"2"]
    assert party.all(ConsumerLost) == []


def test_a_single_active_consumer_is_followed_by_the_next(site: Site, party: Party) -> None:
    party.broker.declare(Exchange(EXCHANGE))
    party.consume(SINGLE, prefetch=1)
    rival = site.connect()
    rival.consume(SINGLE)
    party.publish(SINGLE.name, b"1", b"2")
    assert party.bodies(SINGLE.name, 1) == [b"1"]
    rival.barrier()
    assert rival.seen(SINGLE.name) == []
    party.close()
    first, second = rival.deliveries(SINGLE.name, 2)
    assert (first.body, first.redelivered) == (b"1", True)
    assert (second.body, second.redelivered) == (b"2", False)


def test_a_delivery_of_an_earlier_channel_is_let_go_silently(party: Party) -> None:
    party.consume(WORK, prefetch=1)
    party.publish("work", b"1")
    stale = party.deliveries("work", 1)[0]
    party.broker.leave("work")
    party.forget()
    party.consume(WORK, prefetch=1)
    party.broker.ack([stale])
    party.broker.give_back(stale)
    again = party.deliveries("work", 1)[0]
    assert again.body == b"1"
    party.broker.ack([again, stale, again])
    party.barrier()
    party.publish("work", b"2")
    assert party.bodies("work", 2) == [b"1", b"2"]
    assert party.all(ConsumerLost) == []


def test_wake_ends_a_poll_from_another_thread(party: Party) -> None:
    party.barrier()
    party.poll(0)
    began = time.monotonic()
    waking = threading.Event()

    def wake() -> None:
        waking.set()
        party.broker.wake()

    thread = threading.Timer(0.05, wake)
    thread.start()
    while not waking.is_set():
        party.broker.poll(5_000)
    assert time.monotonic() < began + 2
    thread.join()


def test_a_poll_ends_when_its_time_is_over(party: Party) -> None:
    party.barrier()
    party.poll(0)
    began = time.monotonic()
    deadline = began + 5
    while time.monotonic() < began + 0.1:
        party.broker.poll(50)
    assert time.monotonic() < deadline


def test_closing_sends_what_was_published_before(site: Site, party: Party) -> None:
    other = site.connect()
    other.declare(WORK)
    for number in range(50):
        party.broker.publish("work", str(number).encode() * 1000, persistent=True)
    party.close()
    other.until(lambda: site.depth("work") == 50)


def test_after_closing_nothing_is_connected(party: Party) -> None:
    party.consume(WORK)
    party.close()
    assert not party.broker.connected()


def test_a_consumer_is_confirmed_by_name(party: Party) -> None:
    party.consume(WORK)
    party.consume(REPLIES, auto_ack=True)
    assert {event.queue for event in party.all(Consuming)} == {"work", REPLIES.name}
