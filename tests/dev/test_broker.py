"""The private node: it answers, survives its crash, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pika
import pytest

from resonate_amqp.dev.binaries import Binaries, find
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.choose import ChosenBroker
from resonate_amqp.errors import BrokerError

OWNER = """
import sys, time
from resonate_amqp.dev.broker import PrivateBroker
broker = PrivateBroker()
broker.start()
sys.stdout.write(f"{broker.pid}\\n")
sys.stdout.flush()
if sys.argv[1] == "wait":
    time.sleep(60)
"""


@pytest.mark.smoke
def test_a_message_goes_there_and_back(vhost_url: str) -> None:
    _publish(vhost_url, b"hello")
    assert _fetch(vhost_url) == b"hello"


def test_each_virtual_host_is_new_and_empty(broker: ChosenBroker) -> None:
    urls = {broker.new_vhost() for _ in range(12)}
    assert len(urls) == 12
    _publish(urls.pop(), b"elsewhere")
    assert _fetch(urls.pop()) is None


@pytest.mark.rabbitmq
@pytest.mark.processes
def test_durable_messages_survive_a_crash_and_a_restart(tmp_path: Path) -> None:
    with PrivateBroker(tmp_path, configuration="channel_max = 77") as node:
        url = node.new_vhost()
        _publish(url, b"kept")
        # A confirm says that the message is on disk, not yet the definition of its queue.
        node.control("eval", "mnesia:sync_log().")
        node.kill()
        assert not node.running
        node.restart()
        assert _fetch(url) == b"kept"
        assert "77" in node.control("eval", "application:get_env(rabbit, channel_max).")
        _publish(url, b"kept again")
    assert not node.running
    node.start()
    assert _fetch(url) == b"kept again"
    node.stop()
    assert (tmp_path / "mnesia").is_dir()


@pytest.mark.rabbitmq
@pytest.mark.processes
@pytest.mark.parametrize("end", ["returns", "is killed"])
def test_a_node_ends_with_its_owner(end: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, "wait" if end == "is killed" else "return"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        if end == "is killed":
            assert _alive(pid)
            os.kill(owner.pid, signal.SIGKILL)
    _until(lambda: not _alive(pid) and not any(tmp_path.iterdir()))


def test_a_node_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, binaries=_imitation(tmp_path, "echo 'no more memory'; exit 1"))
    with pytest.raises(BrokerError, match=r"ended before it answered(.|\n)*no more memory"):
        broker.start()
    assert not broker.running


def test_a_node_that_stays_silent_is_given_up(tmp_path: Path) -> None:
    binaries = _imitation(tmp_path, "echo $$ > server.pid; exec sleep 30")
    broker = PrivateBroker(tmp_path, binaries=binaries, start_timeout=0.5)
    with pytest.raises(BrokerError, match=r"no answer in 0\.5 s"):
        broker.start()
    assert not _alive(int((tmp_path / "server.pid").read_text()))


def test_a_refused_command_is_reported_with_the_complaint(tmp_path: Path) -> None:
    binaries = _imitation(tmp_path, "echo 'no such vhost' >&2; exit 65")
    broker = PrivateBroker(tmp_path, binaries=binaries)
    with pytest.raises(BrokerError, match=r"`rabbitmqctl list_queues` failed \(65\): no such"):
        broker.control("list_queues")


def test_the_process_id_of_a_stopped_node_is_an_error(tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, binaries=_imitation(tmp_path, "exit 0"))
    with pytest.raises(BrokerError, match=r"call start\(\) first"):
        _ = broker.pid


def test_a_missing_program_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match=r"rabbitmq-server is not installed here.*make system"):
        find(unwrapped=tmp_path)


def _imitation(directory: Path, script: str) -> Binaries:
    program = directory / "program"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    program.chmod(0o700)
    silent = directory / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 30\n", encoding="ascii")
    silent.chmod(0o700)
    return Binaries(server=program, control=program, epmd=silent)


def _publish(url: str, body: bytes) -> None:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("letters", durable=True)
        channel.basic_publish("", "letters", body, pika.BasicProperties(delivery_mode=2))


def _fetch(url: str) -> bytes | None:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.queue_declare("letters", durable=True)
        _, _, body = channel.basic_get("letters", auto_ack=True)
        return body if isinstance(body, bytes) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
