"""What a worker does to its tasks before it starts, and where it refuses to."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery, signals
from celery.utils.imports import symbol_by_name

from resonate_amqp import Resonate
from resonate_amqp.ext.celery import durable, install


def shop(url: str = "amqp://nobody.invalid") -> tuple[Celery, Any, Any]:
    app = Celery("workers", broker="amqp://nobody.invalid//", set_as_current=False)
    resonate = Resonate(url, group="workers")

    @app.task(shared=False)
    @durable(resonate)
    def charge() -> None: ...

    @app.task(shared=False)
    def plain() -> None: ...

    return app, charge, plain


@dataclass(frozen=True, eq=False)
class Worker:
    """What a worker tells of itself when it starts."""

    app: Celery
    pool_cls: str


def starting(app: Celery, pool: str = "prefork") -> None:
    signals.worker_init.send(sender=Worker(app, pool))


def test_durable_tasks_are_acknowledged_late_and_all_others_as_they_say() -> None:
    app, charge, plain = shop()
    starting(app)
    assert (charge.acks_late, charge.reject_on_worker_lost) == (True, True)
    assert not plain.acks_late
    assert symbol_by_name(charge.Request).__mro__[1] is symbol_by_name(plain.Request)


def test_an_installed_app_acknowledges_late_what_names_a_promise_only() -> None:
    app, _charge, plain = shop()
    install(app, Resonate("amqp://nobody.invalid", group="installed"))
    starting(app)
    made = symbol_by_name(plain.Request)
    for headers, late in (({}, False), ({"resonate:id": "order-1"}, True)):
        request = object.__new__(made)
        request._request_dict, request._task = headers, plain
        assert bool(request.task.acks_late) is late
        assert bool(request.task.reject_on_worker_lost) is late


@pytest.mark.parametrize("pool", ["gevent", "celery.concurrency.eventlet:TaskPool"])
def test_a_pool_of_green_threads_ends_the_worker(pool: str) -> None:
    app, *_ = shop()
    with pytest.raises(SystemExit, match=r"do not run in the .* pool.*prefork, threads or solo"):
        starting(app, pool)


def test_a_worker_without_a_broker_for_the_ledger_ends() -> None:
    app, *_ = shop(url="")
    with pytest.raises(SystemExit, match="has no broker"):
        starting(app)


def test_an_app_without_durable_tasks_is_left_alone() -> None:
    app = Celery("alone", set_as_current=False)
    starting(app, "gevent")


def test_a_real_worker_names_the_pool_it_cannot_use(tmp_path: Any) -> None:
    (tmp_path / "green.py").write_text(
        "from celery import Celery\n"
        "from resonate_amqp.ext.celery import durable, from_celery\n"
        "app = Celery('green', broker='amqp://nobody.invalid//')\n"
        "app.conf.worker_pool = 'gevent'\n"
        "@app.task\n"
        "@durable(from_celery(app))\n"
        "def charge(): ...\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "green", "worker"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "durable tasks do not run in the gevent pool" in done.stderr


def test_the_package_is_imported_without_celery_and_the_retrofit_has_no_side_effects() -> None:
    program = (
        "import sys, threading\n"
        "import resonate_amqp.resonate, resonate_amqp.cli.main, resonate_amqp.server.service\n"
        "assert not {'celery', 'kombu'} & set(sys.modules)\n"
        "from celery import signals\n"
        "import resonate_amqp.ext.celery\n"
        "assert not signals.worker_init.receivers\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
