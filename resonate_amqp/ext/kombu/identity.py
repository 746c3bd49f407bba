"""Identity: which execution a message stands for.

With `id=` the user says it, and that id stands as it is. Without it the execution is the group,
the function, and what the message says it is: its name and its content. A name is its producer's:
it says nothing of what another service or another function does with the message, and producers
share, repeat and recycle names. So each different message is executed, and each identical one once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from resonate_amqp.errors import UsageError
from resonate_amqp.ext.content import ROOM, digest_of, named_by_producer, own_headers, shortened
from resonate_amqp.ext.deliveries import queue_named
from resonate_amqp.wire.address import MAX_ROOT_ID, check_root_id, foreign_id

HEADER = "resonate:id"
"""The header by which a producer names a message that has no `message_id`, or another one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The execution of a message.

    `digest` is that of the message's content where another message may claim the same id, which
    is a Conflict then; else it is empty. `message_id` is what the message was called, if it was.
    The id is `explicit` when the user says what one execution is.
    """

    promise_id: str
    digest: str
    message_id: str
    explicit: bool = False


def identity_of(
    group: str,
    name: str,
    message: Any,
    given: tuple[Any, ...],
    id_of: Callable[..., Any] | None,
    *,
    strict: bool = True,
    ignored: Sequence[str] = (),
) -> Identity | None:
    """The execution that a message stands for; None when neither user nor producer names it.

    `name` is the callback's and `given` what it is called with, which `id_of` gets too. `ignored`
    headers do not count as content. Raises UsageError when `id_of` answers what is no id.
    """
    called = _called(message)
    asked = None if id_of is None else _text(id_of(*given), name)
    if asked:
        digest = content_of(message, ignored) if strict else ""
        return Identity(shortened(named_by_producer(asked)), digest, called, explicit=True)
    if not called:
        return None
    # Each queue that gets a copy has it for a purpose of its own, such as a cache of its host.
    queue = queue_named(message)
    digest = digest_of(group, name, called, content_of(message, ignored), queue)
    for parts in ((group, name, called, digest), (group, name, digest), (group, digest)):
        promise_id = ".".join(map(foreign_id, parts))
        if len(promise_id.encode()) <= MAX_ROOT_ID - ROOM:
            break
    return Identity(check_root_id(promise_id), "", called)


def content_of(message: Any, ignored: Sequence[str] = ()) -> str:
    """A digest of what the producer sent: the body, its type and encoding, the headers."""
    body = message.body
    raw = body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body or b"")
    headers = own_headers(message.headers or {}, ignored)
    return digest_of(raw, message.content_type, message.content_encoding, headers)


def further(promise_id: str, name: str) -> str:
    """The id of a message for another durable callback than the first that it meets."""
    return shortened(f"{promise_id}.{foreign_id(name)}")


def _called(message: Any) -> str:
    """What the producer called the message: by our own header, else by `message_id`."""
    named = (message.headers or {}).get(HEADER) or (message.properties or {}).get("message_id")
    return "" if named is None else _decoded(named)


def _text(found: Any, name: str) -> str:
    if found is None or (isinstance(found, int | str | bytes) and not isinstance(found, bool)):
        return "" if found is None else _decoded(found)
    raise UsageError(
        f"the id= of {name!r} answered {found!r}, which is no id; answer a text or a number that "
        "says what one execution is, or None to leave it to the message"
    )


def _decoded(name: Any) -> str:
    """A name as text; what is no character stays apart from all others."""
    text = name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
    return text.encode(errors="backslashreplace").decode()
