"""Replaying a recorded history: does today's code still ask for what was recorded?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from resonate_amqp.core.model import (
    EXTERNAL,
    MIRROR,
    PARENT,
    SCOPE,
    TARGET,
    TIMER,
    Promise,
    PromiseState,
)
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.errors import NonDeterminism, UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.children import Family
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.frames import Turn
from resonate_amqp.runtime.registry import LATEST, Registered, Registry, described
from resonate_amqp.runtime.replay import Replay
from resonate_amqp.runtime.wants import Await, Finish, Halt, Leaf, Want
from resonate_amqp.settings import Settings
from resonate_amqp.testing.bodies import Bodies
from resonate_amqp.testing.history import History
from resonate_amqp.wire.address import group_of
from resonate_amqp.wire.codec import Call, decode_call, error_of

_OF_THE_BODY = (PromiseState.RESOLVED, PromiseState.REJECTED)


def check_replay(
    code: Resonate | Callable[..., Any],
    history: History,
    *,
    dependencies: Mapping[str, Any] | None = None,
) -> None:
    """Run today's workflow on a recorded history; nothing is called, recorded or waited for.

    `code` is the workflow's function, or the Resonate it is registered with, which then is
    searched for the recorded name and version. Raises NonDeterminism, naming both calls, when it
    asks for something else than was recorded, and UsageError when it is not registered. A
    running workflow may go on beyond its record; a leaf has nothing to be compared. What an
    `async def` workflow awaits before its first durable call is awaited.
    """
    check = _Check(code, history, dependencies or {})
    # An event loop of its own cannot run on a thread that may run one already.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(check.run).result()


class _Check:
    def __init__(
        self,
        code: Resonate | Callable[..., Any],
        history: History,
        dependencies: Mapping[str, Any],
    ) -> None:
        self._root = history.promise
        self._recorded = {child.id: child for child in history.children}
        self._asked: set[str] = set()
        self._verdict: PromiseSettle | None = None
        call = decode_call(self._root.param)
        registry, function = _found(code, call, history)
        group = group_of(self._root.tags.get(TARGET, "")) or Settings().group
        family = Family(self._root.id, group, registry, Settings().timeout)
        self._parents = {child.tags.get(PARENT, "") for child in history.children}
        self._leaf = not function.workflow and self._root.id not in self._parents
        self._bodies = Bodies(dependencies)
        self._replay = Replay(self._root, function, call, family, self._bodies.context)

    def run(self) -> None:
        if self._leaf:
            return
        now = self._root.created_at
        self._replay.start((), False, now)
        try:
            wants = self._replay.take()
            while self._verdict is None and (wants or self._bodies.heed()):
                for want in wants:
                    self._answer(want, now)
                self._bodies.heed()
                wants = self._replay.take()
            self._compare_ends()
        finally:
            self._replay.close()
            self._bodies.close()

    def _answer(self, want: Want, now: int) -> None:
        match want:
            case PromiseCreate():
                self._asked.add(want.id)
                if want.id in self._recorded:
                    self._replay.learn(self._recorded[want.id], now)
                elif self._complete:
                    raise self._differs(
                        f"its record is complete without {want.id!r}, and the body now asks for "
                        f"{_shown(want)}"
                    )
                elif branch := self._branch_at(want.id):
                    raise self._differs(
                        f"{want.id!r} was a branch, which recorded {branch!r}, and the body now "
                        f"asks there for {_shown(want)}"
                    )
            case Await(id=promise_id):
                if promise_id in self._recorded:
                    self._replay.learn(self._recorded[promise_id], now)
            case Leaf(function=function) if function.is_async and want.id in self._parents:

                def done(value: Any, error: BaseException | None, context: Context) -> None:
                    self._replay.leaf_done(want.id, value, error, context, now)

                def turned(turn: Turn) -> None:
                    self._replay.turned(want.id, turn, now)

                self._bodies.run(want, self._root, done, turned)
            case Finish(settle=settle):
                self._verdict = settle
            case Halt(reason=reason):
                raise NonDeterminism(reason)
            case _:
                pass

    def _branch_at(self, promise_id: str) -> str:
        """What an asyncio branch recorded that had this number, if one had."""
        children = (
            child.id
            for child in self._recorded.values()
            if child.id.startswith(f"{promise_id}.") and child.tags.get(PARENT) != promise_id
        )
        return next(children, "")

    @property
    def _complete(self) -> bool:
        return self._root.state in _OF_THE_BODY

    def _compare_ends(self) -> None:
        if self._verdict is None:
            if self._complete:
                raise self._differs(f"it was {self._root.state}, and the body now does not end")
            return
        ending = _ending(self._root.id, self._verdict)
        for child in self._recorded.values():
            if child.id not in self._asked and child.tags.get(PARENT) == self._root.id:
                raise self._differs(
                    f"promise {child.id!r} was recorded as {_shown(child)}, and the body now is "
                    f"{ending} without asking for it"
                )
        if self._complete and self._verdict.state is not self._root.state:
            raise self._differs(f"it was {self._root.state}, and now is {ending}")

    def _differs(self, what: str) -> NonDeterminism:
        return NonDeterminism(f"{self._root.id!r} is not deterministic: {what}")


def _found(
    code: Resonate | Callable[..., Any], call: Call, history: History
) -> tuple[Registry, Registered]:
    if isinstance(code, Resonate):
        function = code.registry.find(call.func, call.version)
        if function is None:
            raise UsageError(
                f"{history.promise.id!r} was recorded of function {call.func!r} version "
                f"{call.version}, which is not registered here (registered: "
                f"{', '.join(code.registry.names()) or 'none'})"
            )
        return code.registry, function
    anything = _Anything()
    raw = getattr(code, "durable_function", code)
    return anything, anything.register(raw, name=call.func, version=call.version or 1)


class _Anything(Registry):
    """Knows every name: what a lone function calls is registered beside it, wherever that is."""

    def find(self, name: str, version: int = LATEST) -> Registered | None:
        return super().find(name, version) or described(_unknown, name, version or 1)

    def check_elsewhere(self, func: Callable[..., Any], name: str, group: str, own: str) -> None:
        """Any object may be registered beside the function that is checked."""


def _unknown(_ctx: Context, /, *_args: Any, **_kwargs: Any) -> None:
    """Stands for a function of which only the name is known; it is never run."""


def _shown(one: Promise | PromiseCreate) -> str:
    if one.tags.get(TIMER) == "true":
        return "a sleep"
    if one.tags.get(EXTERNAL) == "true" or (MIRROR in one.tags and TARGET not in one.tags):
        return "an external promise"
    local = "local " if one.tags.get(SCOPE) == "local" else ""
    return f"a {local}call of {one.param.headers.get('func', '?')!r}"


def _ending(promise_id: str, settle: PromiseSettle) -> str:
    if settle.state is PromiseState.RESOLVED:
        return settle.state.value
    ended = Promise(
        id=promise_id,
        state=settle.state,
        param=settle.value,
        value=settle.value,
        tags={},
        timeout_at=0,
        created_at=0,
    )
    error = error_of(ended)
    return f"{settle.state} ({type(error).__name__}: {error})"
