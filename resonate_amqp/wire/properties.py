"""Properties: what stands beside the body of a message, as far as we write or read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BYTES = "resonate:bytes"
TIMESTAMP = "resonate:timestamp"
"""The only key of a table that stands for a header JSON has no type for: base64, or seconds."""


@dataclass(frozen=True, slots=True)
class Properties:
    """Properties of a message to be published; an empty one is left out.

    `expiration` is in milliseconds. Headers hold what JSON can, integers of 64 bits, and bytes and
    timestamps in the form of BYTES and TIMESTAMP.
    """

    content_type: str = "application/json"
    content_encoding: str = ""
    correlation_id: str = ""
    message_id: str = ""
    type: str = ""
    app_id: str = ""
    priority: int | None = None
    expiration: int | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


PLAIN = Properties()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to a queue that is not ours, and where its answer is to go."""

    body: bytes
    reply_to: str
    properties: Properties
