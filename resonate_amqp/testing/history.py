"""History: what was recorded of one workflow, kept to be held against tomorrow's code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.wire.records import read_promise, write_promise

FORMAT = 1


@dataclass(frozen=True, slots=True)
class History:
    """A workflow's promise and every promise its body asked for, as recorded at one instant."""

    promise: Promise
    children: tuple[Promise, ...]

    @classmethod
    def of(cls, resonate: Resonate, promise_id: str) -> History:
        """The history of a workflow of any system: of production, say.

        Raises UsageError when there is no such promise.
        """
        tree = resonate.tree(promise_id)
        return cls.within(promise_id, [promise for promise, _ in tree])

    @classmethod
    def within(cls, promise_id: str, tree: Sequence[Promise]) -> History:
        """The history of one workflow among the promises of its tree."""
        found = next((one for one in tree if one.id == promise_id), None)
        if found is None:
            raise UsageError(f"promise {promise_id!r} does not exist; nothing was recorded of it")
        children = [one for one in tree if one.branch == promise_id and one.id != promise_id]
        return cls(found, tuple(children))

    @classmethod
    def load(cls, path: str | Path) -> History:
        """What `save` wrote; raises UsageError for any other file."""
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            if record["history"] != FORMAT:
                raise UsageError(f"{path}: history format {record['history']!r} is not {FORMAT}")
            return cls(
                read_promise(record["promise"]),
                tuple(read_promise(child) for child in record["children"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{path} is not a recorded history: {error!r}") from error

    def save(self, path: str | Path) -> None:
        """Write it to a file, as JSON."""
        text = json.dumps(self.record(), indent=1, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def record(self) -> dict[str, Any]:
        """What `save` writes, as data."""
        return {
            "history": FORMAT,
            "promise": write_promise(self.promise),
            "children": [write_promise(child) for child in self.children],
        }
