"""class Resonate: what an application sees."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar, overload

from resonate_amqp import settings as settings_of
from resonate_amqp.core.model import (
    ORIGIN,
    PARENT,
    SCOPE,
    TARGET,
    Promise,
    Task,
    origin_of,
)
from resonate_amqp.core.requests import OriginGet, PromiseCreate, Request
from resonate_amqp.errors import ResonateError, UsageError
from resonate_amqp.ports import Telemetry
from resonate_amqp.resonate.embedded import Embedded, open_broker
from resonate_amqp.resonate.functions import Function
from resonate_amqp.resonate.machine import NoFailpoints, SystemRandom
from resonate_amqp.resonate.node import Node, ttl_create
from resonate_amqp.resonate.promises import Promises
from resonate_amqp.runtime.commands import Seconds, seconds_of
from resonate_amqp.runtime.executor import ThreadExecutor
from resonate_amqp.runtime.handle import Handle
from resonate_amqp.runtime.registry import Registered, Registry, unknown
from resonate_amqp.runtime.retry import RetryPolicy
from resonate_amqp.telemetry.guarded import GuardedTelemetry
from resonate_amqp.telemetry.logs import LogTelemetry
from resonate_amqp.wire.address import canonical, check_id, check_name, check_root_id
from resonate_amqp.wire.codec import encode_call
from resonate_amqp.wire.tags import check_tags

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class CallOptions:
    """Options of calls from outside; `timeout` in seconds, `version` 0 for the latest."""

    target: str | None = None
    timeout: Seconds | None = None
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    version: int = 0


class Resonate:
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
        if system is not None and url:
            raise UsageError("give either url= or system=, not both")
        given = settings | {"url": "" if system is not None else url, "group": group, "pid": pid}
        self.settings = settings_of.read(given)
        check_name("group", self.settings.group)
        if self.settings.pid:
            check_name("pid", self.settings.pid)
        self._system = system
        self._own_system: Embedded | None = None
        self._telemetry = telemetry or LogTelemetry()
        self._registry = Registry()
        self._dependencies: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._node: tuple[int, Node] | None = None
        self._stopped = threading.Event()
        self._started = False
        self._options = CallOptions()
        self.promises = Promises(self._joined, self.settings.timeout)

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

        A generator function is a workflow; any other, `async def` included, is a leaf. Raises
        UsageError when the name and version are taken.
        """
        if func is None:
            return lambda given: self.register(
                given, name=name, version=version, retry_policy=retry_policy
            )
        raw = getattr(func, "durable_function", func)
        added = self._registry.register(raw, name=name, version=version, retry=retry_policy)
        return Function(raw, self.run, self.rpc, added.name)

    def options(
        self,
        *,
        target: str | None = None,
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
    ) -> Resonate:
        """The same instance with options for its next calls; given ones replace earlier ones."""
        view = _View(self)
        now = self._options
        view._options = CallOptions(
            target=now.target if target is None else target,
            timeout=now.timeout if timeout is None else timeout,
            tags=now.tags if tags is None else tags,
            version=now.version if version is None else version,
        )
        return view

    def rpc(
        self, promise_id: str, func: str | Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Handle[Any]:
        """Call a function wherever its target is; recorded when this returns.

        The same id again is the same execution, running or finished. Raises UsageError for a
        call that cannot be, BrokerError or LedgerError when the ledger did not answer.
        """
        node = self._joined()
        create = self._create(node, promise_id, func, args, kwargs, self._options.target)
        return self._call(node, create, create)

    def run(
        self, promise_id: str, func: str | Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Handle[Any]:
        """Call a registered function in this process; the group finishes it if the process dies.

        Raises UnknownFunction when it is not registered here, otherwise as `rpc`.
        """
        if self._found(func) is None:
            raise unknown(_name(func), self._registry.names())
        node = self._joined()
        create = self._create(node, promise_id, func, args, kwargs, self.settings.group)
        return self._call(node, ttl_create(node.session, create), create)

    begin_rpc = rpc
    begin_run = run

    def get(self, promise_id: str) -> Handle[Any]:
        """The execution behind an id; raises UsageError when there is none."""
        node = self._joined()
        promise = self.promises.get(promise_id)
        settled = _unsettled()
        if promise.pending:
            node.listen(promise_id, settled)
        else:
            settled.set_result(promise)
        left_ms = promise.timeout_at - node.session.now()
        return Handle(promise_id, settled, left_ms, node.may_block)

    def tree(self, promise_id: str, limit: int = 1000) -> list[tuple[Promise, Task | None]]:
        """The promises of the tree an id belongs to, oldest first; empty when there is none."""
        root = origin_of(check_id(promise_id))
        reply = self._joined().request([OriginGet(root, limit)], root)
        return reply.tree or []

    def set_dependency(self, name: str, value: Any) -> None:
        """Give every body of this process an object, by `ctx.get_dependency(name)`."""
        self._dependencies[name] = value

    def start(self) -> None:
        """Take tasks of the own group. Returns at once; the process stays alive until `stop`."""
        with self._lock:
            first, self._started = not self._started, True
        self._joined().start()
        if first:
            threading.Thread(target=self._stopped.wait, name="resonate-alive").start()

    def serve(self) -> None:
        """Start, and block until SIGTERM or SIGINT; then stop gracefully.

        A second signal ends the process at once. Raises ResonateError when the worker's own
        loop failed.
        """
        wanted = threading.Event()

        def on_signal(number: int, _frame: object) -> None:
            if wanted.is_set():
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
        if node is not None and node[0] == os.getpid():
            node[1].stop(self.settings.grace if self._started else 0.5)
        if self._own_system is not None:
            self._own_system.close()

    def __enter__(self) -> Resonate:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _joined(self) -> Node:
        """The node of this process, made when it is first needed; a fork gets its own."""
        with self._lock:
            if self._stopped.is_set():
                raise UsageError("this Resonate was stopped; create another one")
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
        if not settings.pid:
            settings = dataclasses.replace(settings, pid=SystemRandom().token())
        system = self._system
        if settings.url:
            name = f"resonate_amqp {settings.group} {settings.pid}"
            broker: Any = open_broker(settings.url, heartbeat_s=settings.heartbeat, name=name)
        else:
            if system is None:
                log.info(
                    "no url: broker and ledger are embedded in this process, and calls of other "
                    "processes do not reach it"
                )
                system = self._own_system = Embedded(
                    settings.ledger or None,
                    max_deliveries=settings.max_deliveries,
                    serves_every_group=settings.group,
                )
            broker = system.connect()
        return Node(
            broker,
            self._registry,
            settings,
            self._dependencies,
            ThreadExecutor(settings.threads),
            GuardedTelemetry(self._telemetry),
            NoFailpoints(),
            self._stopped.set,
        )

    def _call(self, node: Node, request: Request, create: PromiseCreate) -> Handle[Any]:
        settled = _unsettled()
        response = node.create_listening(request, create.id, settled)
        timeout_at = (response.promise or create).timeout_at
        left_ms = timeout_at - node.session.now()
        return Handle(create.id, settled, left_ms, node.may_block)

    def _create(
        self,
        node: Node,
        promise_id: str,
        func: str | Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        target: str | None,
    ) -> PromiseCreate:
        check_root_id(promise_id)
        check_id(promise_id)
        options = self._options
        found = self._found(func)
        if target is None:
            if found is None:
                raise unknown(_name(func), self._registry.names())
            target = self.settings.group
        name = found.name if found else _name(func)
        version = options.version or (found.version if found else 1)
        seconds = self.settings.timeout if options.timeout is None else seconds_of(options.timeout)
        own = {
            ORIGIN: promise_id,
            PARENT: promise_id,
            SCOPE: "global",
            TARGET: canonical(target),
        }
        return PromiseCreate(
            id=promise_id,
            timeout_at=node.session.now() + round(seconds * 1000),
            param=encode_call(name, version, args, kwargs),
            tags=check_tags(options.tags) | own,
        )

    def _found(self, func: str | Callable[..., Any]) -> Registered | None:
        if isinstance(func, str):
            return self._registry.find(func, self._options.version)
        return self._registry.of(func)


class _View(Resonate):
    """A Resonate with other call options; everything else is the original's."""

    def __init__(self, original: Resonate) -> None:
        self.__dict__ = original.__dict__.copy()
        self._original = getattr(original, "_original", original)

    def start(self) -> None:
        self._original.start()

    def serve(self) -> None:
        self._original.serve()

    def stop(self) -> None:
        self._original.stop()

    def _joined(self) -> Node:
        return self._original._joined()


def _unsettled() -> Future[Promise]:
    """A future that nobody who waits for it can cancel for the others."""
    settled: Future[Promise] = Future()
    settled.set_running_or_notify_cancel()
    return settled


def _name(func: str | Callable[..., Any]) -> str:
    return func if isinstance(func, str) else getattr(func, "__name__", repr(func))
