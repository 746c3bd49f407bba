"""The set-up that all pains share: a ledger, a worker that runs both twins, and a client."""

from __future__ import annotations

from collections import Counter
from typing import Any

from celery.result import AsyncResult

from tests.ext.celery.system import Client, Shop
from tests.scenarios.system import Process, wait_until

PAINS = "tests.docs.pains"
SLOTS = 6
BEGUN_S = 30.0


class Pains(Shop):
    """Orders end in `-stock` or `-durable`: what they begin with is the test's own."""

    client_of: Client
    exploding: AsyncResult
    """A durable task that kills its process, sent before the first test."""
    _worker: Process | None = None

    def work(self) -> Process:
        """The worker of the default queue, which is started if none runs."""
        if self._worker is None or not self._worker.running:
            self._worker = self.celery(PAINS, slots=SLOTS)
        return self._worker

    def crash(self) -> None:
        """`kill -9` of the worker with all its processes; another one is started."""
        self.work().kill()
        self.work()

    def open_gates(self) -> None:
        """Let nothing of a test that failed hold up the next one."""
        for gate in self._folder.glob("*.closed"):
            gate.unlink()

    def s(self, name: str, *args: Any) -> Any:
        """A signature of one of the tasks."""
        return self.client_of.app.signature(f"{PAINS}.{name}", args=args)

    def send(self, name: str, *args: Any, **options: Any) -> AsyncResult:
        return self.s(name, *args).apply_async(**options)

    def both(self, name: str, order: str) -> tuple[AsyncResult, AsyncResult]:
        """Send the stock task and the durable one."""
        stock = self.send(name, f"{order}-stock")
        return stock, self.send(f"{name}_durable", f"{order}-durable")

    def fresh(self, task_id: str) -> AsyncResult:
        """What another process is told of a task."""
        return self.client_of.app.AsyncResult(task_id)

    def times(self, step: str, order: str) -> dict[str, int]:
        """How often a step was begun, by `stock` and `durable`."""
        found: Counter[str] = Counter()
        for run in self.journal.runs(step):
            begins, _, which = run.promise_id.rpartition("-")
            if begins == order:
                found[which] += 1
        return dict(found)

    def wait_for(self, step: str, order: str, **counts: int) -> None:
        """Wait until a step was begun so often."""

        def begun() -> bool:
            found = self.times(step, order)
            return all(found.get(which, 0) >= count for which, count in counts.items())

        wait_until(f"{step} of {order} begins {counts} times", begun, BEGUN_S)
