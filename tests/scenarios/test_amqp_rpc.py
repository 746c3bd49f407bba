"""RPC after RabbitMQ's tutorial on both ends of a durable workflow: in Node.js, and by hand."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from resonate_amqp import Context, RemoteError, TimedOut, UsageError
from tests.scenarios.callees import WAIT_S, Shop
from tests.scenarios.system import ROOT, System, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

PRICES = "queue://prices"
NPM_S = 120.0


@pytest.fixture(scope="module")
def programs(nodejs: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder, with what it needs installed beside it."""
    folder = tmp_path_factory.mktemp("node") / "node_rpc"
    shutil.copytree(ROOT / "examples" / "node_rpc", folder)
    install = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
    done = subprocess.run(
        install, cwd=folder, capture_output=True, text=True, timeout=NPM_S, check=False
    )
    if done.returncode != 0:
        reason = f"npm could not install what examples/node_rpc needs: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder


class Programs:
    """The example's programs, on the broker of a system."""

    def __init__(self, node: str, folder: Path, url: str) -> None:
        self._node = node
        self._folder = folder
        self._environment = os.environ | {"RESONATE_AMQP_URL": url}
        self._servers: list[subprocess.Popen[bytes]] = []

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the server of `prices`."""
        command = [self._node, "server.js"]
        server = subprocess.Popen(command, cwd=self._folder, env=self._environment)
        self._servers.append(server)
        return server

    def ask(self, *arguments: str) -> str:
        """What the client is answered."""
        command = [self._node, "client.js", *arguments]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        return done.stdout.strip()

    def end(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait()


@pytest.fixture
def node(nodejs: str, programs: Path, vhost_url: str) -> Iterator[Programs]:
    made = Programs(nodejs, programs, vhost_url)
    yield made
    made.end()


@pytest.fixture
def shop(system: System) -> Iterator[Shop]:
    with Shop(system) as made:
        yield made


@pytest.mark.timeout(240)
def test_a_client_in_node_calls_a_workflow_that_calls_a_server_in_node(
    system: System, node: Programs
) -> None:
    system.ledger()
    system.wait_for_ledger()
    system.program("examples.node_rpc.shop")
    node.serve()
    total = {"sku": "book", "count": 3, "total": 36}
    assert json.loads(node.ask("book", "3", "order-1")) == total
    assert json.loads(node.ask("book", "3", "order-1")) == total
    assert node.ask("unicorn", "1") == "refused: there is no unicorn"
    calls = system.query("SELECT id, state FROM promises WHERE func = 'price' ORDER BY created_at")
    assert [state for _, state in calls] == ["resolved", "rejected"]
    assert calls[0][0] == "orders.order-1:1"


@pytest.mark.timeout(240)
def test_a_server_in_node_is_called_durably(shop: Shop, node: Programs) -> None:
    """It hangs, and the ledger is killed meanwhile: the call goes on, and is made once."""
    asking = shop.resonate.options(target=PRICES)
    early = asking.rpc("early", "price", {"sku": "book", "count": 1})
    server = node.serve()
    assert early.result(WAIT_S) == {"sku": "book", "total": 12}
    server.send_signal(signal.SIGSTOP)
    hanging = asking.rpc("hanging", "price", {"sku": "lamp", "count": 2})
    wait_until("its row is deleted", lambda: "outbox rows" not in shop.system.leftovers())
    [waits] = shop.system.stuck().values()
    assert waits == ("pending", "whoever takes it from prices to answer")
    shop.restart_ledger()
    server.send_signal(signal.SIGCONT)
    assert hanging.result(WAIT_S) == {"sku": "lamp", "total": 60}
    with pytest.raises(RemoteError, match="there is no unicorn"):
        asking.rpc("refused", "price", {"sku": "unicorn", "count": 1}).result(WAIT_S)


class Raw:
    """Somebody at the broker who takes calls from a queue of its own, and answers anything."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel: Any = self._connection.channel()
        self._channel.queue_declare("prices", durable=True)

    def close(self) -> None:
        self._connection.close()

    def take(self) -> pika.BasicProperties:
        """The properties of the next call."""

        def taken() -> Any:
            found = self._channel.basic_get("prices", auto_ack=True)
            return found if found[0] is not None else None

        properties: pika.BasicProperties = wait_until("there is a call", taken, WAIT_S)[1]
        return properties

    def say(self, call: pika.BasicProperties, body: bytes) -> None:
        properties = pika.BasicProperties(correlation_id=call.correlation_id)
        self._channel.basic_publish("", call.reply_to, body, properties)


def test_replies_that_are_malformed_double_or_late_are_put_aside_with_the_reason(
    shop: Shop,
) -> None:
    with contextlib.closing(Raw(shop.system.url)) as raw:
        asking = shop.resonate.options(target=PRICES)
        first = asking.rpc("first", "price", "book")
        call = raw.take()
        for body in (b"pong", b"12", b"13"):
            raw.say(call, body)
        assert first.result(WAIT_S) == 12
        late = asking.options(target=PRICES, timeout=1).rpc("late", "price", "book")
        call = raw.take()
        with pytest.raises(TimedOut):
            late.result(WAIT_S)
        raw.say(call, b"12")
        found = {dead["body"]: dead["reason"] for dead in shop.dead_letters(3)}
    assert found["pong"].startswith("reply: it is not JSON")
    assert found["13"].endswith("another reply, or somebody else, settled it before")
    assert found["12"].endswith("the reply came after its deadline")
    assert shop.ledger.running


def test_a_call_to_a_queue_that_the_ledger_may_not_write_to_is_refused(
    system: System,
) -> None:
    options = ("--foreign", "shop.*,prices")
    with Shop(system, *options) as shop, contextlib.closing(Raw(system.url)) as raw:

        @shop.resonate.register
        def order(ctx: Context, target: str, promise_id: str | None) -> Generator[Any, Any, str]:
            try:
                yield ctx.rfc("charge", 1).options(target=target, id=promise_id)
            except Exception as refused:
                return str(refused)
            return "charged"

        for number, own_id in enumerate([None, "charge-1"]):
            asked = shop.resonate.rpc(f"refused-{number}", order, "celery://payments", own_id)
            told = asked.result(WAIT_S)
            assert "may not write to the queue 'payments'" in told
            assert "'shop.*,prices'" in told
        with pytest.raises(UsageError, match="its setting foreign is"):
            shop.resonate.options(target="celery://payments").rpc("direct", "charge", 1)
        allowed = shop.resonate.rpc("allowed", order, PRICES, None)
        raw.say(raw.take(), b"1")
        assert allowed.result(WAIT_S) == "charged"


def test_a_call_that_nobody_took_before_its_deadline_leaves_the_queue(shop: Shop) -> None:
    """Nobody would wait for what it came to."""
    with contextlib.closing(Raw(shop.system.url)):
        asking = shop.resonate.options(target=PRICES, timeout=1)
        with pytest.raises(TimedOut):
            asking.rpc("late", "price", "book").result(WAIT_S)
        wait_until("the queue is empty", lambda: shop.depth("prices") == 0)
