"""The how-to about Celery: its programs run, and print what the page says."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from celery import _state

from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from tests.docs.markdown import ROOT, blocks
from tests.docs.running import run_blocks
from tests.examples.programs import Programs, wait_until

PAGE = ROOT / "docs" / "how-to" / "retrofit-celery.md"


FLASK = "In a Flask application"
DJANGO = "In a Django project"
ONE_BROKER = "One broker"
APART = (FLASK, DJANGO, ONE_BROKER)
"""The sections that are run by a test of their own."""


@pytest.fixture
def programs(vhost_url: str, tmp_path: Path) -> Iterator[Programs]:
    """The page's programs in a folder, beside a broker and a ledger."""
    ledger = start_ledger(read({"url": vhost_url, "ledger": f"sqlite:///{tmp_path / 'l.db'}"}))
    made = written(tmp_path, BROKER_URL=vhost_url)
    yield made
    made.stop()
    ledger.stop()


def written(folder: Path, **variables: str) -> Programs:
    """The page's programs in a folder; what they start finds this package."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = Programs(folder, PATH=path, PYTHONPATH=str(ROOT), **variables)
    assert done(made, "startproject", "django-admin", "startproject", "mysite", ".") == 0
    assert done(made, "startapp", "django-admin", "startapp", "orders") == 0
    for block in blocks(PAGE):
        if block.title and block.language == "python":
            # What the page shows of the settings stands at their end.
            mode = "a" if block.title == "mysite/settings.py" else "w"
            with (folder / block.title).open(mode, encoding="utf-8") as file:
                file.write(block.text)
    return made


def commands(*headings: str) -> list[list[str]]:
    """The commands of these sections; without any, of those that belong together."""
    lines = [
        block.text.splitlines()
        for block in blocks(PAGE)
        if block.language == "sh"
        and (block.heading in headings if headings else block.heading not in APART)
    ]
    return [shlex.split(line) for block in lines for line in block]


def done(programs: Programs, name: str, *command: str) -> int:
    """The exit code of a program that ends."""
    return programs.start(name, *command, cwd=programs.folder).wait(60)


def start_workers(programs: Programs, workers: list[list[str]]) -> None:
    for number, command in enumerate(workers):
        programs.start(f"worker-{number}", *command, cwd=programs.folder)
    for number in range(len(workers)):
        wait_until(f"worker {number} is ready", partial(ready, programs, f"worker-{number}"))


def ready(programs: Programs, name: str) -> bool:
    return " ready." in programs.log(name)


@pytest.mark.rabbitmq
@pytest.mark.processes
def test_the_page_s_shop_runs_as_it_says(programs: Programs) -> None:
    start_workers(programs, [command for command in commands() if "worker" in command])
    (order,) = (command for command in commands() if command[0] == "python")
    assert done(programs, "order", *order) == 0
    (said,) = (block.text for block in blocks(PAGE) if block.title == "order")
    assert programs.out("order") == said
    asked = [command for command in commands() if "resonate" in command]
    for number, command in enumerate(asked):
        name = f"asked-{number}"
        assert done(programs, name, *command) == 0
        assert "order-7" in programs.out(name)


@pytest.mark.rabbitmq
@pytest.mark.processes
def test_the_page_s_flask_application_runs(programs: Programs) -> None:
    start_workers(programs, commands(FLASK))
    visit = "print(create_app().test_client().post('/invoices/i-7').json)"
    assert done(programs, "visit", "python", "-c", f"from website import create_app; {visit}") == 0
    assert programs.out("visit") == "Ann wants 7 EUR for i-7\n"
    test = "from make_celery import celery_app; from invoices import send; celery_app.set_current()"
    asked = f"{test}; print(send.apply(['i-7']).get())"
    programs.environment["BROKER_URL"] = "amqp://127.0.0.1:1"
    assert done(programs, "eager", "python", "-c", asked) == 0, programs.log("eager")
    assert programs.out("eager") == programs.out("visit")


@pytest.mark.rabbitmq
@pytest.mark.processes
def test_the_page_s_django_project_runs(programs: Programs) -> None:
    worker, test = commands(DJANGO)
    for number, command in enumerate((["makemigrations", "orders"], ["migrate"])):
        assert done(programs, f"manage-{number}", "python", "manage.py", *command) == 0
    start_workers(programs, [worker])
    place = "from orders.placing import place; place('o-7')"
    assert done(programs, "place", "python", "manage.py", "shell", "-c", place) == 0
    with contextlib.closing(sqlite3.connect(programs.folder / "db.sqlite3")) as site:
        asked = "SELECT name FROM orders_order WHERE state = 'charged'"
        charged = wait_until("it is charged", lambda: site.execute(asked).fetchall())
    assert charged == [("o-7",)]
    assert done(programs, "test", *test) == 0, programs.log("test")
    assert "OK" in programs.log("test")


@pytest.mark.processes
def test_a_worker_with_two_brokers_ends_as_the_page_shows(tmp_path: Path) -> None:
    ((theirs, ours, *command),) = commands(ONE_BROKER)
    programs = written(tmp_path, **dict(one.split("=", 1) for one in (theirs, ours)))
    assert done(programs, "refused", *command) == 1
    (shown,) = (block.text for block in blocks(PAGE) if block.title == "refusal")
    # Celery itself may have warned of something before.
    assert " ".join(programs.log("refused").split()).endswith(" ".join(shown.split()))


@pytest.fixture
def as_before() -> Iterator[None]:
    """The tasks of an app are tasks of every app that is made later, unless that is undone."""
    tasks, app = set(_state._on_app_finalizers), _state.get_current_app()
    yield
    _state._on_app_finalizers.intersection_update(tasks)
    app.set_current()


@pytest.mark.usefixtures("as_before")
def test_the_page_s_other_blocks_print_what_it_shows() -> None:
    _, shown = run_blocks(PAGE, [block for block in blocks(PAGE) if not block.title])
    assert shown == 1
