"""Properties of what is published: pika's own, and headers with floats, which pika cannot write."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import pika

from resonate_amqp.wire.properties import PLAIN, Properties

TRANSIENT = 1
PERSISTENT = 2
HEADERS = 1 << 13
BEFORE_HEADERS = 5
"""Pieces in pika's encoding: the flags, and two each for content type and encoding."""


def basic(
    properties: Properties, *, persistent: bool, reply_to: str, message_id: str
) -> pika.BasicProperties:
    """What pika is to send along; `message_id` is for a message that has none of its own."""
    mode = PERSISTENT if persistent else TRANSIENT
    if properties is PLAIN:
        return pika.BasicProperties(
            content_type="application/json",
            delivery_mode=mode,
            reply_to=reply_to or None,
            message_id=message_id or None,
        )
    expiration = properties.expiration
    made = _WithHeaders(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        delivery_mode=mode,
        priority=properties.priority,
        correlation_id=properties.correlation_id or None,
        reply_to=reply_to or None,
        expiration=None if expiration is None else str(expiration),
        message_id=properties.message_id or message_id or None,
        type=properties.type or None,
        app_id=properties.app_id or None,
    )
    made.table = properties.headers
    return made


class _WithHeaders(pika.BasicProperties):  # type: ignore[misc]  # pika is untyped
    table: Mapping[str, Any]

    def encode(self) -> list[bytes]:
        pieces: list[bytes] = super().encode()
        (flags,) = struct.unpack(">H", pieces[0])
        pieces[0] = struct.pack(">H", flags | HEADERS)
        pieces.insert(BEFORE_HEADERS, _sized(_fields(self.table)))
        return pieces


def _fields(table: Mapping[str, Any]) -> bytes:
    return b"".join(
        struct.pack("B", len(raw)) + raw + _value(value)
        for raw, value in ((name.encode(), value) for name, value in table.items())
    )


def _value(value: Any) -> bytes:
    match value:
        case None:
            return b"V"
        case bool():
            return struct.pack(">c?", b"t", value)
        case int():
            return struct.pack(">cq", b"l", value)
        case float():
            return struct.pack(">cd", b"d", value)
        case {"resonate:bytes": str(encoded)} if len(value) == 1:
            return b"x" + _sized(b64decode(encoded))
        case {"resonate:timestamp": int(seconds)} if len(value) == 1:
            return struct.pack(">cQ", b"T", seconds)
        case Mapping():
            return b"F" + _sized(_fields(value))
        case list() | tuple():
            return b"A" + _sized(b"".join(map(_value, value)))
        case _:
            return b"S" + _sized(str(value).encode())


def _sized(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw
