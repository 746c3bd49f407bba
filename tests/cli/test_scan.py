"""`scan` as a shop uses it: what it prints, JSON, the diff alone, and exit codes."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.docs.markdown import ROOT

NOISY = """
from celery import Celery

print("noise")
app = Celery("noisy", broker="amqp://nobody.invalid//", changes={"worker_prefetch_multiplier": 1})


@app.task
def charge(order: dict):
    return order


@app.task
def fulfil(order: dict):
    receipt = charge.delay(order).get()
    return receipt


@app.task
async def modern(order: dict): ...
"""
PRINTED = """\
noisy:app
  broker      amqp://guest:**@nobody.invalid:5672//
  pool        prefork, unless the worker is told otherwise
  queues      celery
  grades      name the steps: 1, decorate as it is: 1, leave it: 1

Name the steps (1)
Decorate each too, give it ctx as its first parameter (after self), and write
for each line what stands below it. A function given to ctx.lfc takes ctx first;
its arguments and its result are recorded as JSON.

  noisy.fulfil  noisy.py:14
      15  calls the task charge and waits for the result
          receipt = yield ctx.rfc(charge, order)

Decorate as it is (1)
The diff below does it.

  noisy.charge  noisy.py:9
    no effect was seen in it: if running it twice does no harm, it need not be
    durable

Leave it (1)

  noisy.modern  noisy.py:20
    it is an async function, which Celery does not run: write a plain function,
    or a generator that yields ctx.rfc(…)

The diff
--- a/noisy.py
+++ b/noisy.py
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with the shops of the examples, and no broker anywhere."""
    for name in ("celery_shop", "kombu_shop"):
        shutil.copytree(ROOT / "examples" / name, tmp_path / "examples" / name)
    (tmp_path / "noisy.py").write_text(NOISY, encoding="utf-8")
    shell = Shell("", tmp_path)
    del shell.environment["RESONATE_AMQP_URL"]
    shell.environment["BROKER_URL"] = "amqp://nobody.invalid//"
    return shell


def test_what_is_printed_is_read_at_80_columns(shell: Shell) -> None:
    done = shell.run("scan", "noisy:app")
    assert (done.returncode, done.stderr) == (0, "noise\n")
    assert done.stdout.startswith(PRINTED)
    own, _, diff = done.stdout.partition("The diff\n")
    assert max(map(len, own.splitlines())) <= 80
    assert "+@durable(resonate)\n def charge" in diff


def test_json_says_the_same_as_data(shell: Shell) -> None:
    (report,) = json.loads(
        shell.run("scan", "examples.celery_shop.before.shop:app", "--json").stdout
    )
    assert report["subject"] == "examples.celery_shop.before.shop:app"
    assert report["warnings"] == []
    grades = {one["name"].rpartition(".")[2]: one["grade"] for one in report["graded"]}
    assert grades == {
        "fulfil": "name the steps",
        "charge": "decorate as it is",
        "pack": "decorate as it is",
        "send_mail": "decorate as it is",
    }
    fulfil = next(one for one in report["graded"] if one["steps"])
    assert fulfil["path"] == "examples/celery_shop/before/shop.py"
    assert [step["write"] for step in fulfil["steps"]] == [
        "receipt = yield ctx.rfc(charge, order, total)",
        "parcel = yield ctx.rfc(pack, order)",
        "yield ctx.detached(send_mail, order, receipt, parcel)",
    ]
    printed = shell.run("scan", "examples.celery_shop.before.shop:app", "--diff").stdout
    assert report["diff"] == printed
    assert printed.count("\n+@durable(resonate)\n") == 3


def test_a_module_with_consumers_is_scanned_without_an_app(shell: Shell) -> None:
    done = shell.run("scan", "examples.kombu_shop.before.orders")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Name the steps (1)" in done.stdout
    assert 'paid = yield ctx.rfc("FUNCTION", body).options(target="queue://payments")' in (
        done.stdout
    )
    (report,) = json.loads(shell.run("scan", "examples.kombu_shop.before.mail", "--json").stdout)
    assert report["graded"][0]["kind"] == "callback"
    assert "+    @durable(resonate)\n" in report["diff"]


def test_a_module_with_both_is_scanned_for_both(shell: Shell) -> None:
    both = (
        "from kombu import Connection, Consumer, Queue\n\n\ndef on_order(body, message): ...\n\n\n"
        "def main(connection):\n    Consumer(connection, [Queue('q')], callbacks=[on_order])\n"
    )
    (shell.folder / "both.py").write_text(NOISY + both, encoding="utf-8")
    reports = json.loads(shell.run("scan", "both", "--json").stdout)
    assert [report["subject"] for report in reports] == ["both", "both:app"]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A port that notes who connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.mark.parametrize(
    "where", ["examples.celery_shop.before.shop:app", "examples.kombu_shop.before.mail"]
)
def test_no_broker_is_asked(shell: Shell, listening: socket.socket, where: str) -> None:
    port = listening.getsockname()[1]
    shell.environment |= {"BROKER_URL": f"amqp://127.0.0.1:{port}//"}
    assert shell.run("scan", where).returncode == 0
    with pytest.raises(BlockingIOError):
        listening.accept()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere:app"], 1, "error: module 'nowhere' is not found"),
        (["nowhere"], 1, "error: module 'nowhere' is not found"),
        (["noisy:other"], 1, "error: module 'noisy' has no 'other'"),
        (["json"], 1, "error: module 'json' has neither a Celery app nor a Kombu consumer"),
        (["noisy:"], 2, "error: 'noisy:' is not MODULE:APP"),
        ([], 2, "Missing argument 'MODULE[:APP]'"),
    ],
)
def test_what_is_not_there_or_not_meant_has_its_exit_code(
    shell: Shell, arguments: list[str], code: int, said: str
) -> None:
    done = shell.run("scan", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
