"""Virtual hosts made ahead: one command per batch, none given twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resonate_amqp.dev.vhosts import Vhosts, amqp_url
from resonate_amqp.errors import BrokerError


def test_one_command_makes_a_batch() -> None:
    commands: list[str] = []
    vhosts = Vhosts(_recorder(commands), batch=3)
    names = [vhosts.take() for _ in range(6)]
    assert len(set(names)) == 6
    assert len(commands) == 2
    assert all(f'<<"{name}">>' in commands[index // 3] for index, name in enumerate(names))


def test_a_discarded_name_is_removed_with_the_next_batch_and_only_once() -> None:
    commands: list[str] = []
    vhosts = Vhosts(_recorder(commands), batch=1)
    name = vhosts.take()
    vhosts.discard(name)
    vhosts.take()
    vhosts.take()
    assert [command.count(f'<<"{name}">>') for command in commands] == [1, 1, 0]


def test_a_refusal_reaches_the_caller_and_nothing_is_lost() -> None:
    answers = [True, False, True]
    commands: list[str] = []

    def evaluate(expression: str) -> str:
        commands.append(expression)
        if not answers.pop(0):
            raise BrokerError("the node is down")
        return "ok"

    vhosts = Vhosts(evaluate, batch=1)
    name = vhosts.take()
    vhosts.discard(name)
    with pytest.raises(BrokerError, match="the node is down"):
        vhosts.take()
    vhosts.take()
    assert name in commands[-1]


def test_the_default_virtual_host_is_escaped_in_a_url() -> None:
    assert amqp_url("127.0.0.1", 5672, "/") == "amqp://guest:guest@127.0.0.1:5672/%2f"
    assert amqp_url("127.0.0.1", 5672, "a") == "amqp://guest:guest@127.0.0.1:5672/a"


def _recorder(commands: list[str]) -> Callable[[str], str]:
    def evaluate(expression: str) -> str:
        commands.append(expression)
        return "ok"

    return evaluate
