"""What is asked again until it is answered: when, and on a new reply queue at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import PromiseRegisterListener
from resonate_amqp.errors import ResonateError
from tests.core.world import external, settle
from tests.runtime.workshop import DAY_MS, REPLIES, Hand, Workshop
from tests.server.desk import START

LATER = START + DAY_MS
SECOND = 1_000


class Listening:
    """A process that listens to an external promise `p`, and what it hears."""

    def __init__(self) -> None:
        self.workshop = Workshop()
        self.hand = self.workshop.hire("p2")
        self.heard: list[str] = []
        self.asked: list[float] = []
        """The seconds after the start at which it registered."""
        self._began = self.workshop.office.clock.passed
        self.workshop.ask(external("p", LATER))
        self.hand.session.listeners.add("p", self._hear, registered=False)
        self.pass_time(0)

    def pass_time(self, seconds: int) -> None:
        """Let time pass by the second."""
        for _ in range(max(1, seconds)):
            self.workshop.pass_time(SECOND if seconds else 0)
            registered = [
                step
                for group in self.workshop.sent
                for step in group.steps
                if isinstance(step, PromiseRegisterListener) and step.awaited == "p"
            ]
            passed = (self.workshop.office.clock.passed - self._began) / SECOND
            self.asked += [passed for _ in registered]
            self.workshop.sent.clear()

    def _hear(self, outcome: Promise | ResonateError) -> None:
        assert isinstance(outcome, Promise)
        self.heard.append(outcome.id)


def cut(hand: Hand) -> None:
    hand.cut()


def delete_reply_queue(hand: Hand) -> None:
    broker = hand.connection._broker
    [queue] = [name for name in broker.queues() if name.startswith(f"{REPLIES}g.{hand.pid}.")]
    broker.delete(queue)


@pytest.mark.parametrize(("lose", "within_s"), [(cut, 0), (delete_reply_queue, 1)])
def test_listeners_are_registered_again_on_a_new_reply_queue(
    lose: Callable[[Hand], None], within_s: int
) -> None:
    """The ledger tells the old one, which nobody reads any more."""
    listening = Listening()
    lose(listening.hand)
    listening.pass_time(within_s)
    assert listening.asked == [0, within_s]
    listening.workshop.ask(settle("p"))
    listening.workshop.rest()
    assert listening.heard == ["p"]


def test_a_listener_is_registered_again_after_30_s_then_ever_later() -> None:
    listening = Listening()
    listening.pass_time(1_200)
    assert listening.asked == [0, 30, 90, 210, 450, 750, 1_050]


def test_an_unblock_that_was_lost_is_made_good_by_the_next_registration() -> None:
    listening = Listening()
    workshop = listening.workshop
    workshop.lost = lambda queue, _body: queue.startswith(f"{REPLIES}g.p2.")
    workshop.ask(settle("p"))
    workshop.rest()
    workshop.lost = lambda _queue, _body: False
    assert listening.heard == []
    listening.pass_time(30)
    assert listening.heard == ["p"]
    listening.pass_time(300)
    assert listening.asked == [0, 30]


def test_a_group_is_sent_again_after_2_s_then_ever_later_until_it_is_answered() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    clock = workshop.office.clock
    workshop.ask(external("p", LATER))
    began = clock.passed
    sent: list[float] = []
    with workshop.without_replies():
        hand.session.listeners.add("p", lambda _outcome: None, registered=False)
        for _ in range(130):
            workshop.rest()
            sent += [(clock.passed - began) / SECOND for _ in workshop.sent]
            workshop.sent.clear()
            workshop.pass_time(SECOND)
    assert sent == [0, 2, 6, 14, 30, 60, 90, 120]
    workshop.pass_time(30 * SECOND)
    workshop.sent.clear()
    workshop.pass_time(19 * SECOND)
    assert workshop.sent == []
