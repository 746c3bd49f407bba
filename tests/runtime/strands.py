"""A stand-in for everything around an `async def` body: an event loop that runs when it is told.

Each record gets an instant of its own, in the order in which the ledger made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.runtime.branches import hosting
from resonate_amqp.runtime.context import Context, Info
from resonate_amqp.runtime.coroutines import Ended, Strands, Work
from resonate_amqp.runtime.frames import Turn
from resonate_amqp.runtime.replay import Leaf
from tests.runtime.bodies import NOW, Run

MOST_S = 10


class AsyncRun(Run):
    """A `Run` whose body is an `async def`; a context manager, which leaves no task behind."""

    def __init__(self, func: Callable[..., Any], *args: Any, **options: Any) -> None:
        super().__init__(func, *args, **options)
        self.loop = asyncio.new_event_loop()
        hosting(self.loop)
        self.instant = NOW
        self.history: list[dict[str, Promise]] = [{}]
        self.unbidden: list[Turn | Ended] = []
        """What was told although no turn was under way."""
        self._works: set[asyncio.Task[None]] = set()
        self._told: list[Callable[[], None]] = []
        self._life = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.close()
        self.drain()
        left = {task for task in asyncio.all_tasks(self.loop) if not task.done()}
        self.loop.close()
        assert not left, left

    def replay(self, *, complete: bool = True, preload: bool = True) -> Self:
        if self._life:
            self.driver.close()
            self.drain()
        self._life += 1
        self._told.clear()
        super().replay(complete=complete, preload=preload)
        return self

    def pump(self) -> None:
        while True:
            super().pump()
            self.drain()
            if not self._told:
                return
            told, self._told = self._told, []
            for tell in told:
                tell()

    def drain(self) -> None:
        """Let the loop run until every turn has been told."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))
        while self._works:
            works = asyncio.wait(set(self._works), timeout=MOST_S)
            _, pending = self.loop.run_until_complete(works)
            assert not pending, "a turn does not end"

    def resume_from(self, recorded: dict[str, Promise]) -> Self:
        """Replay, as another process would, with this and no more recorded."""
        self.recorded = dict(recorded)
        return self.replay()

    def _create(self, create: Any) -> Promise:
        promise = super()._create(create)
        self._note()
        return promise

    def _settle(self, settle: PromiseSettle) -> Promise:
        pending = self.recorded[settle.id].pending
        promise = super()._settle(settle)
        if pending:
            self.instant += 1
            promise = promise.but(settled_at=self.instant)
            self.recorded[settle.id] = promise
            self._note()
        return promise

    def _note(self) -> None:
        if self.history[-1] != self.recorded:
            self.history.append(dict(self.recorded))

    def _leaf(self, leaf: Leaf) -> None:
        if not leaf.function.is_async:
            super()._leaf(leaf)
            return
        self.leaves.append(leaf.id)
        context = Context(leaf.id, Info(1, leaf.timeout_at, 1), {})
        life = self._life

        def told(what: Turn | Ended | None) -> None:
            if life == self._life and what is not None:
                self._told.append(lambda: self._tell(leaf, context, what))

        def said(what: Turn | Ended) -> None:
            self.unbidden.append(what)
            told(what)

        strands = Strands(
            context,
            lambda: leaf.function.func(context, *leaf.call.args, **leaf.call.kwargs),
            lambda work: self._submit(work, told),
            said,
        )
        strands.begin()

    def _tell(self, leaf: Leaf, context: Context, what: Turn | Ended) -> None:
        if isinstance(what, Turn):
            self.driver.turned(leaf.id, what, NOW)
        else:
            if what.turn is not None:
                self.driver.turned(leaf.id, what.turn, NOW)
            self.driver.leaf_done(leaf.id, what.value, what.error, context, NOW)

    def _submit(self, work: Work, told: Callable[[Turn | Ended | None], None]) -> None:
        async def run() -> None:
            told(await work())

        task = self.loop.create_task(run())
        self._works.add(task)
        task.add_done_callback(self._works.discard)


def far(ctx: Context, name: str, *args: Any) -> Any:
    return ctx.rfc(name, *args).options(target="elsewhere")


def leaf(_ctx: Context, value: Any = None) -> Any:
    return value


async def two_steps(ctx: Context, name: str) -> list[Any]:
    return [await far(ctx, name, 1), await far(ctx, name, 2)]
