"""Reports: what a callee that is no worker of ours says of the promise it was called for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from resonate_amqp.core.model import PromiseState, Value

Reading = tuple[PromiseState, Value] | None
"""An outcome, or None for what tells that there is none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseReport:
    """Settle a promise as its callee answered; made of that answer, it never travels.

    How the answer is to be read depends on the promise's target: `readings` holds one for each
    kind of target that is answered, or the text of why it cannot be read so.
    """

    kind: ClassVar[str] = "promise.report"
    id: str
    readings: Mapping[str, Reading | str]
