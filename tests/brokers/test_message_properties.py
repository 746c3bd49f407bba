"""What every broker promises of what stands beside a message's body."""

from __future__ import annotations

from resonate_amqp.ports import Unconfirmed
from resonate_amqp.wire.properties import Properties
from resonate_amqp.wire.topology import Queue
from tests.brokers.party import Party

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))


def test_what_stands_beside_the_body_travels_with_the_message(party: Party) -> None:
    headers = {
        "text": "café",
        "none": None,
        "yes": True,
        "far": -(2**63),
        "list": ["a", 1, None],
        "table": {"deep": {"er": [1]}},
    }
    properties = Properties(correlation_id="order-1:2", message_id="m", priority=3, headers=headers)
    party.consume(WORK)
    party.broker.publish("work", b"", token=7, properties=properties)
    delivery = party.deliveries("work", 1)[0]
    assert delivery.correlation_id == "order-1:2"
    assert delivery.headers == headers
    party.until(lambda: party.confirmed() == {7})


def test_a_returned_message_with_an_id_of_its_own_is_told_by_its_token(party: Party) -> None:
    """The id of the message is somebody else's, and may be the same for several."""
    properties = Properties(message_id="order-1", expiration=60_000)
    party.declare(WORK)
    for token, queue in ((1, "nowhere"), (2, "work")):
        party.broker.publish(
            queue, b"", persistent=True, mandatory=True, token=token, properties=properties
        )
    party.until(lambda: party.confirmed() == {2} and party.unconfirmed() == {1})
    assert party.all(Unconfirmed) == [Unconfirmed((1,), "nowhere")]
