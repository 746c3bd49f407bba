"""Sagas: undoing what a body did before it failed."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from typing import Any

from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.runtime.commands import Compensation
from resonate_amqp.runtime.frames import Frame, GeneratorFrame

log = logging.getLogger(__name__)


def failed(frame: Frame, undo: Iterable[Compensation], verdict: PromiseSettle) -> GeneratorFrame:
    """The frame that runs the compensations of a body that failed, in its place."""
    frame.context.numbers.limits = []
    return GeneratorFrame(
        id=frame.id,
        body=undoing(frame.id, undo),
        context=frame.context,
        timeout_at=frame.timeout_at,
        reached=frame.reached,
        final=verdict,
    )


def undoing(body_id: str, undo: Iterable[Compensation]) -> Generator[Any, Any, None]:
    """The body that runs compensations, one after the other, whatever becomes of each."""
    for command in undo:
        try:
            yield command
        except Exception as error:  # the others have to run, and the body's own error is told
            log.error("%s: compensation %s failed: %s", body_id, command.id, error)
