"""Scanned: apps of these tests as modules of a folder, and what a scan says of them."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import celery._state
import pytest

from resonate_amqp.ext.celery.scanning import scan
from resonate_amqp.ext.celery.scanning.apps import load
from resonate_amqp.ext.scanning.findings import Graded, Report
from resonate_amqp.ext.scanning.sources import Project

HEAD = """
import time
import uuid

from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from kombu import Queue
from kombu.common import Broadcast

app = Celery("scanned", broker="amqp://localhost//", set_as_current=False)
app.conf.worker_prefetch_multiplier = 1
"""


class Folder:
    """Modules in the current directory, which are forgotten at the end of a test."""

    def __init__(self, path: Path, patching: pytest.MonkeyPatch) -> None:
        self.path = path
        self._patching = patching
        patching.chdir(path)
        patching.syspath_prepend(path)
        patching.delenv("RESONATE_AMQP_URL", raising=False)
        # Celery gives the tasks of each app to every app that is made later.
        shared = set(celery._state._on_app_finalizers)
        patching.setattr(celery._state, "_on_app_finalizers", shared)

    def write(self, name: str, text: str) -> None:
        """A module that is imported anew."""
        path = self.path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        module = name.replace("/", ".").removesuffix(".__init__")
        # What is imported under this name from now on goes away with the test.
        self._patching.setitem(sys.modules, module, sys)
        self._patching.delitem(sys.modules, module)

    def scan(self, where: str) -> Report:
        """What is found of an app."""
        app, module, name = load(where)
        return scan(app, module, name, Project(self.path))

    def shop(self, text: str) -> Report:
        """What is found of an app whose module goes on as given."""
        self.write("scanned", HEAD + textwrap.dedent(text))
        return self.scan("scanned:app")

    def task(self, text: str) -> Graded:
        """What is found of the only task in a module."""
        (graded,) = self.shop(text).graded
        return graded


def told(report: Report) -> str:
    """Everything a report says of the whole."""
    return "\n".join(remark.text for remark in report.warnings)


def warned(graded: Graded) -> str:
    """Everything that is said of a task, with lines."""
    return "\n".join(f"{remark.line}: {remark.text}" for remark in graded.warnings)
