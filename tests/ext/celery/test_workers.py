"""What a worker does to its tasks before it starts, and where it refuses to."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery, current_app, signals
from celery.utils.imports import symbol_by_name

from resonate_amqp import Resonate
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.choose import ChosenBroker
from resonate_amqp.ext.celery import durable, from_celery, install
from resonate_amqp.ext.celery.made import made_of
from tests.ledgers.proxy import Proxy


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


def elsewhere() -> None: ...


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
    with pytest.raises(SystemExit, match="its Resonate is embedded in this process"):
        starting(app)


def test_a_worker_of_a_broker_that_is_no_rabbitmq_ends_and_says_what_to_set() -> None:
    app, *_ = shop()
    app.conf.broker_url = "redis://:secret@cache.invalid:6379/0"
    with pytest.raises(SystemExit, match=r"task 'tests.*charge' is durable: .* no RabbitMQ") as end:
        starting(app)
    said = str(end.value)
    assert "redis://:**@cache.invalid:6379/0" in said
    assert "its Resonate is on amqp://nobody.invalid" in said
    assert "set its broker_url to the RabbitMQ of the ledger" in said


@pytest.mark.parametrize("by", ["durable", "install"])
def test_a_worker_on_another_virtual_host_than_its_resonate_ends(by: str) -> None:
    app = Celery("two", broker="amqp://me:secret@mq.invalid/shop", set_as_current=False)
    app.conf.resonate_url = "amqp://me:secret@mq.invalid/other"

    @app.task(shared=False)
    def plain() -> None: ...

    if by == "durable":
        app.task(shared=False)(durable()(elsewhere))
    else:
        install(app)
    with pytest.raises(SystemExit, match=r"another virtual host.*RESONATE_AMQP_URL") as end:
        starting(app)
    assert f"is {'durable' if by == 'durable' else 'installed'}: its messages" in str(end.value)
    assert "amqp://me:***@mq.invalid:5672/shop" in str(end.value)
    assert "amqp://me:***@mq.invalid/other" in str(end.value)


def test_the_broker_that_a_worker_reads_from_is_the_one_that_counts() -> None:
    app = Celery("reads", broker="amqp://mq.invalid/shop", set_as_current=False)
    app.task(shared=False)(durable()(elsewhere))
    app.conf.broker_read_url = "amqp://mq.invalid/other"
    with pytest.raises(SystemExit, match="another virtual host"):
        starting(app)


@pytest.mark.rabbitmq
def test_a_worker_on_another_broker_with_that_virtual_host_ends(
    broker: ChosenBroker, other: PrivateBroker
) -> None:
    app = Celery("two", broker=broker.url, set_as_current=False)
    app.conf.resonate_url = other.url
    app.task(shared=False)(durable()(elsewhere))
    with pytest.raises(SystemExit, match="cluster 'other@example' and not "):
        starting(app)


@pytest.mark.rabbitmq
def test_a_worker_behind_a_load_balancer_starts(other: PrivateBroker) -> None:
    behind = Proxy(other.url)
    its, balanced = (str(urlsplit(url).port) for url in (other.url, behind.url))
    app = Celery("balanced", broker=other.url, set_as_current=False)
    app.conf.resonate_url = other.url.replace(its, balanced)
    task = app.task(shared=False)(durable()(elsewhere))
    starting(app)
    behind.cut()
    assert task.acks_late


def test_what_is_installed_may_be_the_current_app() -> None:
    before = current_app._get_current_object()
    install(current_app)
    app = Celery("current", broker="amqp://mq.invalid/shop", set_as_current=False)
    task = app.task(shared=False)(elsewhere)
    try:
        app.set_current()
        starting(app)
    finally:
        before.set_current()
    assert made_of(task) is not None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["promises", "get", "order-7"], 2, "redis://:**@cache.invalid:6379/0, which is no Rabbit"),
        (["promises", "get", "--help"], 0, "--broker URL"),
    ],
)
def test_the_command_line_of_an_app_without_rabbitmq(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    environment = {"BROKER": "redis://:secret@cache.invalid:6379/0", "POOL": "solo"}
    done = celery(tmp_path, environment, "resonate", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_a_worker_of_an_app_without_a_broker_ends() -> None:
    app = Celery("bare", set_as_current=False)
    app.task(shared=False)(durable()(elsewhere))
    with pytest.raises(SystemExit, match="the Celery app 'bare' names no broker"):
        starting(app)


def test_a_worker_reads_the_settings_at_its_start() -> None:
    app = Celery("late", set_as_current=False)
    resonate = from_celery(app)
    app.task(shared=False)(durable(resonate)(elsewhere))
    app.config_from_object({"broker_url": "amqp://mq.invalid/shop", "resonate_group": "late"})
    starting(app)
    app.conf.resonate_group = "later"
    assert resonate.settings.group == "late"


def test_an_app_without_durable_tasks_is_left_alone() -> None:
    app = Celery("alone", set_as_current=False)
    starting(app, "gevent")


SHOP = """\
import os
from celery import Celery
from resonate_amqp.ext.celery import durable, from_celery
app = Celery('ending', broker=os.environ['BROKER'])
app.conf.worker_pool = os.environ['POOL']
resonate = from_celery(app)
@app.task
@durable(resonate)
def charge(): ...
"""


def celery(
    folder: Path, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """What `celery -A` does in a folder with that shop."""
    (folder / "ending.py").write_text(SHOP, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "ending", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("environment", "pool", "said"),
    [
        (
            {"BROKER": "amqp://mq.invalid//"},
            "gevent",
            ["durable tasks do not run in the gevent pool"],
        ),
        (
            {"BROKER": "redis://:secret@cache.invalid:6379/0"},
            "prefork",
            ["task 'ending.charge' is durable", "redis://:**@cache.invalid", "is no RabbitMQ"],
        ),
        (
            {
                "BROKER": "redis://:secret@cache.invalid:6379/0",
                "RESONATE_AMQP_URL": "amqp://me:secret@mq.invalid/shop",
            },
            "solo",
            ["redis://:**@cache.invalid", "amqp://me:***@mq.invalid/shop", "is no RabbitMQ"],
        ),
        (
            {
                "BROKER": "amqp://me:secret@mq.invalid//",
                "RESONATE_AMQP_URL": "amqp://me:secret@mq.invalid/shop",
            },
            "threads",
            ["//me:***@mq.invalid:5672//", "//me:***@mq.invalid/shop", "another virtual host"],
        ),
    ],
)
def test_a_real_worker_ends_and_says_why(
    tmp_path: Path, environment: dict[str, str], pool: str, said: list[str]
) -> None:
    done = celery(tmp_path, environment | {"POOL": pool}, "worker")
    assert done.returncode == 1
    for words in said:
        assert words in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


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
