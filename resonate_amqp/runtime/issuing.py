"""Issuing: what becomes of each command that a body yields or awaits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from resonate_amqp.core.model import Value
from resonate_amqp.core.requests import PromiseCreate
from resonate_amqp.errors import NotDurable, UsageError
from resonate_amqp.runtime.children import Family, local_function
from resonate_amqp.runtime.commands import (
    Command,
    External,
    Gather,
    Invoke,
    Other,
    Promised,
    Race,
    Sleep,
)
from resonate_amqp.runtime.frames import Frame, GeneratorFrame, Wait
from resonate_amqp.runtime.records import Records
from resonate_amqp.runtime.registry import Registered
from resonate_amqp.wire.codec import Call, decode_call

Begin = Callable[[Value, int], None]
"""Runs a local step on its recorded param, at an instant."""


class Run(Protocol):
    """Runs a local step of a frame."""

    def __call__(
        self, parent: Frame, step: PromiseCreate, function: Registered, call: Call, now: int, /
    ) -> None: ...


class Issuing:
    """Has each command recorded once; `deferred` are the local steps whose record decides."""

    def __init__(
        self, records: Records, family: Family, run: Run, deferred: dict[str, Begin]
    ) -> None:
        self.complete = True
        """Whether every settled child is known: then a local step that is not is a new one."""
        self._records = records
        self._family = family
        self._run = run
        self._deferred = deferred

    def issue(self, frame: Frame, command: object, now: int) -> Wait | Promised:
        """Have a command recorded; answers what its frame waits for, or is given at once.

        Raises UsageError for what cannot be recorded, NotDurable for what is no command.
        """
        match command:
            case Invoke(mode=mode):
                if not command.issued:
                    self._invoke(frame, command, now)
                return Wait((command.id,)) if mode.waits else _promised(command)
            case Sleep() | Other():
                if not command.issued:
                    self._records.create(frame, command, now)
                return Wait((command.id,))
            case External():
                if not command.issued:
                    self._records.create(frame, command, now)
                return _promised(command)
            case Promised(place=promise_id):
                if not self._records.of_this_task(promise_id):
                    raise NotDurable(f"promise {promise_id!r} belongs to another execution")
                return Wait((promise_id,))
            case Gather(things=things) | Race(things=things):
                wait = Wait(tuple(self._place(frame, thing, now) for thing in things), command)
                if isinstance(command, Race):
                    self._check_cancelable(wait)
                return wait
            case _:
                kind = type(command).__name__
                raise NotDurable(
                    f"{frame.id!r} yielded an object of type {kind}; yield a command of the "
                    "context (ctx.rfc, ctx.lfc, ctx.sleep, …) or what yielding one answered"
                )

    def limited(self, frame: GeneratorFrame, wait: Wait, now: int) -> Wait:
        """The await, with the time limits of the blocks in which it stands."""
        limits = frame.context.numbers.limits or ()
        if limits:
            self._check_cancelable(wait)
        for limit in limits:
            if not limit.issued:
                self._records.create(frame, limit, now)
        places = tuple(limit.id for limit in limits if self._records.of_this_task(limit.id))
        return replace(wait, limits=places) if places else wait

    def _check_cancelable(self, wait: Wait) -> None:
        for place in wait.ids:
            if self._records.detached(place):
                raise UsageError(
                    f"{place!r} is detached, so that nothing here cancels it: it cannot be one of "
                    "a race, nor be waited for under ctx.timeout; wait for ctx.get(id) instead"
                )

    def _place(self, frame: Frame, thing: Command | Promised, now: int) -> str | Exception:
        """Start one of several: the promise to wait for, or why there is none."""
        try:
            self.issue(frame, thing, now)
        except Exception as refusal:  # the others are to be started all the same
            return refusal
        return thing.place if isinstance(thing, Promised) else thing.id

    def _invoke(self, frame: Frame, command: Invoke, now: int) -> None:
        step = self._records.create(frame, command, now, record=not command.local)
        if not command.local or command.id in self._records or self._records.ended:
            return
        function = local_function(self._family, command)

        def begin(param: Value, now: int) -> None:
            call = decode_call(param)
            same = call.version == function.version
            it = function if same else local_function(self._family, command, call.version)
            self._run(frame, step, it, call, now)

        begun_only_now = self.complete and not self._family.may_go_on(function)
        if function.workflow or not begun_only_now:
            self._records.wants.append(step)
        if begun_only_now:
            begin(step.param, now)
        else:
            self._deferred[step.id] = begin


def _promised(command: Command) -> Promised:
    return Promised(command.mirrored or command.id, command.id)
