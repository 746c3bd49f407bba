"""Letters: messages of the shop's own queues, and the one settlement that each of them gets.

What is called on a message (`ack`, `reject`, `requeue`) is an intent. It reaches the broker when
every durable callback of the message has ended, from the thread that drains its connection.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from kombu.exceptions import MessageStateError

from resonate_amqp.errors import UsageError
from resonate_amqp.ext.deliveries import put_back, queue_named, returned, was_redelivered
from resonate_amqp.ext.kombu.draining import drain_of
from resonate_amqp.ext.kombu.identity import further
from resonate_amqp.ext.kombu.messages import ACK, REJECT, REQUEUE
from resonate_amqp.ext.pauses import Pauses

log = logging.getLogger(__name__)

LEAVE = "leave"
"""Nothing was recorded, and the message stays as it is: unacknowledged."""

_STATES = {ACK: "ACK", REJECT: "REJECTED", REQUEUE: "REQUEUED"}
_INTENTS = {state: intent for intent, state in _STATES.items()}
_FIRST = (LEAVE, REJECT, REQUEUE, ACK)
_REPLACED = ("ack", "reject", "requeue")
_named: set[str] = set()


class Errand(Protocol):
    """What one durable callback has to do with a letter."""

    over: str | None
    passed: bool

    def begin(self) -> None: ...


class Letter:
    """One message; replaces its `ack`, `reject` and `requeue` until it is settled.

    `before` is done in the draining thread before the settlement; if it raises, the message is
    given back to its queue instead.
    """

    def __init__(self, message: Any, before: Callable[[], None] | None = None) -> None:
        check_no_ack(message)
        self.message = message
        self.since = time.monotonic()
        self.intent = _INTENTS.get(message._state)
        self.runs_in: int | None = None
        """The thread in which a durable callback of this message runs at this moment."""
        self.redelivered = was_redelivered(message)
        self.pauses: tuple[Pauses, str] | None = None
        """Who knows how long the message is held before it is given back, and by which name."""
        self._before = before
        self._lock = threading.RLock()
        self._errands: list[Errand] = []
        self._begun = 0
        self._ids: set[str] = set()
        self._wanted: list[Callable[[str], None]] = []
        self._settled = bool(message.acknowledged)
        self._leaving = False
        channel = message.channel
        self._drain = drain_of(getattr(channel, "connection", None))
        self._opening = self._drain.opening(channel) if self._drain is not None else 0
        if self._settled:
            warn_once(
                f"early {queue_of(message)}",
                "a message of %s was acknowledged before the work: a repetition of it is found "
                "out, but if this process dies nobody brings it back; let the durable callback "
                "come first, and call message.ack() in it",
                queue_of(message),
            )
        else:
            message.ack, message.reject = self._ack, self._reject
            message.requeue = lambda: self._intend(REQUEUE)
        message.durable_letter = self

    @property
    def patience(self) -> float:
        """How long whoever holds up the consumer may wait before `keep_alive`, in seconds."""
        return self._drain.patience if self._drain is not None else 1.0

    def keep_alive(self) -> None:
        """Keep the connection alive; called from its draining thread, within a callback."""
        if self._drain is not None:
            self._drain.keep_alive()

    def own_id(self, promise_id: str, name: str) -> str:
        """The promise id of one more durable callback of this message."""
        own = further(promise_id, name) if promise_id in self._ids else promise_id
        self._ids.add(own)
        return own

    def add(self, errand: Errand) -> None:
        """Begin an errand, when those before it have ended or wait for the message's intent."""
        with self._lock:
            self._errands.append(errand)
        self._begin_next()

    def last(self, errand: Errand) -> bool:
        """Whether no other errand is under way."""
        with self._lock:
            return all(one.over for one in self._errands if one is not errand)

    def went_on(self, errand: Errand) -> None:
        """An errand has ended, or waits for the intent: the next begins, or the letter settles."""
        if errand.over == LEAVE:
            self._restore()
        self._begin_next()
        if self._outcome() is not None:
            self.settle()

    def _begin_next(self) -> None:
        with self._lock:
            done = self._errands[: self._begun]
            if len(done) == len(self._errands) or not all(one.over or one.passed for one in done):
                return
            first = self._errands[self._begun]
            self._begun += 1
        first.begin()

    def settle(self) -> None:
        """Have the broker told; not while an errand is under way."""
        if self._drain is None:
            self._settle()
        elif not self._drain.post(self._settle):
            self._restore()

    def settle_as(self, intent: str) -> None:
        """Know the recorded intent, as if it had been called on the message."""
        with self._lock:
            if self.intent is None:
                self._mark(intent)

    def forget_intent(self, before: str | None) -> None:
        """The callback is run again: only what was intended `before` it counts."""
        with self._lock:
            self.intent = before
            if not self._settled:
                self.message._state = _STATES[before] if before else "RECEIVED"

    def when_intended(self, tell: Callable[[str], None]) -> None:
        """Tell what is called on the message, as soon as it is."""
        with self._lock:
            if self.intent is None:
                self._wanted.append(tell)
                return
        tell(self.intent)

    def let_go(self) -> None:
        """Acknowledge now: the ledger has what is left to be done."""
        if self._settled:
            return
        if self._drain is None:
            self._tell_broker(ACK)
        else:
            self._drain.post(lambda: self._tell_broker(ACK))

    def _ack(self, multiple: bool = False) -> None:
        if multiple:
            raise UsageError(
                "message.ack(multiple=True) would settle messages whose outcome is not recorded: "
                "call message.ack() on each"
            )
        self._intend(ACK)

    def _reject(self, requeue: bool = False) -> None:
        self._intend(REQUEUE if requeue else REJECT)

    def _intend(self, intent: str) -> None:
        with self._lock:
            if self.message.acknowledged:
                raise MessageStateError(
                    f"Message already acknowledged with state: {self.message._state}"
                )
            self._mark(intent)
            wanted, self._wanted = self._wanted, []
        for tell in wanted:
            tell(intent)

    def _mark(self, intent: str) -> None:
        self.intent = intent
        if not self._settled:
            self.message._state = _STATES[intent]

    def _outcome(self) -> str | None:
        """What is to become of the message; None while an errand is under way."""
        with self._lock:
            intents = [one.over for one in self._errands]
        if not all(intents):
            return None
        wanted = {*intents, *([self.intent] if self.intent else [])}
        return next(intent for intent in _FIRST if intent in wanted)

    def _settle(self) -> None:
        outcome = self._outcome()
        if outcome is None or outcome == LEAVE or self._settled or self._leaving:
            return
        self._leaving = True
        if self._before is not None:
            try:
                self._before()
            except Exception:
                log.exception("a message of %s comes again", queue_of(self.message))
                outcome = REQUEUE
        if outcome == REQUEUE:
            self._put_back()
            return
        if self.pauses is not None:
            pauses, name = self.pauses
            pauses.forget(name)
        self._tell_broker(outcome)

    def _put_back(self) -> None:
        """Give the message back to its queue; at once the first time, later after a pause."""
        pause_s = 0.0
        if self.pauses is not None:
            pauses, name = self.pauses
            pause_s = pauses.next(name, returned(self.message.headers or {}))
        if not pause_s:
            self._tell_broker(REQUEUE)
            return
        log.info("a message of %s goes back in %g s", queue_of(self.message), pause_s)
        drain = self._drain

        def later() -> None:
            if drain is None:
                self._tell_broker(REQUEUE)
            else:
                drain.post(lambda: self._tell_broker(REQUEUE))

        timer = threading.Timer(pause_s, later)
        timer.daemon = True
        timer.start()

    def _tell_broker(self, intent: str) -> None:
        if self._settled:
            return
        self._settled = True
        message, channel = self.message, self.message.channel
        self._restore()
        message._state = _STATES[intent]
        try:
            if self._drain is not None and self._drain.opening(channel) != self._opening:
                raise ConnectionError("the channel was closed")
            if intent == ACK:
                channel.basic_ack(message.delivery_tag)
            elif intent == REQUEUE:
                put_back(message)
            else:
                channel.basic_reject(message.delivery_tag, requeue=False)
        except Exception as error:  # the redelivery is answered from the ledger
            log.debug("%s of a message that its channel has lost: %s", intent, error)

    def _restore(self) -> None:
        """The message is Kombu's own again."""
        for name in _REPLACED:
            self.message.__dict__.pop(name, None)
        if not self._settled:
            self.message._state = "RECEIVED"


def letter_of(message: Any) -> Letter:
    """The letter of a message that met a durable callback; raises UsageError without acks."""
    found = getattr(message, "durable_letter", None)
    return found if isinstance(found, Letter) else Letter(message)


def queue_of(message: Any) -> str:
    """The queue a message came from, or what is known of it."""
    info = message.delivery_info or {}
    return f"queue {queue_named(message) or info.get('routing_key', '')!r}"


def check_no_ack(message: Any) -> None:
    """Raise UsageError for a message that its broker has forgotten already."""
    tag = (message.delivery_info or {}).get("consumer_tag")
    unacknowledged = getattr(message.channel, "no_ack_consumers", None)
    if unacknowledged and tag in unacknowledged:
        raise UsageError(
            f"{queue_of(message)} is consumed with no_ack=True: the broker forgets each message "
            "as it sends it, and a crash loses it; consume without no_ack"
        )


def warn_once(about: str, text: str, *values: object) -> None:
    """Warn of what each further message would only say again; once a process."""
    if about not in _named:
        _named.add(about)
        log.warning(text, *values)
