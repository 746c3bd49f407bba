"""Which broker and ledger an instance is of: what code names beats what the environment names."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Context, Embedded, Resonate, UsageError
from resonate_amqp.testing import System

Flow = Generator[Any, Any, Any]
ELSEWHERE = "amqp://nobody.invalid:5672"


def test_a_ledger_that_code_names_is_embedded_whatever_broker_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESONATE_AMQP_URL", ELSEWHERE)
    file = tmp_path / "app.db"
    with Resonate(ledger=f"sqlite:///{file}") as resonate:

        @resonate.register
        def greet(_ctx: Context) -> str:
            return "hello"

        assert resonate.embedded
        assert greet.rpc("greet").result(10) == "hello"
    assert file.exists()


def test_a_system_that_code_names_is_used_whatever_broker_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESONATE_AMQP_URL", ELSEWHERE)
    with Embedded() as system:
        assert Resonate(system=system).embedded


def test_a_broker_that_code_names_is_used_whatever_ledger_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESONATE_AMQP_LEDGER", "sqlite:///app.db")
    assert Resonate(url="amqp://localhost").broker_url() == "amqp://localhost"


@pytest.mark.parametrize("named", [{"url": "amqp://localhost"}, {"ledger": "sqlite:///app.db"}])
def test_code_that_names_two_systems_is_refused(named: dict[str, Any]) -> None:
    with Embedded() as system, pytest.raises(UsageError, match="not both"):
        Resonate(system=system, **named)
    with pytest.raises(UsageError, match="ledger serve"):
        Resonate(url="amqp://localhost", ledger="sqlite:///app.db")


def test_a_call_to_a_group_that_no_worker_consumes_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "resonate_amqp.runtime.unserved")
    with System() as system:
        resonate = system.resonate("callers")

        @resonate.register
        def flow(ctx: Context) -> Flow:
            yield ctx.rfc("step").options(target="nobody-inside")

        for number in range(3):
            resonate.options(target="nobody").rpc(f"out-{number}", "anything")
            resonate.rpc(f"in-{number}", flow)
        system.advance(4)
        assert caplog.messages == []
        for _ in range(3):
            system.advance(120)
            resonate.options(target="nobody").rpc(f"again-{_}", "anything")
    told = sorted(caplog.messages)
    assert len(told) == 2
    assert "no worker consumes resonate.any.nobody," in told[0]
    assert "no worker consumes resonate.any.nobody-inside," in told[1]


def test_nothing_is_said_of_a_group_whose_workers_are_busy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "resonate_amqp.runtime.unserved")
    with System() as system:
        resonate = system.resonate("busy", prefetch=1)

        @resonate.register
        def flow(ctx: Context) -> Flow:
            yield ctx.sleep(30)

        for number in range(5):
            resonate.rpc(f"w-{number}", flow)
        system.advance(20)
    assert caplog.messages == []
