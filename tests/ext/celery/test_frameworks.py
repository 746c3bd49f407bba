"""Flask's app factory and a Django project, with real workers and the layouts of their pages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from tests.examples.programs import Programs, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

Start = Callable[..., Programs]


@pytest.fixture
def start(vhost_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker of a project; its app is the only one that names the broker."""
    database = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = start_ledger(read({"url": vhost_url, "ledger": database}))
    begun: list[Programs] = []

    def started(module: str, **environment: str) -> Programs:
        made = Programs(tmp_path, **environment)
        begun.append(made)
        command = ("-A", module, "worker", "-c", "1", "-n", "site@localhost", "-l", "INFO")
        made.start("worker", sys.executable, "-m", "celery", *command)
        wait_until("the worker is ready", lambda: " ready." in made.log("worker"))
        return made

    yield started
    for programs in begun:
        programs.stop()
        sys.stdout.write(programs.log("worker"))
    ledger.stop()


def printed(programs: Programs, module: str) -> Any:
    """What a program of the project prints."""
    code = programs.start("visit", sys.executable, "-m", module).wait(60)
    assert code == 0, programs.log("visit")
    return json.loads(programs.out("visit"))


def test_flask_s_app_factory(start: Start, vhost_url: str) -> None:
    project = "tests.ext.celery.flask_project"
    programs = start(f"{project}.make_celery", BROKER_URL=vhost_url)
    answer, state = printed(programs, f"{project}.visit")
    assert answer == ["o-7: 7 EUR", "parcel of o-7 by flask_project", "from flask_project"]
    assert state == "resolved"


def test_django_s_project_layout(start: Start, vhost_url: str, tmp_path: Path) -> None:
    project = "tests.ext.celery.django_project"
    site = {"SITE_BROKER": vhost_url, "SITE_DATABASE": str(tmp_path / "site.db")}
    programs = start(project, **site)
    assert printed(programs, f"{project}.visit") == ["fulfilled", "resolved"]
