"""What a program asks of a ledger of the release before, which does not know it."""

from __future__ import annotations

import logging

import pytest

from resonate_amqp import Context, UsageError
from resonate_amqp.testing import System
from resonate_amqp.wire import envelope
from resonate_amqp.wire.requests import _READERS as READERS


def test_a_declared_schedule_is_told_again_until_the_ledger_knows_schedules(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with System() as system:
        resonate = system.resonate()

        @resonate.cron("0 0 * * *")
        def nightly(_ctx: Context) -> None:
            return

        with monkeypatch.context() as older, caplog.at_level(logging.ERROR):
            older.setattr(envelope, "LEVEL", 0)
            older.delitem(READERS, "schedule.create")
            resonate.start()
            system.advance(150)
            with pytest.raises(UsageError, match=r"'schedule\.create' is no request"):
                resonate.schedule("other", "0 0 * * *", nightly)
        assert caplog.text.count("schedule 'nightly' is refused") >= 2
        assert resonate.schedules.search() == []
        system.advance(120)
        assert [schedule.id for schedule in resonate.schedules.search()] == ["nightly"]
