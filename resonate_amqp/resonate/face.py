"""class Resonate: what an application sees."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import itertools
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload
from weakref import WeakSet

from resonate_amqp.core.model import Promise, Task, origin_of
from resonate_amqp.core.requests import OriginGet, PromiseCreate
from resonate_amqp.errors import ResonateError, Stopped
from resonate_amqp.ports import Telemetry
from resonate_amqp.resonate.call import CallOptions, Calls, Func
from resonate_amqp.resonate.claiming import Claiming
from resonate_amqp.resonate.configured import Reading, chosen_url
from resonate_amqp.resonate.embedded import Embedded, open_broker
from resonate_amqp.resonate.failpoints import Mishap, armed
from resonate_amqp.resonate.functions import Function
from resonate_amqp.resonate.machine import SystemRandom
from resonate_amqp.resonate.node import Node
from resonate_amqp.resonate.promises import Promises
from resonate_amqp.resonate.schedules import Scheduling
from resonate_amqp.resonate.tasks import Tasks
from resonate_amqp.resonate.transactions import Transactions
from resonate_amqp.runtime.commands import Seconds
from resonate_amqp.runtime.executor import ThreadExecutor
from resonate_amqp.runtime.handle import Handle
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.retry import RetryPolicy
from resonate_amqp.telemetry.guarded import GuardedTelemetry
from resonate_amqp.telemetry.logs import LogTelemetry
from resonate_amqp.wire.address import check_id

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=Exception)


class Resonate(Transactions, Scheduling, Claiming):
    """Durable functions of this process, and calls to those of others.

    With a `url` (`amqp://…`, several joined by `;`, `env:NAME`, `file:PATH`) the broker is
    RabbitMQ and a ledger service records. Without one everything is embedded: in `system` when
    given, else in a system of its own that serves every group. Every setting may be given by
    name; one that is not is read from `RESONATE_AMQP_<NAME>`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        group: str | None = None,
        pid: str | None = None,
        system: Embedded | None = None,
        telemetry: Telemetry | None = None,
        **settings: Any,
    ) -> None:
        given = settings | {"url": url, "group": group, "pid": pid}
        given["url"] = chosen_url(url, settings.get("ledger"), system is not None)
        super().__init__()
        self._reading = Reading(given)
        self._system = system
        self._own_system: Embedded | None = None
        self._telemetry = telemetry or LogTelemetry()
        self._registry = Registry()
        self._dependencies: dict[str, Any] = {}
        self._mishaps: tuple[Mishap, ...] = ()
        self._lock = threading.Lock()
        self._node: tuple[int, Node] | None = None
        self._stopped = threading.Event()
        self._started = False
        self._options = CallOptions()
        self._forked = False
        _instances.add(self)
        self.promises = Promises(self._joined, self._soon_joined, lambda: self.settings.timeout)
        self.tasks = Tasks(self._joined)

    @property
    def registry(self) -> Registry:
        """The functions registered here, by name and version."""
        return self._registry

    @overload
    def register(
        self,
        func: None = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: RetryPolicy | None = None,
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...

    @overload
    def register(
        self,
        func: Callable[P, R],
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: RetryPolicy | None = None,
    ) -> Function[P, R]: ...

    def register(
        self,
        func: Any = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: RetryPolicy | None = None,
    ) -> Any:
        """Make a function durable: a decorator, bare or with a name, version or retry policy.

        A generator function is a workflow, a plain one a leaf; an `async def` one is a leaf until
        it awaits a command. Raises UsageError when the name and version are taken.
        """
        if func is None:
            return lambda given: self.register(
                given, name=name, version=version, retry_policy=retry_policy
            )
        raw = getattr(func, "durable_function", func)
        added = self._registry.register(raw, name=name, version=version, retry=retry_policy)
        return Function(raw, self, added.name)

    def register_error(self, kind: type[E], *, name: str | None = None) -> type[E]:
        """Raise errors of this type as themselves where they are read; also a class decorator.

        They are found by the name they are recorded under, `name` if it is not the type's own.
        A type that cannot be made from the recorded arguments comes as RemoteError.
        """
        self._registry.register_error(kind, name)
        return kind

    def options(
        self,
        *,
        target: str | None = None,
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
        returns: Any = None,
        delay: Seconds | None = None,
        strict: bool | None = None,
    ) -> Resonate:
        """The same instance with options for its next calls; given ones replace earlier ones."""
        view = _View(self)
        given = {"target": target, "timeout": timeout, "tags": tags, "version": version}
        given |= {"returns": returns, "delay": delay, "strict": strict}
        view._options = self._options.replaced(**given)
        return view

    def rpc(self, promise_id: str, func: Func, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Call a function wherever its target is; recorded when this returns.

        The same id again is the same execution, running or finished. Raises UsageError for a
        call that cannot be (Conflict with `strict`), BrokerError or LedgerError when the ledger
        did not answer.
        """
        node = self._joined()
        asked = self._calls.rpc(node, promise_id, func, args, kwargs)
        return asked.handle(node, node.create_listening(*asked.listening))

    def run(self, promise_id: str, func: Func, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Call a registered function in this process; the group finishes it if the process dies.

        Raises UnknownFunction when it is not registered here, otherwise as `rpc`.
        """
        node = self._joined()
        asked = self._calls.run(node, promise_id, func, args, kwargs)
        return asked.handle(node, node.create_listening(*asked.listening))

    begin_rpc = rpc
    begin_run = run

    def get(self, promise_id: str) -> Handle[Any]:
        """The execution behind an id; raises UsageError when there is none."""
        node = self._joined()
        return self._calls.get(node, self.promises.get(promise_id))

    async def arpc(self, promise_id: str, func: Func, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """As `rpc`, for a running event loop, which it never blocks.

        Canceling the task that awaits cancels nothing durable: the call may have been recorded,
        and the same id finds it.
        """
        node = await self._soon_joined()
        asked = self._calls.rpc(node, promise_id, func, args, kwargs)
        return asked.handle(node, await node.soon_create_listening(*asked.listening))

    async def arun(self, promise_id: str, func: Func, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """As `run`, for a running event loop, which it never blocks."""
        node = await self._soon_joined()
        asked = self._calls.run(node, promise_id, func, args, kwargs)
        return asked.handle(node, await node.soon_create_listening(*asked.listening))

    async def aget(self, promise_id: str) -> Handle[Any]:
        """As `get`, for a running event loop, which it never blocks."""
        node = await self._soon_joined()
        return self._calls.get(node, await self.promises.aget(promise_id))

    def tree(self, promise_id: str, limit: int | None = None) -> list[tuple[Promise, Task | None]]:
        """The promises of the tree an id belongs to, oldest first; empty when there is none.

        All of them, or the first `limit`.
        """
        root = origin_of(check_id(promise_id))
        replies = self._joined().find(OriginGet(root), limit, root)
        return [pair for reply in replies for pair in reply.tree or []]

    def set_dependency(self, name: str, value: Any) -> None:
        """Give every body of this process an object, by `ctx.get_dependency(name)`."""
        self._dependencies[name] = value

    def arm(self, *mishaps: Mishap) -> None:
        """Have this process killed, paused or cut off at named places; before it starts."""
        self._mishaps += mishaps

    def start(self) -> None:
        """Take tasks of the own group. Returns at once; the process stays alive until `stop`."""
        with self._lock:
            first, self._started = not self._started, True
        self._joined().start()
        self._declared.begin(self._joined())
        if first:
            threading.Thread(target=self._stopped.wait, name="resonate-alive").start()

    def serve(self, *, until: threading.Event | None = None) -> None:
        """Start, and block until SIGTERM or SIGINT, or until the event is set; stop gracefully.

        A second signal ends the process at once. Raises ResonateError when the worker's own
        loop failed.
        """
        wanted = until or threading.Event()
        signals = itertools.count(1)

        def on_signal(number: int, _frame: object) -> None:
            if next(signals) > 1:
                os._exit(128 + number)
            wanted.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        self.start()
        node = self._joined()
        while not wanted.wait(0.2) and not self._stopped.is_set() and node.running:
            pass
        failed = not node.running and not wanted.is_set()
        self.stop()
        if failed:
            raise ResonateError("the worker's loop failed; the log says why")

    def stop(self) -> None:
        """Stop taking tasks, let leaves end for `grace` seconds, park the rest, disconnect."""
        self._stopped.set()
        with self._lock:
            node, self._node = self._node, None
        atexit.unregister(self.stop)
        self._stop_relays()
        if node is not None and node[0] == os.getpid():
            node[1].stop(self.settings.grace if self._started else 0.5)
        if self._own_system is not None:
            self._own_system.close()

    def move(self, system: Embedded | None) -> None:
        """Stop, and take part in another system from the next call on: for tests.

        None: in the one that the settings name.
        """
        self.stop()
        self._system, self._own_system = system, None
        self._stopped, self._started = threading.Event(), False

    def __enter__(self) -> Resonate:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _joined(self) -> Node:
        """The node of this process, made when it is first needed; a fork gets its own."""
        with self._lock:
            if self._stopped.is_set():
                raise Stopped("this Resonate was stopped; create another one")
            if self._node is None or self._node[0] != os.getpid():
                self._node = (os.getpid(), self._join())
                atexit.register(self.stop)
            node = self._node[1]
            if self._own_system is not None and len(self._registry):
                # What was registered after the first request is to be served as well.
                node.start()
            return node

    def _join(self) -> Node:
        settings = self.settings
        if self._forked or not settings.pid:
            settings = dataclasses.replace(settings, pid=SystemRandom().token())
        system = self._system
        if system is None and not self.broker_url():
            log.info(
                "no url: broker and ledger are embedded in this process, and calls of other "
                "processes do not reach it"
            )
            system = self._own_system = Embedded(
                settings.ledger or None,
                max_deliveries=settings.max_deliveries,
                serves_every_group=settings.group,
            )
        telemetry, failed = GuardedTelemetry(self._telemetry), self._stopped.set
        if system is not None:
            settings = dataclasses.replace(settings, topology="declare")
            return system.join(self._registry, settings, self._dependencies, telemetry, failed)
        name = f"resonate_amqp {settings.group} {settings.pid}"
        broker = open_broker(settings.url, heartbeat_s=settings.heartbeat, name=name)
        return Node(
            broker,
            self._registry,
            settings,
            self._dependencies,
            ThreadExecutor(settings.threads),
            telemetry,
            armed(self._mishaps, broker),
            failed,
        )

    async def _soon_joined(self) -> Node:
        """As `_joined`; what takes time, opening a database, is done by another thread."""
        if self._node is None or self._node[0] != os.getpid():
            return await asyncio.to_thread(self._joined)
        return self._joined()

    @property
    def _calls(self) -> Calls:
        return Calls(self._registry, self.settings, self._options)

    def _call_at(self, now: int, promise_id: str, func: Func, *given: Any) -> PromiseCreate:
        return self._calls.create(now, promise_id, func, *given)

    def _after_fork(self) -> None:
        """In a forked child: its locks may be held for ever, and what it joined is the parent's."""
        stopped = self._stopped.is_set()
        self._lock, self._stopped = threading.Lock(), threading.Event()
        if stopped:
            self._stopped.set()
        _inherited.append(self._node)
        self._node = self._own_system = None
        self._relays = []
        self._started = False
        self._forked = True


_instances: WeakSet[Resonate] = WeakSet()
_inherited: list[object] = []
"""What a fork left behind; kept, because to finalize it could touch what the parent uses."""


def _after_fork() -> None:
    for instance in list(_instances):
        instance._after_fork()


os.register_at_fork(after_in_child=_after_fork)


class _View(Resonate):
    """A Resonate with other call options; everything else is the original's."""

    def __init__(self, original: Resonate) -> None:
        self.__dict__ = original.__dict__.copy()
        self._original = getattr(original, "_original", original)

    def start(self) -> None:
        self._original.start()

    def serve(self, *, until: threading.Event | None = None) -> None:
        self._original.serve(until=until)

    def stop(self) -> None:
        self._original.stop()

    def _joined(self) -> Node:
        return self._original._joined()

    async def _soon_joined(self) -> Node:
        return await self._original._soon_joined()
