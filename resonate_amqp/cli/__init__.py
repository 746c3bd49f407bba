"""The command line: one file per noun; every answer also as JSON."""

from __future__ import annotations

from resonate_amqp.cli.main import main

__all__ = ["main"]
