"""The demo does what it says, embedded and over real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resonate_amqp.dev.choose import ChosenBroker


def _demo(*arguments: str) -> str:
    """What the demo prints; it checks its own claims and fails when one does not hold."""
    done = subprocess.run(
        [sys.executable, "-m", "resonate_amqp", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "RESONATE_AMQP_URL": "amqp://ignored"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_embedded_demo_recovers_a_killed_system() -> None:
    out = _demo()
    assert "cog was given 3" in out
    assert out.count("baz begins") == 1
    assert out.count("bar begins") == 2
    assert "await-chain = 3" in out
    assert "├── await-chain:1.1 🟢 (rpc baz)" in out


@pytest.mark.processes
def test_the_demo_over_rabbitmq_kills_b_alone_while_c_works(broker: ChosenBroker) -> None:
    url = broker.new_vhost()
    out = _demo("--broker", url)
    after = out.partition("Recovery: b is killed while c works")[2]
    assert after.count("baz begins") == 1
    assert after.count("bar begins") == 2
    assert "recovery 🟢 (rpc foo)" in out
    again = subprocess.run(
        [sys.executable, "-m", "resonate_amqp", "demo", "--broker", url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert again.returncode == 2
    assert "virtual host of its own" in again.stderr
    broker.discard_vhost(url)
