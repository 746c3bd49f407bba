"""Identity: the promise id of a message, which its sender chose; one is never invented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resonate_amqp.errors import UsageError
from resonate_amqp.wire.address import check_root_id, foreign_id

HEADER = "resonate:id"


def promise_id_of(
    name: str, message: Any, given: tuple[Any, ...], id_of: Callable[..., Any] | None
) -> str:
    """The id by which the message is deduplicated, percent-encoded where it must be.

    `id_of` is called with what the callback is `given`. Raises UsageError when there is no id, or
    one that cannot be kept.
    """
    found = id_of(*given) if id_of is not None else None
    if found is None or found == "":
        found = _told(message)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if isinstance(found, bytes):
        found = found.decode(errors="backslashreplace")
    if not isinstance(found, str) or not found:
        raise UsageError(
            f"a message for {name!r} has no id (got {found!r}), so that a redelivery could not be "
            f"told from another message: set message_id, correlation_id or the header {HEADER!r} "
            "where it is published, or name what identifies it: "
            "durable(resonate, id=lambda body, message: body['id'])"
        )
    return check_root_id(foreign_id(found))


def further(promise_id: str, name: str) -> str:
    """The id of a message for another durable callback than the first that it meets."""
    return check_root_id(f"{promise_id}.{foreign_id(name)}")


def _told(message: Any) -> Any:
    """What the sender wrote on the message."""
    properties = message.properties or {}
    headers = message.headers or {}
    places = headers.get(HEADER), properties.get("message_id"), properties.get("correlation_id")
    return next((place for place in places if place), None)
