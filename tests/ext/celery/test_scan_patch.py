"""The diff of a scan: it applies, and what it decorates runs durably."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.docs.markdown import ROOT
from tests.ext.celery.scanned import Folder

BROKER = "amqp://nobody.invalid//"
RUN = """
import sqlite3

import shop
from resonate_amqp.ext.celery.made import made_of

shop.app.conf.task_always_eager = True
for _ in range(2):
    assert shop.pack.apply((7,), task_id="one").get() == "P1"
assert shop.pack.apply((8,), task_id="two").get() == "P2"
print(sqlite3.connect("parcels.db").execute("SELECT key FROM requests").fetchall())
print(sorted(name for name, task in shop.app.tasks.items() if made_of(task)))
"""


@pytest.mark.parametrize("apply", [["patch", "-p1", "-s"], ["git", "apply"]], ids=["patch", "git"])
def test_the_shop_of_the_examples_is_durable_once_the_diff_is_applied(
    tmp_path: Path, apply: list[str]
) -> None:
    shutil.copy(ROOT / "examples" / "celery_shop" / "before" / "shop.py", tmp_path)
    shell = Shell("", tmp_path)
    shell.environment |= {"BROKER_URL": BROKER}
    del shell.environment["RESONATE_AMQP_URL"]
    printed = shell.run("scan", "shop:app", "--diff")
    assert printed.returncode == 0, printed.stderr
    subprocess.run(apply, cwd=tmp_path, input=printed.stdout, text=True, check=True)
    again = shell.run("scan", "shop:app", "--diff")
    assert (again.returncode, again.stdout) == (0, "")
    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("RESONATE_")}
        | {"BROKER_URL": BROKER},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "[('one',), ('two',)]",
        "['shop.charge', 'shop.pack', 'shop.send_mail']",
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(tmp_path, monkeypatch)


def added(diff: str) -> list[str]:
    """The lines that a diff adds."""
    return [
        line[1:] for line in diff.splitlines() if line[:1] == "+" and not line.startswith("+++")
    ]


def test_a_package_gets_its_resonate_where_its_app_is_configured(folder: Folder) -> None:
    folder.write("proj/__init__", "")
    folder.write(
        "proj/celery",
        """
        from celery import Celery

        app = Celery("proj", broker="amqp://localhost", set_as_current=False)
        app.conf.include = ["proj.tasks", "proj.shared"]
        """,
    )
    folder.write(
        "proj/tasks",
        """
        from proj.celery import app

        @app.task
        def one(x): ...

        class Two(app.Task):
            name = "two"

            def run(self, x): ...

        app.register_task(Two())

        def three(x): ...

        app.task(three)
        """,
    )
    folder.write(
        "proj/shared",
        """
        from celery import shared_task

        @shared_task
        def four(x): ...
        """,
    )
    assert added(folder.scan("proj").diff) == [
        "from resonate_amqp.ext.celery import from_celery",
        "resonate = from_celery(app)",
        # A module that does not know the app names no Resonate.
        "from resonate_amqp.ext.celery import durable",
        "@durable()",
        "from proj.celery import resonate",
        "from resonate_amqp.ext.celery import durable",
        "@durable(resonate)",
        "    @durable(resonate)",
        "@durable(resonate)",
    ]


def test_a_resonate_that_is_there_is_used(folder: Folder) -> None:
    report = folder.shop(
        """
        from resonate_amqp.ext.celery import from_celery

        durables = from_celery(app)

        @app.task
        def one(x): ...
        """
    )
    assert added(report.diff) == [
        "from resonate_amqp.ext.celery import durable",
        "@durable(durables)",
    ]


def test_durable_stands_directly_below_the_task_decorator(folder: Folder) -> None:
    report = folder.shop(
        """
        import functools

        def audited(func):
            @functools.wraps(func)
            def wrapper(*args):
                return func(*args)
            return wrapper

        @audited
        @app.task(
            name="one",
        )
        @audited
        def one(x): ...
        """
    )
    lines = report.diff.splitlines()
    at = lines.index("+@durable(resonate)")
    assert (lines[at - 1], lines[at + 1]) == (" )", " @audited")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def make():\n    @app.task\n    def t(x): ...\n\nmake()", "inside of a function"),
        ("durable = 1\n\n@app.task\ndef t(x): ...", "a durable of its own"),
        ("def resonate(): ...\n\n@app.task\ndef t(x): ...", "a resonate of its own"),
    ],
)
def test_what_the_diff_cannot_hold_is_named(folder: Folder, text: str, why: str) -> None:
    report = folder.shop(text)
    assert report.diff == ""
    # Tasks that other tests of this process have shared are tasks of every app.
    (graded,) = [one for one in report.graded if one.name.startswith("scanned.")]
    (remark,) = graded.warnings
    assert remark.text.startswith("the diff leaves it out: ")
    assert why in remark.text
