"""RPC servers: a client that speaks RPC over AMQP calls a durable function."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

from kombu import Connection, Queue
from kombu.mixins import ConsumerProducerMixin

from resonate_amqp import Resonate
from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Encoding, UnknownFunction, UsageError
from resonate_amqp.ext.brokers import check_channel
from resonate_amqp.ext.content import digest_of, tag_of
from resonate_amqp.ext.kombu.decorator import REMEDY, follow
from resonate_amqp.ext.kombu.desk import desk_of
from resonate_amqp.ext.kombu.errands import Call, Errand
from resonate_amqp.ext.kombu.identity import content_of, further, identity_of
from resonate_amqp.ext.kombu.letters import Letter
from resonate_amqp.runtime.registry import Registered
from resonate_amqp.wire.address import foreign_id
from resonate_amqp.wire.amqprpc import ERROR
from resonate_amqp.wire.codec import result_of

log = logging.getLogger(__name__)

CORRELATION_ID = "correlation_id"
"""The tag under which a promise keeps what its client called the request."""


def durable_rpc_server(
    resonate: Resonate,
    connection: Connection,
    queue: str,
    function: str | Callable[..., Any],
    *,
    id: Callable[..., Any] | None = None,  # noqa: A002
    timeout: float | None = None,
) -> RpcServer:
    """Answer the requests of a queue that exists by a durable function registered here.

    A request has `reply_to`, `correlation_id` and a JSON body: an object whose keys are parameters
    of the function, an array of its arguments, or its only argument. A request with the same
    `reply_to`, `correlation_id` and content gets the reply that is recorded; with `id`, one for
    which `id(body, message)` answers the same, and whose content is the same. Call `run()`.
    """
    return RpcServer(resonate, connection, queue, function, id=id, timeout=timeout)


class RpcServer(ConsumerProducerMixin):
    """Consumes requests; each is acknowledged after its outcome is recorded and replied."""

    _producer_connection: Connection | None

    def __init__(
        self,
        resonate: Resonate,
        connection: Connection,
        queue: str,
        function: str | Callable[..., Any],
        *,
        id: Callable[..., Any] | None = None,  # noqa: A002
        timeout: float | None = None,
    ) -> None:
        self.connection = connection
        self.should_stop = False
        self._resonate = resonate
        self._queue = queue
        self._id = id
        self._timeout = timeout
        named = resonate.registry.find(function) if isinstance(function, str) else None
        registered = named if isinstance(function, str) else resonate.registry.of(function)
        if registered is None:
            raise UnknownFunction(
                f"function {function!r} is not registered here; register it before the server"
            )
        self._function: Registered = registered

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        """The one consumer of the queue, which is not declared."""
        check_channel(channel, self._resonate, REMEDY)
        desk_of(self._resonate).consume()
        prefetch = self._resonate.settings.prefetch
        return [
            Consumer(
                [Queue(self._queue, no_declare=True)],
                on_message=self._on_request,
                auto_declare=False,
                prefetch_count=prefetch,
            )
        ]

    def _on_request(self, message: Any) -> None:
        errand: Errand | None = None

        def reply() -> None:
            if errand is not None:
                self._reply(message, errand.promise, errand.refused)

        letter = Letter(message, before=reply)
        desk = desk_of(self._resonate)
        call = self._call_of(message)

        def made(ended: Callable[[Errand], None]) -> Errand:
            nonlocal errand
            errand = Errand(desk, letter, call, ended, needs_outcome=True)
            return errand

        follow(desk, letter, made, self)

    def _call_of(self, message: Any) -> Call:
        name = self._function.name
        try:
            body = json.loads(_text(message.body)) if message.body else None
        except ValueError as error:
            fault = Encoding("body", f"it is not JSON ({error})")
            return Call(f"{self._queue}?", name, fault=fault)
        try:
            promise_id, digest = self._identity_of(body, message)
        except UsageError as fault:
            return Call(f"{self._queue}?", name, fault=fault)
        args, kwargs = arguments(self._function.signature, body)
        properties = message.properties or {}
        called = str(properties.get("correlation_id") or "")
        return Call(
            promise_id,
            name,
            args,
            kwargs,
            timeout=self._timeout,
            digest=digest,
            tags={CORRELATION_ID: tag_of(called)} if called else {},
            explicit=True,
        )

    def _identity_of(self, body: Any, message: Any) -> tuple[str, str]:
        """The execution of a request, and its digest where another one may claim the same id.

        Clients count their requests anew at each start, so that a request is known by where its
        reply goes and by its content as well.
        """
        name, group = self._function.name, self._resonate.settings.group
        if self._id is not None:
            try:
                found = identity_of(group, name, message, (body, message), self._id)
            except Exception as error:  # a request that its id= cannot read is the client's
                raise UsageError(f"the server's id= failed on the request: {error!r}") from error
            if found is not None and found.digest:
                return found.promise_id, found.digest
        properties = message.properties or {}
        correlation_id = str(properties.get("correlation_id") or "")
        if not correlation_id:
            raise UsageError(
                f"a request in queue {self._queue!r} has no correlation_id, so that a repetition "
                "could not be told from another request; set one in the client, or give the "
                "server id=lambda body, message: …"
            )
        told = properties.get("reply_to"), correlation_id, content_of(message)
        own = further(f"{foreign_id(self._queue)}.{foreign_id(correlation_id)}", digest_of(*told))
        return own, ""

    @property
    def producer_connection(self) -> Connection:
        """Replies go by a connection of their own, which an alarm of the broker may block."""
        if self._producer_connection is None:
            # Kombu writes the policy of a publish into these options.
            own = dict(self.connection.transport_options or {})
            connection = self.connection.clone(transport_options=own)
            connection.ensure_connection(self.on_connection_error, self.connect_max_retries)
            self._producer_connection = connection
        return self._producer_connection

    def _reply(self, message: Any, promise: Promise | None, refused: UsageError | None) -> None:
        """Tell the client; in the draining thread, before the request is acknowledged."""
        properties = message.properties or {}
        reply_to = properties.get("reply_to")
        if not reply_to:
            return
        headers: dict[str, str] = {}
        value: Any = None
        try:
            if refused is not None:
                raise refused
            value = result_of(promise) if promise is not None else None
        except Exception as error:  # whatever the function failed with is the reply
            headers[ERROR] = str(error) or type(error).__name__
        self.producer.publish(
            json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),
            exchange="",
            routing_key=reply_to,
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id=properties.get("correlation_id"),
            headers=headers,
            retry=True,
            retry_policy={"max_retries": 3},
        )


def arguments(
    signature: inspect.Signature | None, body: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that a request's body stands for, by what the function takes after `ctx`."""
    if signature is None:
        return (body,), {}
    takes = list(signature.parameters.values())[1:]
    if isinstance(body, dict) and body and _binds(signature, (), body):
        return (), body
    single = len(takes) == 1 and takes[0].kind is not takes[0].VAR_POSITIONAL
    if isinstance(body, list) and not single:
        return tuple(body), {}
    if body is None and not takes:
        return (), {}
    return (body,), {}


def _binds(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        signature.bind(None, *args, **kwargs)
    except TypeError:
        return False
    return True


def _text(body: Any) -> str:
    return body if isinstance(body, str) else bytes(body).decode()
