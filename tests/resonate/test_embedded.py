"""Embedded systems: one for several instances, on memory or on a file that outlives them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Context, Embedded, Resonate, UsageError

WAIT_S = 10


def test_several_instances_share_one_system() -> None:
    with Embedded() as system:
        one = Resonate(system=system, group="one", grace=1)
        other = Resonate(system=system, group="other", grace=1)

        @one.register
        def top(ctx: Context) -> Generator[Any, Any, Any]:
            return (yield ctx.rfc("down", 1).options(target="other")) + 1

        @other.register
        def down(_ctx: Context, n: int) -> int:
            return n + 1

        one.start()
        other.start()
        assert other.options(target="one").rpc("top", "top").result(WAIT_S) == 3
        one.stop()
        other.stop()


def test_a_file_outlives_the_system_and_finished_steps_do_not_run_again(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'app.db'}"
    ran: list[str] = []
    waiting = threading.Event()

    def serve(resonate: Resonate, *, block: bool) -> None:
        @resonate.register
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ran.append("flow")
            one = yield ctx.lfc(first)
            other = yield ctx.lfc(second)
            return one + other

        def first(_ctx: Context) -> int:
            ran.append("first")
            return 1

        def second(_ctx: Context) -> int:
            ran.append("second")
            if block:
                waiting.set()
                threading.Event().wait()
            return 2

    system = Embedded(ledger)
    resonate = Resonate(system=system, group="g", grace=0)
    serve(resonate, block=True)
    resonate.start()
    resonate.rpc("flow", "flow")
    assert waiting.wait(WAIT_S)
    resonate.stop()
    system.close()
    with Embedded(ledger) as again:
        resonate = Resonate(system=again, group="g", grace=1)
        serve(resonate, block=False)
        resonate.start()
        assert resonate.rpc("flow", "flow").result(WAIT_S) == 3
        resonate.stop()
    assert ran == ["flow", "first", "second", "flow", "second"]


def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'app.db'}"
    code = f"from resonate_amqp import Embedded; Embedded({ledger!r})"
    with Embedded(ledger):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode != 0
    assert "is in use" in other.stderr
    assert "url=" in other.stderr
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


def test_a_script_that_calls_and_prints_ends() -> None:
    code = """
from resonate_amqp import Resonate
resonate = Resonate()
@resonate.register
def f(ctx):
    return 42
print(resonate.rpc("id", f).result(10))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S
    )
    assert done.stdout.strip() == "42"
    assert done.stderr == ""


def test_an_embedded_database_says_nothing_of_its_migrations(tmp_path: Path) -> None:
    code = f"""
import logging
logging.basicConfig(level=logging.INFO)
from resonate_amqp import Embedded
Embedded("sqlite:///{tmp_path / "app.db"}").close()
logging.getLogger("alembic").info("of the application's own")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "alembic" in line]
    assert told == ["INFO:alembic:of the application's own"]


def test_importing_the_package_loads_neither_sqlmodel_nor_kombu_nor_pika() -> None:
    code = """
import sys, resonate_amqp
print([name for name in ('sqlmodel', 'sqlalchemy', 'kombu', 'pika') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_url_and_system_exclude_each_other() -> None:
    with Embedded() as system, pytest.raises(UsageError, match="either"):
        Resonate("amqp://localhost", system=system)


def test_a_given_topology_concerns_no_embedded_system() -> None:
    """Nobody else could make its queues; the setting may be there for the programs beside it."""
    with Resonate(topology="passive", grace=1) as resonate:

        @resonate.register
        def double(_ctx: Context, number: int) -> int:
            return 2 * number

        assert resonate.rpc("a", "double", 4).result(WAIT_S) == 8


@pytest.mark.parametrize("target", ["celery://payments", "queue://prices"])
def test_a_call_to_a_queue_that_no_embedded_system_has_is_refused(
    resonate: Resonate, target: str
) -> None:
    @resonate.register
    def order(ctx: Context) -> Generator[Any, Any, str]:
        try:
            yield ctx.rfc("charge", 1).options(target=target)
        except Exception as refused:
            return str(refused)
        return "charged"

    assert "has no queues but its own" in resonate.rpc("order-1", order).result(20)
    with pytest.raises(UsageError, match="give Resonate the url"):
        resonate.options(target=target).rpc("direct", "charge", 1)
