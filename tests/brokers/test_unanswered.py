"""A queue that answers nobody: it is asked again on another channel, and nothing piles up."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.brokers.rabbitmq.consumers import MOST_ABANDONED
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.ports import ConsumerLost, Consuming, Disconnected, Inspected, Opened
from resonate_amqp.wire.topology import Queue
from tests.brokers.party import Party

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    with PrivateBroker(tmp_path_factory.mktemp("node")) as started:
        yield started


class Mute:
    """The queue `work` of a virtual host, whose process takes no more requests for now.

    So does a quorum queue without a leader.
    """

    def __init__(self, node: PrivateBroker, answer_within_s: float) -> None:
        self._node = node
        url = node.new_vhost()
        self._vhost = urlsplit(url).path.removeprefix("/")
        self.party = Party(RabbitBroker(url, answer_within_s=answer_within_s), [])
        self.party.await_event(Opened)

    def suspend(self) -> None:
        self._tell("suspend")

    def resume(self) -> None:
        self._tell("resume")

    def _tell(self, what: str) -> None:
        name = f'rabbit_misc:r(<<"{self._vhost}">>, queue, <<"{WORK.name}">>)'
        found = f"{{ok, Q}} = rabbit_amqqueue:lookup({name})"
        self._node.control("eval", f"{found}, sys:{what}(amqqueue:get_pid(Q)).")


@pytest.fixture
def mute(node: PrivateBroker) -> Iterator[Mute]:
    made = Mute(node, 0.3)
    made.party.declare(WORK)
    made.suspend()
    yield made
    made.party.close()


def test_a_consumer_that_is_not_confirmed_counts_as_lost_and_is_had_on_another_channel(
    mute: Mute,
) -> None:
    party = mute.party
    party.broker.consume(WORK, prefetch=1)
    lost = party.await_event(ConsumerLost)
    assert (lost.queue, "did not answer within 0.3 s" in lost.reason) == (WORK.name, True)
    party.broker.consume(WORK, prefetch=1)
    party.await_event(ConsumerLost, 2)
    mute.resume()
    party.forget()
    party.consume(WORK, prefetch=1)
    party.publish(WORK.name, b"1", b"2")
    assert party.bodies(WORK.name, 1) == [b"1"]
    party.barrier()
    assert len(party.seen(WORK.name)) == 1, "an abandoned channel takes messages"


def test_a_consumer_that_is_confirmed_in_time_is_left_alone(node: PrivateBroker) -> None:
    party = Mute(node, 0.2).party
    party.consume(WORK, prefetch=1)
    for prefetch in (2, 3):
        party.broker.consume(WORK, prefetch=prefetch)
        party.await_event(Consuming, prefetch)
    party.broker.cancel(WORK.name)
    for _ in range(10):
        party.poll(50)
    assert party.all(ConsumerLost) == []
    party.close()


def test_a_queue_that_does_not_answer_is_measured_once(mute: Mute) -> None:
    party = mute.party
    for _ in range(5):
        party.broker.inspect(WORK.name)
        party.broker.inspect("other")
        party.poll()
    party.until(lambda: Inspected("other", None) in party.events)
    assert [one for one in party.all(Inspected) if one.queue == WORK.name] == []
    mute.resume()
    party.until(lambda: Inspected(WORK.name, 0) in party.events)
    assert len([one for one in party.all(Inspected) if one.queue == WORK.name]) == 1


def test_a_connection_is_given_up_before_it_runs_out_of_channels(node: PrivateBroker) -> None:
    mute = Mute(node, 0.02)
    party = mute.party
    party.declare(WORK)
    mute.suspend()
    for number in range(MOST_ABANDONED):
        party.broker.consume(WORK, prefetch=1)
        party.await_event(ConsumerLost, number + 1)
    party.await_event(Disconnected)
    mute.resume()
    party.await_event(Opened, 2)
    party.close()
