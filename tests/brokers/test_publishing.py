"""What every broker promises of a publish: it arrives, or the publisher hears of it."""

from __future__ import annotations

import pytest

from resonate_amqp.ports import Unconfirmed
from resonate_amqp.wire.address import DEAD_QUEUE, EXCHANGE, shard_key
from resonate_amqp.wire.topology import (
    Queue,
    ledger_objects,
    ledger_queue,
)
from tests.brokers.party import Party

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))
SINGLE = ledger_queue(0)


def test_a_token_is_confirmed(party: Party) -> None:
    party.declare(WORK)
    for token in (7, 8, 2**40):
        party.broker.publish("work", b"", persistent=True, mandatory=True, token=token)
    party.until(lambda: party.confirmed() == {7, 8, 2**40})
    assert party.unconfirmed() == set()


def test_an_unroutable_message_with_a_token_names_token_and_key(party: Party) -> None:
    party.declare(WORK)
    party.broker.publish("work", b"", mandatory=True, token=1)
    party.broker.publish("nowhere", b"", mandatory=True, token=2)
    party.broker.publish("work", b"", mandatory=True, token=3)
    party.until(lambda: party.confirmed() | party.unconfirmed() == {1, 2, 3})
    assert party.confirmed() == {1, 3}
    assert party.all(Unconfirmed) == [Unconfirmed((2,), "nowhere")]


def test_an_unroutable_message_without_a_token_names_its_key(party: Party) -> None:
    party.broker.publish("nowhere", b"", mandatory=True)
    assert party.await_event(Unconfirmed) == Unconfirmed((), "nowhere")


def test_an_unroutable_message_that_need_not_arrive_is_confirmed(party: Party) -> None:
    party.broker.publish("nowhere", b"", token=1)
    party.until(lambda: party.confirmed() == {1})


@pytest.mark.parametrize("mandatory", [True, False])
def test_a_missing_exchange_is_reported_without_a_token(party: Party, mandatory: bool) -> None:
    party.consume(WORK)
    party.broker.publish("00", b"", exchange=EXCHANGE, mandatory=mandatory)
    lost = party.await_event(Unconfirmed)
    assert lost.tokens == ()
    assert lost.unroutable
    party.until(party.broker.connected)
    party.broker.publish("work", b"next")
    assert party.bodies("work", 1) == [b"next"]


def test_a_missing_exchange_is_reported_with_the_token(party: Party) -> None:
    """A message that was to be kept must not pass for kept."""
    party.consume(WORK)
    party.broker.publish("00", b"", exchange=EXCHANGE, persistent=True, token=5)
    party.until(lambda: party.unconfirmed() == {5})
    party.until(party.broker.connected)
    party.publish("work", b"next")
    assert party.bodies("work", 1) == [b"next"]
    assert 5 not in party.confirmed()


def test_the_exchange_leads_every_shard_to_the_ledger_queue(party: Party) -> None:
    party.broker.declare(*ledger_objects(0))
    party.consume(SINGLE, prefetch=100)
    party.consume(Queue(DEAD_QUEUE))
    for promise_id in ("a", "b", "order-42:1.2"):
        key = shard_key(promise_id)
        party.broker.publish(key, promise_id.encode(), exchange=EXCHANGE, mandatory=True)
    party.broker.publish("dead", b"bad", exchange=EXCHANGE, mandatory=True)
    assert party.bodies(SINGLE.name, 3) == [b"a", b"b", b"order-42:1.2"]
    assert party.bodies(DEAD_QUEUE, 1) == [b"bad"]
    assert party.all(Unconfirmed) == []


def test_a_key_without_a_binding_is_unroutable(party: Party) -> None:
    party.broker.declare(*ledger_objects(0))
    party.consume(SINGLE)
    party.broker.publish("zz", b"", exchange=EXCHANGE, mandatory=True, token=1)
    assert party.await_event(Unconfirmed) == Unconfirmed((1,), "zz")
