"""The in-process broker's own: what may go wrong is arranged, and goes wrong the same each time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from resonate_amqp.brokers.faults import Fate
from resonate_amqp.brokers.memory import MemoryBroker, MemoryConnection
from resonate_amqp.ports import (
    ConsumerLost,
    Delivery,
    Disconnected,
    Event,
    Opened,
    Unconfirmed,
)
from resonate_amqp.wire.topology import Exchange, Queue, reply_queue

WORK = Queue("work")
OTHER = Queue("other")


def bodies(events: Sequence[Event]) -> list[bytes]:
    return [event.body for event in events if isinstance(event, Delivery)]


def consuming(broker: MemoryBroker, queue: Queue = WORK, prefetch: int = 100) -> MemoryConnection:
    connection = broker.connect()
    connection.consume(queue, prefetch=prefetch)
    connection.poll(0)
    return connection


def by_body(**fates: Fate) -> MemoryBroker:
    """A broker on which a message has the fate that its body names."""
    return MemoryBroker(lambda _queue, body, _: fates.get(body.decode(), Fate.DELIVER))


def test_a_dropped_message_never_arrives_and_is_confirmed_all_the_same() -> None:
    broker = by_body(gone=Fate.DROP)
    connection = consuming(broker)
    connection.publish("work", b"gone", token=1)
    connection.publish("work", b"here")
    assert bodies(connection.poll(0)) == [b"here"]


def test_a_duplicated_message_arrives_twice_as_two_deliveries() -> None:
    connection = consuming(by_body(twice=Fate.DUPLICATE))
    connection.publish("work", b"twice")
    first, second = (event for event in connection.poll(0) if isinstance(event, Delivery))
    assert first.body == second.body == b"twice"
    connection.ack([first])
    connection.give_back(second)
    assert bodies(connection.poll(0)) == [b"twice"]


def test_a_delayed_message_is_overtaken_until_it_is_released() -> None:
    broker = by_body(late=Fate.DELAY)
    connection = consuming(broker)
    for body in (b"late", b"1", b"2"):
        connection.publish("work", body)
    assert bodies(connection.poll(0)) == [b"1", b"2"]
    broker.release()
    assert bodies(connection.poll(0)) == [b"late"]
    broker.release()
    assert bodies(connection.poll(0)) == []


def test_a_message_delayed_past_the_end_of_its_queue_is_gone() -> None:
    broker = by_body(late=Fate.DELAY)
    connection = consuming(broker)
    connection.publish("work", b"late")
    broker.delete("work")
    broker.release()
    assert "work" not in broker.queues()


def test_faults_see_queue_body_and_whether_it_is_kept() -> None:
    asked: list[tuple[str, bytes, bool]] = []

    def faults(queue: str, body: bytes, persistent: bool) -> Fate:
        asked.append((queue, body, persistent))
        return Fate.DELIVER

    broker = MemoryBroker(faults)
    connection = consuming(broker)
    connection.publish("work", b"1", persistent=True)
    connection.publish("work", b"2")
    connection.publish("nowhere", b"3")
    assert asked == [("work", b"1", True), ("work", b"2", False)]


def test_a_cut_connection_loses_consumers_deliveries_and_reply_queue() -> None:
    broker = MemoryBroker()
    replies = reply_queue("g", "p", "e")
    connection = consuming(broker)
    connection.consume(replies, prefetch=0, auto_ack=True)
    connection.publish("work", b"1")
    [held] = (event for event in connection.poll(0) if isinstance(event, Delivery))
    connection.publish("work", b"2")
    connection.cut()
    events = connection.poll(0)
    assert bodies(events) == []
    assert isinstance(events[0], Disconnected)
    assert {one.queue for one in events if isinstance(one, ConsumerLost)} == {
        "work",
        replies.name,
    }
    assert not connection.connected()
    assert broker.bodies("work") == [b"1", b"2"]
    assert broker.queues() == ["work"]
    connection.ack([held])
    assert broker.depth("work") == 2


def test_nothing_is_sent_or_consumed_while_the_connection_is_cut() -> None:
    broker = MemoryBroker()
    connection = consuming(broker)
    connection.cut()
    connection.poll(0)
    connection.publish("work", b"1")
    connection.publish("work", b"2", token=5)
    connection.consume(WORK, prefetch=1)
    assert connection.poll(0) == [Unconfirmed((5,))]
    assert broker.depth("work") == 0


def test_each_connection_after_a_cut_has_a_higher_epoch() -> None:
    broker = MemoryBroker()
    connection = consuming(broker, prefetch=1)
    connection.publish("work", b"1")
    connection.poll(0)
    for epoch in (2, 3):
        connection.cut()
        connection.poll(0)
        connection.reconnect()
        assert connection.poll(0) == [Opened(epoch)]
        connection.consume(WORK, prefetch=1)
        [again] = (event for event in connection.poll(0) if isinstance(event, Delivery))
        assert (again.body, again.redelivered, again.redeliveries) == (b"1", True, epoch - 1)


def test_what_a_queue_hands_out_while_a_connection_closes_is_not_lost() -> None:
    """Another thread may publish between the end of a connection and the end of its consumers."""

    class Busy(MemoryBroker):
        def leave(self, *arguments: object) -> None:
            publisher.publish("work", b"late")
            super().leave(*arguments)  # type: ignore[arg-type]  # handed on as they came

    broker = Busy()
    publisher = broker.connect()
    connection = consuming(broker)
    connection.close()
    assert broker.bodies("work") == [b"late"]


def test_what_a_queue_hands_out_while_its_consumer_leaves_is_not_lost() -> None:
    class Busy(MemoryBroker):
        def unsubscribe(self, *arguments: object) -> None:
            publisher.publish("work", b"late")
            super().unsubscribe(*arguments)  # type: ignore[arg-type]  # handed on as they came

    broker = Busy()
    publisher = broker.connect()
    connection = consuming(broker)
    connection.leave("work")
    assert broker.bodies("work") == [b"late"]
    assert bodies(connection.poll(0)) == []


def test_a_reroute_sends_every_queue_of_a_prefix_to_one() -> None:
    broker = MemoryBroker(reroute={"resonate.any.": "work"})
    connection = consuming(broker)
    connection.publish("resonate.any.billing", b"1", mandatory=True)
    connection.publish("resonate.uni.billing.p", b"2", mandatory=True, token=2)
    assert connection.poll(0)[1:] == [Unconfirmed((2,), "resonate.uni.billing.p")]
    broker.declare(Exchange("x"), connection, passive=False)
    connection.publish("resonate.any.billing", b"3", exchange="x", mandatory=True)
    assert connection.poll(0) == [Unconfirmed((), "resonate.any.billing")]


def test_consumers_of_one_queue_take_turns() -> None:
    broker = MemoryBroker()
    first, second = consuming(broker), consuming(broker)
    for body in (b"1", b"2", b"3", b"4"):
        first.publish("work", body)
    assert bodies(first.poll(0)) == [b"1", b"3"]
    assert bodies(second.poll(0)) == [b"2", b"4"]


def _story(seed: int) -> list[list[tuple[type[Event], bytes]]]:
    """Everything two consumers see under random faults, acknowledgements and cuts."""
    chance = random.Random(seed)
    broker = MemoryBroker(lambda *_: chance.choice(list(Fate)))
    parties = [consuming(broker, prefetch=3), consuming(broker, prefetch=3)]
    publisher = broker.connect()
    seen: list[list[tuple[type[Event], bytes]]] = []
    for number in range(200):
        publisher.publish("work", str(number).encode(), token=number + 1)
        party = chance.choice(parties)
        events = party.poll(0)
        seen.append([(type(event), getattr(event, "body", b"")) for event in events])
        for event in events:
            if isinstance(event, Delivery):
                if chance.random() < 0.5:
                    party.give_back(event)
                else:
                    party.ack([event])
        if chance.random() < 0.05:
            party.cut()
            party.reconnect()
            party.consume(WORK, prefetch=3)
        if chance.random() < 0.1:
            broker.release()
    return seen


def test_the_same_faults_give_the_same_story() -> None:
    assert _story(7) == _story(7)
    assert _story(7) != _story(8)


def test_whatever_happens_an_acknowledged_message_is_all_that_leaves_a_queue() -> None:
    chance = random.Random(1)
    broker = MemoryBroker()
    publisher = broker.connect()
    parties = [consuming(broker, prefetch=2) for _ in range(3)]
    acked: list[bytes] = []
    for number in range(300):
        publisher.publish("work", str(number).encode())
        party = chance.choice(parties)
        for event in party.poll(0):
            if isinstance(event, Delivery):
                fate = chance.random()
                if fate < 0.5:
                    acked.append(event.body)
                    party.ack([event])
                elif fate < 0.7:
                    party.give_back(event)
                elif fate < 0.8:
                    party.leave("work")
                    party.consume(WORK, prefetch=2)
                    break
        if chance.random() < 0.05:
            party.cut()
            party.reconnect()
            party.consume(WORK, prefetch=2)
    for party in parties:
        party.close()
    assert sorted(acked + broker.bodies("work")) == sorted(str(n).encode() for n in range(300))
