"""Messages: what of one is recorded, and what a durable body is given in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kombu import serialization
from kombu.exceptions import MessageStateError

from resonate_amqp.errors import UsageError
from resonate_amqp.ext.plain import flatten, rebuild

ACK = "ack"
REJECT = "reject"
REQUEUE = "requeue"

_VOLATILE = {"delivery_tag", "consumer_tag", "redelivered"}
_ELSEWHERE = {"application_headers", "delivery_info", "delivery_tag"}
"""Properties that are recorded under a name of their own, or not at all."""


def recorded(message: Any, body: Any, *, raw: bool) -> dict[str, Any]:
    """What is recorded of a message; raises Encoding naming the place of what cannot be.

    `raw` tells that the body is not decoded yet, and what its consumer accepts is recorded too.
    """
    properties = {k: v for k, v in (message.properties or {}).items() if k not in _ELSEWHERE}
    delivery = {k: v for k, v in (message.delivery_info or {}).items() if k not in _VOLATILE}
    accept = getattr(message, "accept", None)
    return {
        "body": flatten(body, "body"),
        "headers": flatten(message.headers or {}, "headers"),
        "properties": flatten(properties, "properties"),
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "delivery_info": flatten(delivery, "delivery_info"),
        **({"accept": accept if accept is None else sorted(accept)} if raw else {}),
    }


class RecordedMessage:
    """A message as it was recorded, read-only: it left its queue when it was handed over.

    `ack` does nothing, since the message was acknowledged then.
    """

    channel = None
    delivery_tag = None

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._record = record
        self.body: Any = rebuild(record["body"], "body")
        self.headers: dict[str, Any] = rebuild(record["headers"], "headers")
        self.properties: dict[str, Any] = rebuild(record["properties"], "properties")
        self.delivery_info: dict[str, Any] = rebuild(record["delivery_info"], "delivery_info")
        self.content_type: str | None = record["content_type"]
        self.content_encoding: str | None = record["content_encoding"]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__ and not name.startswith("_"):
            raise UsageError(f"message.{name} is as it was recorded, and cannot be set")
        super().__setattr__(name, value)

    @property
    def payload(self) -> Any:
        """The decoded body."""
        if "accept" not in self._record:
            return self.body
        accept = self._record["accept"]
        return serialization.loads(
            self.body,
            self.content_type,
            self.content_encoding,
            accept=accept if accept is None else set(accept),
        )

    def decode(self) -> Any:
        """The decoded body."""
        return self.payload

    @property
    def acknowledged(self) -> bool:
        """Whether it is known what becomes of the message in its queue."""
        return True

    def ack(self, multiple: bool = False) -> None:
        """Take the message from its queue once the outcome is recorded."""

    def reject(self, requeue: bool = False) -> None:
        """Have the queue drop the message, or dead-letter it, once the outcome is recorded."""
        raise _gone("requeue" if requeue else "reject")

    def requeue(self) -> None:
        """Give the message back to its queue; nothing is recorded."""
        raise _gone("requeue")

    def ack_log_error(self, logger: Any, errors: Any, multiple: bool = False) -> None:
        """As `ack`: the broker is told later, and what goes wrong then is logged."""
        self.ack(multiple)

    def reject_log_error(self, logger: Any, errors: Any, requeue: bool = False) -> None:
        """As `reject`."""
        self.reject(requeue)


class HeldMessage(RecordedMessage):
    """A message as it was recorded that is still in its queue: what the body intends counts."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._intent = ""

    @property
    def acknowledged(self) -> bool:
        return bool(self._intent)

    @property
    def intent(self) -> str:
        """What the body called last, of ack, reject and requeue; ack if nothing."""
        return self._intent or ACK

    def ack(self, multiple: bool = False) -> None:
        self._intend(ACK)

    def reject(self, requeue: bool = False) -> None:
        self._intend(REQUEUE if requeue else REJECT)

    def requeue(self) -> None:
        self._intend(REQUEUE)

    def _intend(self, intent: str) -> None:
        if self._intent:
            raise MessageStateError(f"the body called message.{self._intent}() already")
        self._intent = intent


def _gone(what: str) -> UsageError:
    return UsageError(
        f"message.{what}() came too late: the message was handed over to the ledger and "
        "acknowledged in its queue; raise an error instead, which is recorded as the outcome"
    )
