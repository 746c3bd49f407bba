"""A system of real processes over real RabbitMQ: a ledger, workers, gateways, and their records."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pika
import pika.exceptions

from resonate_amqp.ledgers import schema
from resonate_amqp.server.intake import PROBE
from resonate_amqp.settings import PREFIX
from resonate_amqp.wire.address import DEAD_QUEUE, any_queue, ledger_queue
from tests.scenarios.journal import FOLDER, Journal

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 20.0
POLL_S = 0.01
ASK_BROKER_S = 0.05
"""Between questions that cost the one who is asked as well."""

LEFTOVERS = {
    "outbox rows": "SELECT serial, task_id FROM outbox",
    "callbacks": "SELECT awaited, awaiter FROM callbacks",
    "listeners": "SELECT awaited, address FROM listeners",
    "unfinished tasks": "SELECT id, state FROM tasks WHERE state != 'fulfilled'",
    "pending promises": "SELECT id FROM promises WHERE state = 'pending'",
}


def wait_until(
    what: str,
    condition: Callable[[], Any],
    timeout_s: float = WAIT_S,
    poll_s: float = POLL_S,
) -> Any:
    """What `condition` answers once that is true; fails when it takes longer than `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(poll_s)
    return found


class Process:
    """A process of the scenario; what it prints is kept in files beside the journal."""

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        *arguments: str,
        root: Path = ROOT,
    ) -> None:
        self.name = name
        self._out = folder / f"{name}.out"
        self.log = folder / f"{name}.log"
        with self._out.open("wb") as out, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> float:
        """`kill -9`; answers when that was, in seconds of the clock that all processes share."""
        at = time.monotonic()
        self._process.kill()
        self._process.wait()
        return at

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """The exit code."""
        return self._process.wait(timeout_s)

    def said(self) -> list[dict[str, Any]]:
        """The lines it printed so far."""
        lines = self._out.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def results(self) -> dict[str, Any]:
        """By id, what a gateway's calls came to so far: the result, or the error's type."""
        lines = [line for line in self.said() if "result" in line or "error" in line]
        return {line["id"]: line.get("result", line.get("error")) for line in lines}

    def recorded(self) -> int:
        """How many calls of a gateway are recorded."""
        return sum("recorded" in line for line in self.said())


class System:
    """The processes of one scenario on one virtual host, with one database.

    That is a SQLite file, unless `database` is the url of one with PostgreSQL. What is started
    runs the code that is found in `root`.
    """

    root = ROOT

    def __init__(self, url: str, folder: Path, database: str = "") -> None:
        self.url = url
        self.database = database or f"sqlite:///{folder / 'ledger.db'}"
        self.journal = Journal(folder)
        self._folder = folder
        self._processes: list[Process] = []
        self._groups: set[str] = set()

    def ledger(self, *mishaps: str, **settings: float | str) -> Process:
        """Start a ledger service, to which mishaps happen at its failpoints."""
        self._lay_database()
        command = ("resonate_amqp", "ledger", "serve", *_failpoints(mishaps))
        return self._start("ledger", settings, *command)

    def worker(self, letter: str, *mishaps: str, **settings: float | str) -> Process:
        """Start a worker of service a, b, c or f, to which mishaps happen at its failpoints.

        `chain:b` is the service b of the module `chain`.
        """
        module, _, letter = letter.rpartition(":")
        self._groups.add(f"service-{letter}")
        where = f"tests.scenarios.{module or 'services'}:{letter}"
        command = ("resonate_amqp", "worker", "run", where, *_failpoints(mishaps))
        return self._start(letter, settings, *command)

    def chain(self, letters: str, standby: str = "", /, **settings: float) -> Process:
        """Start one process for several groups of the chain; those of `standby` wait at a gate."""
        self._groups |= {f"service-{letter}" for letter in letters + standby}
        return self._start("chain", settings, "tests.scenarios.chain", letters, standby)

    def pool(self, letter: str, processes: int, **settings: float) -> Process:
        """Start a supervisor with so many workers of service a, b, c or f."""
        self._groups.add(f"service-{letter}")
        where = f"tests.scenarios.services:{letter}"
        command = ("resonate_amqp", "worker", "run", where, "--processes", str(processes))
        return self._start(letter, settings, *command)

    def program(self, module: str, *arguments: str, **settings: float) -> Process:
        """Start `python -m MODULE ARGUMENTS` with the system's urls in its environment."""
        return self._start(module.rpartition(".")[2], settings, module, *arguments)

    def workers(self, letters: str) -> list[Process]:
        return [self.worker(letter) for letter in letters]

    def gateway(
        self, *given: str, function: str = "foo", to: str = "service-a", **settings: float
    ) -> Process:
        """Call a function once for each `ID` or `ID=ARGUMENT`.

        A ledger that was started is waited for: a call before its queue is there is repeated
        only after two seconds.
        """
        if any(
            process.running and process.name.startswith("ledger") for process in self._processes
        ):
            self.wait_for_ledger()
        module = "tests.scenarios.gateway"
        return self._start("gateway", settings, module, function, to, *given)

    def result(self, gateway: Process, timeout_s: float = WAIT_S) -> Any:
        """What a gateway's only call came to."""
        wait_until("the gateway has its result", gateway.results, timeout_s)
        (result,) = gateway.results().values()
        assert gateway.wait() == 0
        return result

    def wait_for_run(self, function: str, times: int = 1) -> None:
        """Wait until a function's body has begun so many times."""
        what = f"{function} has begun {times} times"
        wait_until(what, lambda: len(self.journal.runs(function)) >= times)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the ledger's database; a ledger must be there to have made it."""
        if self.database.startswith("postgresql"):
            import psycopg

            with psycopg.connect(self.database) as server:
                return server.execute(statement.encode()).fetchall()
        path = self.database.removeprefix("sqlite:///")
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        with contextlib.closing(database):
            return database.execute(statement).fetchall()

    def run(self, *arguments: str) -> str:
        """What a command of the command line prints; it must succeed."""
        command = [sys.executable, "-m", "resonate_amqp", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stuck(self, older: float = 0.0) -> dict[str, tuple[str, str]]:
        """By id, the state of what waits and what it waits for, as an operator sees it."""
        found = json.loads(self.run("stuck", "--older", str(older), "--json"))
        return {one["id"]: (one["state"], one["waits_for"]) for one in found}

    def task_state(self, promise_id: str) -> str:
        rows = self.query(f"SELECT state FROM tasks WHERE id = '{promise_id}'")
        return str(rows[0][0]) if rows else ""

    def fulfilled(self, function: str) -> int:
        """How many calls of a function have ended."""
        ended = f"SELECT count(*) FROM promises WHERE func = '{function}' AND state = 'resolved'"
        return int(self.query(ended)[0][0])

    def leftovers(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the ledger still has to do."""
        found = {what: self.query(statement) for what, statement in LEFTOVERS.items()}
        return {what: rows for what, rows in found.items() if rows}

    def waiting(self, group: str) -> int:
        """How many executes of a group lie in its queue and are held by nobody."""
        return int(self._declared(any_queue(group)).message_count)

    def wait_for_ledger(self, count: int = 1, number: int = 0) -> None:
        """Wait until so many ledgers stand by to take requests of a queue; one of them does."""
        queue = ledger_queue(number)
        what = f"{count} ledgers take {queue}"
        wait_until(what, lambda: self._consumers(queue) >= count, poll_s=ASK_BROKER_S)

    def wait_for_consumers(self, group: str, count: int) -> None:
        """Wait until exactly so many workers of a group take its executes."""
        queue = any_queue(group)
        what = f"{count} workers take {queue}"
        wait_until(what, lambda: self._consumers(queue) == count, poll_s=ASK_BROKER_S)

    def end(self) -> None:
        """Stop every process in order, and see that nothing is left over anywhere."""
        with contextlib.suppress(AssertionError):
            wait_until("nothing is left over", lambda: not self.leftovers(), poll_s=ASK_BROKER_S)
        assert (left := self.leftovers()) == {}, left
        self.stop()
        assert (lying := self._messages()) == {}, lying

    def stop(self) -> None:
        """SIGTERM to every process, the ledgers last; each must exit with 0."""
        running = [process for process in self._processes if process.running]
        ledgers = [process for process in running if process.name.startswith("ledger")]
        for stopping in ([one for one in running if one not in ledgers], ledgers):
            for process in stopping:
                process.terminate()
            # A gateway ends by itself once it has its results, or dies of the signal.
            codes = {one.name: one.wait() for one in stopping}
            served = {name: code for name, code in codes.items() if "gateway" not in name}
            assert served == dict.fromkeys(served, 0)

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()

    def logs(self) -> str:
        """The end of every process's log."""
        texts = [
            (process.name, process.log.read_text(encoding="utf-8", errors="replace"))
            for process in self._processes
        ]
        return "\n".join(f"--- {name}\n" + text[-6_000:] for name, text in texts)

    def _lay_database(self) -> None:
        """Spare this release's ledger the making of its schema, which takes long."""
        path = Path(self.database.removeprefix("sqlite:///"))
        if self.root == ROOT and not self.database.startswith("postgresql") and not path.exists():
            path.write_bytes(_empty_database())

    def _start(self, name: str, settings: Mapping[str, float | str], *arguments: str) -> Process:
        numbered = f"{name}-{len(self._processes)}"
        environment = self._environment(settings)
        process = Process(numbered, self._folder, environment, *arguments, root=self.root)
        self._processes.append(process)
        return process

    def _environment(self, settings: Mapping[str, float | str]) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        own = {PREFIX + key.upper(): str(value) for key, value in settings.items()}
        where = {
            PREFIX + "URL": self.url,
            PREFIX + "LEDGER": self.database,
            FOLDER: str(self._folder),
        }
        return inherited | where | own

    def _consumers(self, queue: str) -> int:
        try:
            return int(self._declared(queue).consumer_count)
        except pika.exceptions.ChannelClosedByBroker:
            return 0

    def _connection(self) -> Any:
        return pika.BlockingConnection([pika.URLParameters(one) for one in self.url.split(";")])

    def _declared(self, queue: str) -> Any:
        with contextlib.closing(self._connection()) as broker:
            return broker.channel().queue_declare(queue, passive=True).method

    def _messages(self) -> dict[str, list[bytes]]:
        """By queue, what lies in it while nobody consumes; a ledger's probe is no message."""
        numbers = [row[0] for row in self.query("SELECT DISTINCT queue FROM shards")]
        ledgers = [ledger_queue(number) for number in numbers]
        queues = [*ledgers, DEAD_QUEUE, *map(any_queue, sorted(self._groups))]
        found = {}
        with contextlib.closing(self._connection()) as broker:
            channel = broker.channel()
            for queue in queues:
                bodies = []
                while (got := channel.basic_get(queue))[0] is not None:
                    bodies.append(got[2])
                found[queue] = [body for body in bodies if body != PROBE]
        return {queue: bodies for queue, bodies in found.items() if bodies}


def _failpoints(mishaps: Iterable[str]) -> list[str]:
    return [f"--failpoint={mishap}" for mishap in mishaps]


@functools.cache
def _empty_database() -> bytes:
    """A SQLite file with the schema of a ledger and nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        schema.prepare(f"sqlite:///{path}")
        return path.read_bytes()
