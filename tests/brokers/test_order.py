"""The order in which one turn reaches the broker: what was published, then what it lets go of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pika import spec

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.ports import Consuming, Delivery, Disconnected, Event, Opened
from resonate_amqp.wire.topology import Queue
from tests.brokers.party import Party
from tests.brokers.peer import Peer

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))
MOST_TURNS = 500


class Pair:
    """A RabbitBroker and its peer, each turned by hand."""

    def __init__(self) -> None:
        self.peer = Peer()
        self.party = Party(RabbitBroker(self.peer.url), [])

    def until_seen(self, kind: type[Event]) -> None:
        for _ in range(MOST_TURNS):
            if self.party.all(kind):
                return
            self.peer.turn()
            self.party.poll(1)
        raise AssertionError(f"no {kind.__name__}; seen: {self.party.events}")

    def close(self) -> None:
        """The peer hangs up first, since it cannot answer while the broker waits for its end."""
        self.peer.close()
        for _ in range(MOST_TURNS):
            if len(self.party.all(Disconnected)) == 2:
                break
            self.party.poll(1)
        self.party.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    made.until_seen(Opened)
    made.party.broker.consume(WORK, prefetch=10)
    made.until_seen(Consuming)
    yield made
    made.close()


@pytest.mark.parametrize("more", [b"", b"2"], ids=["nothing else", "while more comes"])
@pytest.mark.parametrize("leaves_by", ["poll", "flush"])
def test_what_was_published_leaves_before_the_acknowledgement_that_follows_it(
    pair: Pair, more: bytes, leaves_by: str
) -> None:
    """A process that is killed between the two has answered, and is asked again."""
    broker = pair.party.broker
    consuming = pair.peer.connection("consume")
    consuming.deliver(b"1")
    pair.until_seen(Delivery)
    if more:
        consuming.deliver(more)
    broker.publish("answers", b"done")
    broker.ack(pair.party.all(Delivery))
    with pair.peer.order_of_sends() as sent:
        broker.poll(0) if leaves_by == "poll" else broker.flush()
    assert sent == ["publish", "consume"]
    pair.peer.turn()
    assert isinstance(pair.peer.connection("publish").methods[-1], spec.Basic.Publish)
    assert isinstance(consuming.methods[-1], spec.Basic.Ack)
