"""Entries: the functions that are registered for callbacks, which the worker runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Generator
from typing import Any, Protocol

from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu.errands import INTENT
from resonate_amqp.ext.kombu.forms import Form, Kind, check_answer
from resonate_amqp.ext.kombu.inplace import InPlace, recordable
from resonate_amqp.ext.kombu.messages import ACK, REQUEUE, HeldMessage, RecordedMessage
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.outcomes import Outcome, Postponed

log = logging.getLogger(__name__)

NOBODY_S = 1.0
"""How soon a method is offered again in whose process no instance consumes yet."""


class Owner(Protocol):
    """What an entry needs of the callback it stands for."""

    name: str
    func: Callable[..., Any]
    form: Form
    retries: bool

    @property
    def hold_max(self) -> float: ...

    def errand(self, promise_id: str) -> Any:
        """The errand of a message that this process still holds, if any."""
        ...

    def instance(self) -> Any:
        """The mixin instance that consumes now, or None."""
        ...


class Run:
    """One run of a callback by the worker, on what was recorded."""

    def __init__(self, owner: Owner, ctx: Context, record: dict[str, Any]) -> None:
        self._owner = owner
        self._errand = owner.errand(ctx.id)
        held = self._errand is not None and not self._errand.call.at_once
        self.message: RecordedMessage = HeldMessage(record) if held else RecordedMessage(record)
        instance = getattr(self._errand, "instance", None) or owner.instance()
        if owner.form.method and instance is None:
            log.info("%s waits for an instance of its class that consumes", ctx.id)
            raise Postponed(NOBODY_S)
        body = self.message.body if owner.form.body else None
        self._arguments = owner.form.arguments(instance, ctx, body, self.message)

    def call(self) -> Any:
        """What the callback answers: a value, a generator or a coroutine."""
        return self._owner.func(*self._arguments)

    def outcome(self, value: Any) -> Outcome:
        """What is recorded; raises Postponed when the body gave its message back."""
        intent = self.message.intent if isinstance(self.message, HeldMessage) else ACK
        if intent == REQUEUE:
            if self._errand is not None:
                self._errand.leaving = REQUEUE
            raise Postponed(self._owner.hold_max)
        return Outcome(recordable(value, self._owner.name), {INTENT: intent})


def entry_of(owner: Owner) -> Callable[..., Any]:
    """The function to be registered for a callback."""

    def workflow(ctx: Context, record: Any) -> Generator[Any, Any, Any]:
        run = Run(owner, ctx, record)
        answer = run.call()
        # A decorator between may have run the generator itself.
        return run.outcome((yield from answer) if inspect.isgenerator(answer) else answer)

    async def coroutine(ctx: Context, record: Any) -> Any:
        run = Run(owner, ctx, record)
        return run.outcome(await run.call())

    def leaf(ctx: Context, record: Any) -> Any:
        run = Run(owner, ctx, record)
        answer = run.call()
        check_answer(answer, owner.name)
        return run.outcome(answer)

    async def plain(ctx: Context, record: Any) -> Any:
        errand = owner.errand(ctx.id)
        if isinstance(errand, InPlace):
            return await errand.perform()
        return await asyncio.to_thread(_apart, owner, ctx, record)

    return {
        Kind.GENERATOR: workflow,
        Kind.COROUTINE: coroutine,
        Kind.LEAF: leaf,
        Kind.PLAIN: plain,
    }[owner.form.kind]


def _apart(owner: Owner, ctx: Context, record: dict[str, Any]) -> Outcome:
    """A plain callback whose message this process does not hold, in a thread of the worker."""
    run = Run(owner, ctx, record)
    try:
        return run.outcome(run.call())
    except UsageError:
        raise
    except Exception:
        if owner.retries:
            raise
        log.exception("%s failed on %s; it is offered again later", owner.name, ctx.id)
        raise Postponed(owner.hold_max) from None
