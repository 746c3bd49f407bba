"""A shop of real processes: a ledger, Celery workers, and a client that knows tasks by name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pika
import pytest
from celery import Celery
from celery.result import AsyncResult

from tests.scenarios.system import ASK_BROKER_S, Process, System, wait_until

SHOP = "tests.ext.celery.shop"
RESULT_S = 30.0
FAST = {"refresh": 2.0}


class Shop(System):
    """The processes of one shop; its queue is Celery's default one, unless told otherwise."""

    def __init__(self, url: str, folder: Path, results: str = "rpc://") -> None:
        super().__init__(url, folder)
        self.results = results

    def celery(
        self,
        module: str = SHOP,
        *,
        pool: str = "prefork",
        slots: int = 1,
        queue: str = "celery",
        results: str | None = None,
        quorum: bool = False,
    ) -> Process:
        """Start a worker, and wait until it takes its queue."""
        # Two workers of one name would take each other's messages.
        options = (
            "-n",
            f"{queue}@localhost",
            "-P",
            pool,
            "-c",
            str(slots),
            "-Q",
            queue,
            "-l",
            "INFO",
        )
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        environment = {"SHOP_BROKER": self.url, "SHOP_RESULTS": results or self.results}
        if quorum:
            environment["SHOP_QUEUES"] = "quorum"
        os.environ.update(environment)
        try:
            started = self._start("celery", {}, "celery", "-A", module, "worker", *options, *quiet)
        finally:
            for name in environment:
                del os.environ[name]
        wait_until(f"a worker takes {queue}", lambda: self._consumers(queue), poll_s=ASK_BROKER_S)
        return started

    def command(self, *arguments: str) -> str:
        """What `celery -A shop …` prints; the broker is the app's own."""
        environment = {
            name: value for name, value in self._environment({}).items() if "AMQP_URL" not in name
        }
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", SHOP, *arguments],
            env=environment | {"SHOP_BROKER": self.url},
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def client(self, results: str | None = None, *, quorum: bool = False) -> Iterator[Client]:
        """A stock Celery app that imports none of the shop's tasks."""
        backend = results or self.results
        app = Celery("client", broker=self.url, backend=backend, set_as_current=False)
        app.conf.broker_connection_retry_on_startup = True
        if quorum:
            app.conf.task_default_queue_type = "quorum"
        made = Client(app)
        try:
            yield made
        finally:
            consumer: Any = getattr(app.backend, "result_consumer", None)
            # It has nothing to stop when nobody asked for a result.
            with contextlib.suppress(AttributeError):
                consumer.stop()
            app.close()

    def child_of(self, worker: Process) -> int:
        """The process of a prefork pool with one slot."""
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
        (child,) = wait_until("the pool has a process", lambda: children.read_text().split())
        return int(child)

    def kill_child(self, worker: Process) -> None:
        """`kill -9` of the pool's only process."""
        os.kill(self.child_of(worker), signal.SIGKILL)

    def outcome(self, promise_id: str) -> tuple[str, str]:
        """The state of a promise, once it is settled, and the type it was rejected with."""
        asked = (
            "SELECT state, coalesce(error_type, '') FROM promises "
            f"WHERE id = '{promise_id}' AND state != 'pending'"
        )
        ((state, kind),) = wait_until(f"{promise_id} is settled", lambda: self.query(asked))
        return str(state), str(kind)


OLD_THREADS = pytest.mark.skipif(
    celery.VERSION < (5, 5),
    reason="Celery 5.4 acknowledges from the threads pool only at the broker's next event, as late "
    "as 10 s after the task",
)
OLD_DATABASE = pytest.mark.skipif(
    celery.VERSION < (5, 5),
    reason="Celery 5.4 makes no tables for results with SQLAlchemy 2.1",
)


class Client:
    """Sends tasks by name."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def s(self, name: str, *args: Any, **options: Any) -> Any:
        """A signature of one of the shop's tasks."""
        return self.app.signature(f"{SHOP}.{name}", args=args, options=options)

    def send(self, name: str, *args: Any, **options: Any) -> AsyncResult:
        return self.s(name, *args).apply_async(**options)


def result(sent: AsyncResult, timeout_s: float = RESULT_S) -> Any:
    """What a task came to; raises what it failed with."""
    return sent.get(timeout=timeout_s, interval=0.02)


def connection(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))
