"""Local steps: what runs a task's plain local functions, and what records the values it handles.

A claimant may have a say in both: its own thread, and the values its own messages carry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resonate_amqp.ports import Executor
from resonate_amqp.wire.typed import Shape, Types

Carry = Callable[[Shape | None], Shape | None]
"""The shape of a value, from the shape that its annotation has."""


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """`executor` runs plain local functions, if it is there, instead of the process's own."""

    executor: Executor | None = None
    carry: Carry | None = None

    def carried(self, shape: Shape | None) -> Shape | None:
        """The shape of a value that the task hands over or is given."""
        return shape if self.carry is None else self.carry(shape)

    def typed(self, types: Types) -> Types:
        """The types of a local function, with the shapes that its values have here."""
        if self.carry is None:
            return types
        return Types(
            tuple((name, self.carry(shape)) for name, shape in types.parameters),
            {name: self.carry(shape) for name, shape in types.keywords.items()},
            self.carry(types.rest),
            self.carry(types.others),
            self.carry(types.returns),
        )


AS_EVER = LocalSteps()
