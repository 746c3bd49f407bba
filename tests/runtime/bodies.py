"""A stand-in for everything around a replay: a ledger of dicts, leaves run at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.runtime.children import Family
from resonate_amqp.runtime.context import Context, Info
from resonate_amqp.runtime.outcomes import verdict_of
from resonate_amqp.runtime.registry import Registry, described
from resonate_amqp.runtime.replay import Await, Finish, Halt, Leaf, Replay
from resonate_amqp.wire.codec import Call, decode, encode_call

NOW = 1_000_000
DAY_MS = 86_400_000


class Run:
    """One task whose body may be replayed from what it has recorded, as often as one likes."""

    def __init__(self, func: Callable[..., Any], *args: Any, timeout_ms: int = DAY_MS) -> None:
        self.func = func
        self.args = list(args)
        self.timeout_at = NOW + timeout_ms
        self.recorded: dict[str, Promise] = {}
        self.registry = Registry()
        self.leaves: list[str] = []
        self.awaited: set[str] = set()
        self.finished: PromiseSettle | None = None
        self.halted: str | None = None
        self.created: list[str] = []
        self.dependencies: dict[str, Any] = {}
        self.now = NOW

    def replay(self, *, complete: bool = True, preload: bool = True) -> Self:
        """Run the body from the top on what is recorded, until nothing more can happen."""
        self.awaited.clear()
        self.finished = self.halted = None
        name = self.func.__name__
        root = Promise(
            id="r",
            state=PromiseState.PENDING,
            param=encode_call(name, 1, tuple(self.args), {}),
            tags={"resonate:target": "poll://any@g"},
            timeout_at=self.timeout_at,
            created_at=NOW,
        )
        family = Family("r", "g", self.registry, DAY_MS / 1000)
        function = described(self.func, name)
        self.driver = Replay(root, function, Call(name, self.args, {}, 1), family, self._context)
        settled = tuple(one for one in self.recorded.values() if not one.pending)
        self.driver.start(settled if preload else (), complete, self.now)
        self.pump()
        return self

    def pump(self) -> None:
        wants = self.driver.take()
        while wants:
            for want in wants:
                match want:
                    case PromiseCreate():
                        self.driver.learn(self._create(want), self.now)
                    case PromiseSettle():
                        self.driver.learn(self._settle(want), self.now)
                    case Leaf():
                        self._leaf(want)
                    case Await(id=promise_id):
                        self.awaited.add(promise_id)
                        if not self.recorded[promise_id].pending:
                            self.driver.learn(self.recorded[promise_id], self.now)
                    case Finish(settle=settle):
                        self.finished = settle
                    case Halt(reason=reason):
                        self.halted = reason
            wants = self.driver.take()

    @property
    def result(self) -> Any:
        """The value the body ended with."""
        assert self.finished is not None
        return decode(self.finished.value)

    @property
    def state(self) -> PromiseState:
        """The state the body's promise is to be settled with."""
        assert self.finished is not None
        return self.finished.state

    def ended(self) -> bool:
        return self.finished is not None

    def settle(self, promise_id: str, value: Any = None, error: Exception | None = None) -> Self:
        """Somebody settles an awaited promise, and the body hears of it."""
        promise = self._settle(verdict_of(promise_id, value, error))
        self.driver.learn(promise, self.now)
        self.pump()
        return self

    def _create(self, create: PromiseCreate) -> Promise:
        if create.id not in self.recorded:
            self.created.append(create.id)
            self.recorded[create.id] = Promise(
                id=create.id,
                state=PromiseState.PENDING,
                param=create.param,
                tags=create.tags,
                timeout_at=create.timeout_at,
                created_at=NOW,
            )
        return self.recorded[create.id]

    def _settle(self, settle: PromiseSettle) -> Promise:
        promise = self.recorded[settle.id]
        if promise.pending:
            promise = promise.but(state=settle.state, value=settle.value, settled_at=self.now)
            self.recorded[settle.id] = promise
        return promise

    def _leaf(self, leaf: Leaf) -> None:
        self.leaves.append(leaf.id)
        context = self._context(leaf.id, Info(1, leaf.timeout_at, 1))
        value, error = None, None
        try:
            value = leaf.function.func(context, *leaf.call.args, **leaf.call.kwargs)
        except Exception as raised:
            error = raised
        self.driver.leaf_done(leaf.id, value, error, context, NOW)

    def _context(self, promise_id: str, info: Info) -> Context:
        return Context(promise_id, info, self.dependencies)
