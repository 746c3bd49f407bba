"""In place: a plain callback runs in the consumer's own thread, where Kombu has called it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from resonate_amqp.errors import Encoding, Stopped
from resonate_amqp.ext.kombu.desk import Desk
from resonate_amqp.ext.kombu.errands import INTENT, Call, Errand, stopping
from resonate_amqp.ext.kombu.forms import check_answer
from resonate_amqp.ext.kombu.letters import LEAVE, Letter, queue_of, warn_once
from resonate_amqp.ext.kombu.messages import REQUEUE
from resonate_amqp.ext.lending import Job, Lent, Withdrawn
from resonate_amqp.ext.plain import flatten
from resonate_amqp.runtime.branches import Aside
from resonate_amqp.runtime.claims import Begun, Claimed, Elsewhere
from resonate_amqp.runtime.outcomes import Outcome, Postponed

log = logging.getLogger(__name__)

SILENCE_S = 60.0


class InPlace(Errand):
    """The consumer's thread lends itself until the outcome is recorded.

    `work` is the callback with what it is given; with `retries` its errors are outcomes once the
    policy of the registered function has ended, without they leave the message as it is.
    """

    leaves_early = False

    def __init__(
        self,
        desk: Desk,
        letter: Letter,
        call: Call,
        work: Callable[[], Any],
        *,
        retries: bool,
        instance: Any = None,
    ) -> None:
        super().__init__(desk, letter, call, lambda _: self._wake(), instance=instance)
        self._work = work
        self._retries = retries
        self._lent = Lent()
        self._error: Exception | None = None
        self._worked: tuple[Any, str | None] | None = None
        """What the callback returned and called on its message, until that is recorded."""
        self._asked_at = time.monotonic()

    def carry_out(self) -> None:
        """Run the callback when its claim begins; returns when its outcome is recorded.

        Called in the consumer's thread. Raises what the callback raised, if that is no outcome. A
        ledger that does not answer is waited for, unless the mixin is told to stop meanwhile.
        """
        consumer = self.instance
        with self._lent:
            self.letter.add(self)
            while self.over is None and not self.passed:
                step = self._lent.next(self.letter.patience)
                if isinstance(step, Job):
                    step.run()
                elif not self._begun and stopping(consumer):
                    self._desk.post(partial(self.end, LEAVE))
                    return
                self.letter.keep_alive()
                self._complain()
        if self.over == LEAVE:
            raise self._error or Stopped("the instance was stopped; the message stays unsettled")

    async def perform(self) -> Outcome:
        """The body of the promise, as the worker runs it: the consumer's thread does the work."""
        try:
            # A claim that was lost before its record is made again: the work is done.
            value, intent = self._worked or await self._lent.acall(self._run)
        except Withdrawn:
            self.leaving = LEAVE
            raise Postponed(self._desk.hold_max) from None
        except Exception:
            if self._retries:
                raise
            self.leaving = LEAVE
            raise Postponed(self._desk.hold_max) from None
        if intent is None:
            intent = await self._intended()
        if intent == REQUEUE:
            self.leaving = REQUEUE
            raise Postponed(self._desk.hold_max)
        return Outcome(recordable(value, self.call.func), {INTENT: intent})

    def _run(self) -> tuple[Any, str | None]:
        """The callback, in the consumer's thread."""
        if self._error is not None and not self._retries:
            raise self._error
        before = self.letter.intent
        self.letter.runs_in = threading.get_ident()
        try:
            value = self._work()
            check_answer(value, self.call.func)
        except Exception as error:
            self._error = error
            self.letter.forget_intent(before)
            raise
        finally:
            self.letter.runs_in = None
        self._worked = value, self.letter.intent
        if self.letter.intent is None:
            self._pass()
        return self._worked

    def _pass(self) -> None:
        """The callback returned without an intent: somebody calls `message.ack()` later."""
        name, queue = self.call.func, queue_of(self.letter.message)
        warn_once(
            f"undecided {name} {queue}",
            "%s returned without message.ack() or reject() for a message of %s: its outcome is "
            "recorded when one of them is called",
            name,
            queue,
        )
        self._desk.undecided.setdefault(self.call.promise_id, self)
        self._go_on()

    def _go_on(self) -> None:
        """Leave the consumer's thread; what becomes of the message is followed up at the desk."""
        self.passed = True
        self.letter.went_on(self)

    def _take(self, what: Claimed) -> None:
        super()._take(what)
        waits = self.over is None and not self.passed and isinstance(what, Elsewhere)
        if waits and self.call.promise_id in self._desk.undecided:
            # The intent for the other message may come from the thread that waits here.
            self._go_on()
            self._wake()

    def _intended(self) -> asyncio.Future[str]:
        loop = asyncio.get_running_loop()
        future = Aside(loop=loop)

        def heard(intent: str) -> None:
            if not future.done():
                future.set_result(intent)

        self.letter.when_intended(lambda intent: _soon(loop, heard, intent))
        return future

    def end(self, over: str) -> None:
        if self.over is None and over != LEAVE:
            self.letter.settle_as(over)
        if self._desk.undecided.get(self.call.promise_id) is self:
            del self._desk.undecided[self.call.promise_id]
        super().end(over)

    def _wake(self) -> None:
        self._lent.tell(Begun())

    def _complain(self) -> None:
        """Say once a minute that the ledger is silent; end if nothing is to be expected."""
        if self._desk.resonate.stopped:
            self._desk.post(partial(self.end, LEAVE))
        silent_s = time.monotonic() - self._asked_at
        if not self.heard and silent_s >= SILENCE_S:
            self._asked_at += SILENCE_S
            log.warning(
                "a message of %s waits for the ledger to answer about %r; it stays in its queue",
                queue_of(self.letter.message),
                self.call.promise_id,
            )


def recordable(value: Any, name: str) -> Any:
    """What is recorded of a returned value; Kombu throws it away, so it may be of any kind."""
    try:
        return flatten(value, "result")
    except Encoding as error:
        warn_once(f"result {name}", "what %s returns is not recorded: %s", name, error)
        return None


def _soon(loop: asyncio.AbstractEventLoop, heard: Callable[[str], None], intent: str) -> None:
    try:
        loop.call_soon_threadsafe(heard, intent)
    except RuntimeError:  # the loop is closed: nobody waits
        log.debug("message.%s() came after the process stopped its work", intent)
