"""The face: class Resonate, and the one place where adapters are chosen and joined."""

from __future__ import annotations

from resonate_amqp.resonate.embedded import Embedded
from resonate_amqp.resonate.face import Resonate

__all__ = ["Embedded", "Resonate"]
