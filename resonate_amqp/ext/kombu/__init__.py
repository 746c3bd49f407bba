"""Durable Kombu consumers: one decorator on a callback that exists already.

The queue, its messages and whoever publishes them stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from resonate_amqp import Resonate
from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu.decorator import Durable
from resonate_amqp.ext.kombu.messages import RecordedMessage
from resonate_amqp.ext.kombu.mixins import durable_class
from resonate_amqp.ext.kombu.rpc import RpcServer, durable_rpc_server
from resonate_amqp.runtime.retry import RetryPolicy

__all__ = ["Durable", "RecordedMessage", "RpcServer", "durable", "durable_rpc_server"]

F = TypeVar("F")


def durable(
    resonate: Resonate,
    *,
    id: Callable[..., Any] | None = None,  # noqa: A002
    name: str | None = None,
    retry_policy: RetryPolicy | None = None,
    version: int = 1,
    timeout: float | None = None,
    strict: bool = True,
    ignore_headers: Sequence[str] = (),
    context: bool | None = None,
) -> Callable[[F], Any]:
    """Make a callback durable, or every callback of a ConsumerMixin.

    A callback that takes `ctx` before body and message is a workflow: it makes durable calls, and
    the message leaves its queue when its promise is settled, or when it is handed over to the
    ledger. Any other runs where Kombu calls it, once per id, and what it called on the message is
    recorded and served to every redelivery.

    `id` is called with what the callback is given and says what one execution is. Another message
    under such an id is put into `resonate.dead` unless it has the same content, or `strict` is
    False. Without `id` an execution is the group, the function, and the message's name (the header
    `resonate:id`, or `message_id`) and content: every message that differs is executed, and every
    identical one once. A message without a name is executed as often as it is delivered. Content
    is the body and the headers, except for those of brokers and tracers, and `ignore_headers`.

    `retry_policy` tries a failing callback again, and then records the error; without one the
    error of a plain callback escapes as it always did. `timeout` is the promise's deadline in
    seconds. `context` False says that a parameter named `ctx` is the body.
    """
    make = partial(
        Durable,
        resonate,
        id=id,
        retry_policy=retry_policy,
        version=version,
        timeout=timeout,
        strict=strict,
        ignore_headers=ignore_headers,
        context=context,
    )

    def decorate(decorated: Any) -> Any:
        if not isinstance(decorated, type):
            return make(decorated, name=name)
        if name is not None:
            raise UsageError(f"class {decorated.__name__} may have several callbacks; give no name")
        return durable_class(decorated, make)

    return decorate
