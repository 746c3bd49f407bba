"""Findings: what a scan says of each task or callback, and of the module as a whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from resonate_amqp.errors import ResonateError


class NothingToScan(ResonateError):
    """There is no such module, or nothing in it that this package makes durable."""


class Grade(Enum):
    """What is to be done with a task or callback."""

    DECORATE = "decorate as it is"
    STEPS = "name the steps"
    LEAVE = "leave it"


@dataclass(frozen=True, slots=True)
class Step:
    """A line that is to become a durable step: what it does, and what to write instead."""

    line: int
    does: str
    write: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What to know or to change before anything runs; `line` is 0 where it has none."""

    text: str
    line: int = 0


@dataclass(slots=True)
class Graded:
    """A task or callback with its grade; `path` is empty when its source is not known."""

    kind: str
    name: str
    path: str = ""
    line: int = 0
    grade: Grade = Grade.DECORATE
    options: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)

    def leave(self, why: str) -> None:
        """Grade it LEAVE for one more reason."""
        self.grade = Grade.LEAVE
        self.reasons.append(why)

    def as_data(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "path": self.path,
            "line": self.line,
            "grade": self.grade.value,
            "options": self.options,
            "reasons": self.reasons,
            "steps": [
                {"line": one.line, "does": one.does, "write": one.write} for one in self.steps
            ],
            "warnings": [_as_data(one) for one in self.warnings],
        }


@dataclass(slots=True)
class Report:
    """What a scan found; `facts` are one line each: the broker, the queues, the pool."""

    subject: str
    facts: dict[str, str] = field(default_factory=dict)
    graded: list[Graded] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)
    diff: str = ""

    def gather(self) -> None:
        """Say once of the whole what would be said of several of its parts."""
        told = Counter(one for each in self.graded for one in each.warnings if not one.line)
        for remark in [remark for remark, often in told.items() if often > 2]:
            names = [each.name for each in self.graded if remark in each.warnings]
            self.warnings.append(Remark(f"{remark.text} ({_listed(names)})"))
            for each in self.graded:
                each.warnings = [one for one in each.warnings if one != remark]

    def as_data(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "subject": self.subject,
            "facts": self.facts,
            "graded": [one.as_data() for one in self.graded],
            "warnings": [_as_data(one) for one in self.warnings],
            "diff": self.diff,
        }


def _listed(names: list[str]) -> str:
    own = [name.rpartition(".")[2] for name in names]
    more = f" and {len(own) - 3} more" if len(own) > 4 else ""
    return ", ".join(own[:3] if more else own) + more


def _as_data(remark: Remark) -> dict[str, Any]:
    return {"line": remark.line or None, "text": remark.text}
