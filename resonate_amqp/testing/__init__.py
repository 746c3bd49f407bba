"""What to write tests of durable functions with: a system whose time and mishaps are the test's.

Reading order: `system`, `stage`, `party`, `crashes`, `history`, `replaying`, `plugin`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resonate_amqp.testing.history import History
    from resonate_amqp.testing.replaying import check_replay
    from resonate_amqp.testing.system import System

__all__ = ["History", "System", "check_replay"]

_HOMES = {"History": "history", "System": "system", "check_replay": "replaying"}


if not TYPE_CHECKING:

    def __getattr__(name):
        """A public name, loaded when it is asked for: pytest finds the plugin in every suite."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
