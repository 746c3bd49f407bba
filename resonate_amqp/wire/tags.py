"""Tags: what a caller may attach to a promise, checked where it is said and not at the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resonate_amqp.errors import Encoding
from resonate_amqp.wire.fields import MAX_KEY, MAX_NAMES, MAX_TEXT, exceeds

MESSAGE_ID = "message_id"
"""The tag of a promise that was made of another one's message: what its producer called it."""
OWN = 10
"""How many tags a promise gets from us."""


def check_tags(tags: Mapping[Any, Any]) -> dict[str, str]:
    """The tags themselves; raises Encoding naming the one that cannot be recorded."""
    if len(tags) > MAX_NAMES - OWN:
        raise Encoding("tags", f"{len(tags)} are too many; {MAX_NAMES - OWN} at most")
    for name, value in tags.items():
        check_name("tags", name, MAX_KEY)
        check_name(f"tags.{name}", value)
    return dict(tags)


def check_name(path: str, text: Any, longest: int = MAX_TEXT) -> None:
    """Raise Encoding, naming `path`, for what cannot stand in a header or a tag."""
    if not isinstance(text, str):
        raise Encoding(path, f"{text!r} is a {type(text).__name__}, not a string")
    if exceeds(text, longest):
        raise Encoding(path, f"more than {longest} bytes are too many")
    if "\0" in text:
        raise Encoding(path, "it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Encoding(path, "it holds a lone surrogate, which is no character") from None
