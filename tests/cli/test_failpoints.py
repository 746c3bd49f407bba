"""`--failpoint`: what cannot be understood is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_amqp.ports import Failpoint
from resonate_amqp.resonate.failpoints import Fate
from tests.cli.shell import Shell

COMMANDS = [("ledger", "serve"), ("worker", "run", "nomodule:resonate")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unknown_place_is_a_usage_error_that_lists_the_places(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = Shell("amqp://127.0.0.1:1/", tmp_path).run(*command, "--failpoint", "nowhere=kill")
    assert done.returncode == 2
    assert "'nowhere' is no failpoint" in done.stderr
    assert all(name in done.stderr for name in Failpoint)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unknown_fate_is_a_usage_error_that_lists_the_fates(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    asked = ("--failpoint", "body.start=kill", "--failpoint", "body.start=explode")
    done = Shell("amqp://127.0.0.1:1/", tmp_path).run(*command, *asked)
    assert done.returncode == 2
    assert all(name in done.stderr for name in Fate)
