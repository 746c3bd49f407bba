"""The decorator: a Kombu callback becomes durable, and stays what Kombu may call."""

from __future__ import annotations

import functools
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from resonate_amqp import Resonate
from resonate_amqp.errors import Encoding, Stopped, UsageError
from resonate_amqp.ext.brokers import check_channel
from resonate_amqp.ext.comebacks import attempt_of
from resonate_amqp.ext.content import shortened, tag_of
from resonate_amqp.ext.deliveries import queue_named
from resonate_amqp.ext.kombu.desk import Desk, desk_of
from resonate_amqp.ext.kombu.entries import entry_of
from resonate_amqp.ext.kombu.errands import Call, Errand, stopping
from resonate_amqp.ext.kombu.forms import Kind, form_of, name_of
from resonate_amqp.ext.kombu.identity import Identity, identity_of
from resonate_amqp.ext.kombu.inplace import InPlace
from resonate_amqp.ext.kombu.letters import Letter, check_no_ack, letter_of, queue_of, warn_once
from resonate_amqp.ext.kombu.messages import RecordedMessage, recorded
from resonate_amqp.runtime.retry import RetryPolicy
from resonate_amqp.wire.address import foreign_id
from resonate_amqp.wire.tags import MESSAGE_ID

REMEDY = (
    "Make it by Resonate.from_kombu(connection), or give it the url of that broker and virtual host"
)


class Durable:
    """A durable callback: call it as Kombu does.

    In a class it is a descriptor: the instance through which it is reached is the one that
    consumes now.
    """

    __wrapped__: Callable[..., Any]
    __qualname__: str

    def __init__(
        self,
        resonate: Resonate,
        func: Callable[..., Any],
        *,
        id: Callable[..., Any] | None = None,  # noqa: A002
        name: str | None = None,
        retry_policy: RetryPolicy | None = None,
        version: int = 1,
        timeout: float | None = None,
        strict: bool = True,
        ignore_headers: Sequence[str] = (),
        context: bool | None = None,
    ) -> None:
        # A callable object's own attributes are none of ours.
        functools.update_wrapper(self, func, updated=())
        self.form = form_of(func, context)
        self.name = name or name_of(func)
        self.__qualname__ = getattr(func, "__qualname__", self.name)
        if not self.name:
            raise UsageError(f"{func!r} has no name; write durable(resonate, name=…)")
        self.func = func
        self.retries = retry_policy is not None
        self._resonate = resonate
        self._id = id
        self._timeout = timeout
        self._strict = strict
        self._ignored = tuple(ignore_headers)
        self._instance: Callable[[], Any] = lambda: None
        resonate.register(
            entry_of(self), name=self.name, version=version, retry_policy=retry_policy
        )

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        self.consumed_by(instance)
        return types.MethodType(self, instance)

    def __call__(self, *given: Any) -> Any:
        """Take a message: `(body, message)` or `(message)`, after the instance of a method.

        Called by the durable callback that has the message, a plain one is part of that.
        """
        instance, given = (given[0], given[1:]) if self.form.method else (None, given)
        *bodies, message = given
        if len(bodies) != self.form.body:
            wanted = "(body, message)" if self.form.body else "(message)"
            raise UsageError(f"durable callback {self.name!r} takes {wanted}, as it was written")
        arguments = self.form.arguments(instance, None, bodies[0] if bodies else None, message)
        if self.form.kind is Kind.PLAIN and _within(message):
            return self.func(*arguments)
        if self._resonate.stopped:
            raise Stopped(f"the instance of {self.name!r} was stopped; the message stays unsettled")
        check_no_ack(message)
        check_channel(message.channel, self._resonate, REMEDY)
        identity = self._identity_of(message, given)
        if identity is None and self.form.kind is Kind.PLAIN:
            return self.func(*arguments)
        desk = desk_of(self._resonate)
        desk.consume()
        letter = letter_of(message)
        call = self._call_of(letter, identity, bodies, message)
        if self.form.kind is not Kind.PLAIN:
            made = functools.partial(Errand, desk, letter, call, instance=instance)
            follow(desk, letter, made, instance)
            return None
        work = functools.partial(self.func, *arguments)
        errand = InPlace(desk, letter, call, work, retries=self.retries, instance=instance)
        errand.carry_out()
        return None

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<durable callback {self.name!r}>"

    def consumed_by(self, instance: Any) -> None:
        """Know the mixin instance that consumes now, and take what was handed over."""
        try:
            self._instance = weakref.ref(instance)
        except TypeError:
            self._instance = lambda: instance
        desk_of(self._resonate).consume()

    def instance(self) -> Any:
        """The mixin instance that consumes now, or None."""
        return self._instance()

    def errand(self, promise_id: str) -> Any:
        """The errand of a message that this process still holds, if any."""
        return desk_of(self._resonate).live.get(promise_id)

    @property
    def hold_max(self) -> float:
        """How long a message is held, in seconds."""
        return self._resonate.settings.hold_max

    def _identity_of(self, message: Any, given: tuple[Any, ...]) -> Identity | None:
        """The execution of a message; None, and a warning, when nothing names the message."""
        group = self._resonate.settings.group
        identity = identity_of(
            group, self.name, message, given, self._id, strict=self._strict, ignored=self._ignored
        )
        if identity is None:
            warn_once(
                f"unnamed {self.name} {queue_of(message)}",
                "%s gets messages of %s without a message_id, so that no redelivery can be told "
                "from another message: each is executed as often as it is delivered; set "
                "message_id where they are published, or write "
                "durable(resonate, id=lambda body, message: body['id'])",
                self.name,
                queue_of(message),
            )
        return identity

    def _call_of(
        self, letter: Letter, identity: Identity | None, bodies: list[Any], message: Any
    ) -> Call:
        if identity is None:
            drawn = f"{self._resonate.settings.group}.{foreign_id(self.name)}.{uuid4().hex}"
            identity = Identity(shortened(drawn), "", "")
            at_once = True
        else:
            at_once = False
        execution = letter.own_id(identity.promise_id, self.name)
        try:
            raw = not self.form.body
            record = recorded(message, message.body if raw else bodies[0], raw=raw)
        except Encoding as fault:
            return Call(execution, self.name, fault=fault)
        return Call(
            execution,
            self.name,
            (record,),
            timeout=self._timeout,
            digest=identity.digest,
            tags={MESSAGE_ID: tag_of(identity.message_id)} if identity.message_id else {},
            attempt=1 if at_once else attempt_of(message.headers or {}, queue_named(message)),
            at_once=at_once,
            explicit=identity.explicit,
        )


def _within(message: Any) -> bool:
    """Whether it is a durable callback that calls, with the message it was given."""
    if isinstance(message, RecordedMessage):
        return True
    letter = getattr(message, "durable_letter", None)
    return isinstance(letter, Letter) and letter.runs_in == threading.get_ident()


def follow(
    desk: Desk,
    letter: Letter,
    errand: Callable[[Callable[[Errand], None]], Errand],
    consumer: Any = None,
) -> None:
    """Have a message followed up while its consumer goes on; waits while there are too many."""
    while not desk.room.acquire(timeout=letter.patience):
        if stopping(consumer):
            return
        letter.keep_alive()
        if desk.resonate.stopped:
            raise Stopped("the instance was stopped; the message stays in its queue")
    letter.add(errand(lambda _: desk.room.release()))
