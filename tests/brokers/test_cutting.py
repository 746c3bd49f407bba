"""Losing both connections without a word: what every broker does, whatever carries the messages."""

from __future__ import annotations

from resonate_amqp.ports import ConsumerLost, Disconnected, Opened
from resonate_amqp.wire.topology import Queue
from tests.brokers.party import Party, Site

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))
TOKEN = 7


def test_what_a_cut_process_held_comes_to_another_flagged(site: Site, party: Party) -> None:
    party.consume(WORK, prefetch=1)
    party.publish("work", b"1", b"2")
    stale = party.deliveries("work", 1)[0]
    other = site.connect()
    other.consume(WORK)
    party.broker.abort()
    party.broker.ack([stale])
    found = {delivery.body: delivery.redelivered for delivery in other.deliveries("work", 2)}
    assert found == {b"1": True, b"2": False}


def test_a_cut_process_hears_of_it_and_comes_back_by_itself(party: Party) -> None:
    party.consume(WORK)
    party.forget()
    party.broker.abort()
    assert party.await_event(Disconnected).reason
    assert party.await_event(ConsumerLost).queue == "work"
    assert party.await_event(Opened) == Opened(2)
    assert party.broker.connected()
    party.consume(WORK)
    party.publish("work", b"1")
    assert party.bodies("work", 1) == [b"1"]


def test_what_is_published_after_a_cut_is_not_confirmed(site: Site, party: Party) -> None:
    party.declare(WORK)
    party.broker.abort()
    party.broker.publish("work", b"1", persistent=True, token=TOKEN)
    party.until(lambda: TOKEN in party.unconfirmed())
    assert TOKEN not in party.confirmed()
    assert site.depth("work") == 0


def test_what_was_flushed_arrives_though_a_cut_follows(site: Site, party: Party) -> None:
    other = site.connect()
    other.consume(WORK)
    party.broker.publish("work", b"1", persistent=True)
    party.broker.flush()
    party.broker.abort()
    assert other.bodies("work", 1) == [b"1"]


def test_cutting_twice_is_cutting_once(party: Party) -> None:
    party.broker.abort()
    party.broker.abort()
    assert party.await_event(Opened, 2) == Opened(2)
    party.broker.abort()
    assert party.await_event(Opened, 3) == Opened(3)
