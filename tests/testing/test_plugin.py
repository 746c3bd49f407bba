"""The pytest plugin, in suites of others: it costs nothing, and its fixtures tell of bugs."""

from __future__ import annotations

from pathlib import Path

import resonate_amqp
import resonate_amqp.testing
from tests.testing.suites import run

HEAVY = ["sqlmodel", "sqlalchemy", "kombu", "pika", "msgspec", "asyncio", "resonate_amqp.errors"]

STRANGER = f"""
import sys

def test_nothing_was_loaded():
    assert "resonate_amqp.testing.plugin" in sys.modules
    assert [name for name in {HEAVY!r} if name in sys.modules] == []
"""

USERS = """
import sys
import pytest

@pytest.fixture
def pay(resonate):
    charges = []

    @resonate.register
    def charge(ctx):
        charges.append(ctx.id)
        return len(charges)

    return charges

def test_passes(resonate, resonate_system, pay):
    assert resonate.rpc("one", "charge").result() == 1
    assert [n for n in ("sqlmodel", "kombu", "pika") if n in sys.modules] == []

def test_finds_the_double_charge(resonate, resonate_system, pay):
    resonate_system.crash_at("charge")
    resonate.rpc("one", "charge").result()
    assert len(pay) == 1

def test_never_comes_to_the_crash(resonate_system, pay):
    resonate_system.crash_at("refund")
"""


def test_a_suite_that_uses_nothing_of_it_loads_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_stranger.py").write_text(STRANGER, encoding="utf-8")
    code, told = run(tmp_path)
    assert code == 0, told
    assert "1 passed" in told
    assert "warning" not in told.lower()


def test_a_user_s_bug_fails_the_user_s_test(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USERS, encoding="utf-8")
    code, told = run(tmp_path)
    assert code == 1, told
    assert "1 failed, 2 passed, 1 error" in told
    assert "assert 2 == 1" in told
    assert "no worker came to crash_at('refund', when='before')" in told


def test_every_public_name_is_there() -> None:
    for module in (resonate_amqp, resonate_amqp.testing):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []
        assert not hasattr(module, "Nonsense")
