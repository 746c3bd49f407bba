"""Calls made by the clock, as a program declares them and as an operator sees them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Conflict, Context, Resonate, UnknownFunction, UsageError
from resonate_amqp.core.model import SCHEDULE
from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from resonate_amqp.testing import System

WAIT_S = 20
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOURLY = ["12", "13", "14"]

Flow = Generator[Any, Any, Any]


class Desk:
    """A test system at noon, with a function that notes by which call it was run."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.resonate = system.resonate("desk")
        self.ran: list[tuple[str, Any]] = []
        self.resonate.register(self.note, name="note")

    def note(self, ctx: Context, what: str = "", *, size: int = 0) -> str:
        self.ran.append((ctx.id, (what, size)))
        return f"{what}{size}"


@pytest.fixture
def desk() -> Generator[Desk, None, None]:
    with System(start=NOON) as system:
        yield Desk(system)


def test_a_scheduled_function_is_called_at_every_tick_with_its_arguments(desk: Desk) -> None:
    made = desk.resonate.schedule("hourly", "30 * * * *", "note", "a", size=2)
    assert (made.id, made.cron, made.last_at) == ("hourly", "30 * * * *", None)
    desk.system.advance(timedelta(hours=3))
    assert desk.ran == [(f"hourly.20260131T{hour}3000Z", ("a", 2)) for hour in HOURLY]
    call = desk.resonate.promises.get("hourly.20260131T123000Z")
    assert call.tags[SCHEDULE] == "hourly"
    assert desk.resonate.get(call.id).result() == "a2"


def test_a_scheduled_workflow_that_is_killed_is_finished_by_another_worker(desk: Desk) -> None:
    steps: list[str] = []

    @desk.resonate.register
    def report(ctx: Context) -> Flow:
        yield ctx.lfc(collect)
        yield ctx.sleep(600)
        return (yield ctx.lfc(collect))

    def collect(ctx: Context) -> str:
        steps.append(ctx.id)
        return ctx.id

    desk.resonate.schedule("report", "0 13 * * *", report)
    desk.system.advance(timedelta(minutes=65))
    desk.system.crash()
    desk.system.advance(timedelta(minutes=65))
    tick = "report.20260131T130000Z"
    assert Counter(steps) == {f"{tick}:1": 1, f"{tick}:3": 1}
    assert desk.resonate.get(tick).result() == f"{tick}:3"


def test_options_of_a_schedule_are_those_of_each_call(desk: Desk) -> None:
    view = desk.resonate.options(
        target="poll://any@other", timeout=90, tags={"team": "a"}, version=7
    )
    made = view.schedule("s", "0 * * * *", "elsewhere")
    assert made.tags == {"resonate:target": "poll://any@other", "team": "a"}
    assert (made.timeout_ms, made.param.headers) == (
        90_000,
        {"func": "elsewhere", "version": "7"},
    )
    desk.system.advance(timedelta(minutes=61))
    call = desk.resonate.promises.get("s.20260131T130000Z")
    assert (call.target, call.tags["team"]) == ("poll://any@other", "a")
    assert call.timeout_at - call.created_at == 90_000


@pytest.mark.parametrize(
    ("schedule_id", "cron", "func", "problem"),
    [
        ("a:b", "* * * * *", "note", "colon"),
        ("x" * 151, "* * * * *", "note", "at most 150"),
        ("a", "* * * *", "note", "wrong number of fields"),
        ("a", "0 25 * * *", "note", "bad hour"),
        ("a", "* * * * *", "nobody", "nobody"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_where_it_is_made(
    desk: Desk, schedule_id: str, cron: str, func: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        desk.resonate.schedule(schedule_id, cron, func)
    assert desk.resonate.schedules.search() == []


def test_a_delay_is_not_for_schedules(desk: Desk) -> None:
    with pytest.raises(UsageError, match="delay"):
        desk.resonate.options(delay=5).schedule("a", "* * * * *", "note")


def test_a_schedule_of_the_ledgers_own_tags_is_refused_by_it(desk: Desk) -> None:
    with pytest.raises(UsageError, match="resonate:timer"):
        desk.resonate.options(tags={"resonate:timer": "true"}).schedule("a", "* * * * *", "note")


def test_the_same_schedule_takes_another_definition_over(desk: Desk) -> None:
    desk.resonate.schedule("s", "0 * * * *", "note", "old")
    desk.system.advance(timedelta(minutes=61))
    desk.resonate.schedule("s", "0 * * * *", "note", "new")
    desk.system.advance(timedelta(hours=1))
    assert [what for _, (what, _) in desk.ran] == ["old", "new"]
    assert [one.id for one in desk.resonate.schedules.search()] == ["s"]


def test_what_passes_while_a_schedule_is_paused_is_not_made_up_for(desk: Desk) -> None:
    schedules = desk.resonate.schedules
    desk.resonate.schedule("s", "0 * * * *", "note")
    assert schedules.pause("s").paused
    desk.system.advance(timedelta(hours=2))
    desk.resonate.schedule("s", "0 * * * *", "note")
    assert schedules.get("s").paused
    desk.system.advance(timedelta(minutes=30))
    assert not schedules.resume("s").paused
    desk.system.advance(timedelta(hours=1))
    assert [call for call, _ in desk.ran] == ["s.20260131T150000Z"]


def test_a_deleted_schedule_calls_no_more(desk: Desk) -> None:
    desk.resonate.schedule("s", "0 * * * *", "note")
    assert desk.resonate.schedules.delete("s")
    assert not desk.resonate.schedules.delete("s")
    desk.system.advance(timedelta(hours=2))
    assert desk.ran == []


@pytest.mark.parametrize("ask", ["get", "pause", "resume", "trigger"])
def test_what_is_asked_of_no_schedule_says_so(desk: Desk, ask: str) -> None:
    with pytest.raises(UsageError, match="schedule 's' does not exist"):
        getattr(desk.resonate.schedules, ask)("s")


def test_a_trigger_calls_now_and_can_be_waited_for(desk: Desk) -> None:
    desk.resonate.schedule("s", "0 0 1 1 *", "note", "now")
    first, second = (desk.resonate.schedules.trigger("s") for _ in range(2))
    assert first.id != second.id
    assert (first.result(), second.result()) == ("now0", "now0")
    own = "s.MANUAL-00000001Z"
    assert desk.resonate.schedules.trigger("s", own).id == own
    assert desk.resonate.schedules.trigger("s", own).result() == "now0"
    assert Counter(call for call, _ in desk.ran) == {first.id: 1, second.id: 1, own: 1}


def test_a_trigger_under_an_id_that_is_not_the_schedules_is_refused(desk: Desk) -> None:
    desk.resonate.schedule("s", "0 0 1 1 *", "note")
    with pytest.raises(UsageError, match="15 characters and Z"):
        desk.resonate.schedules.trigger("s", "mine")
    desk.resonate.promises.create("s.MANUAL-00000001Z")
    with pytest.raises(Conflict, match="is taken"):
        desk.resonate.schedules.trigger("s", "s.MANUAL-00000001Z")


def test_schedules_are_listed_by_id(desk: Desk) -> None:
    for schedule_id in ("b", "a", "c"):
        desk.resonate.schedule(schedule_id, "0 * * * *", "note")
    assert [one.id for one in desk.resonate.schedules.search()] == ["a", "b", "c"]
    assert [one.id for one in desk.resonate.schedules.search(limit=2)] == ["a", "b"]


def test_a_decorated_function_is_called_at_every_tick_from_the_start_on(desk: Desk) -> None:
    ran: list[str] = []

    @desk.resonate.cron("0 * * * *")
    def chime(ctx: Context) -> None:
        ran.append(ctx.id)

    @desk.resonate.options(timeout=60).cron("30 13 * * *", id="half-past", name="half", version=2)
    def half(ctx: Context) -> None:
        ran.append(ctx.id)

    desk.system.advance(timedelta(hours=1))
    assert desk.resonate.schedules.search() == []
    desk.resonate.start()
    desk.system.advance(timedelta(hours=1))
    assert ran == ["half-past.20260131T133000Z", "chime.20260131T140000Z"]
    made = {one.id: one for one in desk.resonate.schedules.search()}
    assert made["half-past"].param.headers == {"func": "half", "version": "2"}
    assert (made["half-past"].timeout_ms, made["chime"].timeout_ms) == (60_000, 86_400_000)


def test_what_is_decorated_after_the_start_is_scheduled_as_well(desk: Desk) -> None:
    desk.resonate.start()

    @desk.resonate.cron("0 * * * *")
    def chime(_ctx: Context) -> None:
        return

    desk.system.advance()
    assert [one.id for one in desk.resonate.schedules.search()] == ["chime"]


def test_two_declarations_of_one_schedule_are_refused(desk: Desk) -> None:
    desk.resonate.cron("0 * * * *", version=1)(_chime)
    with pytest.raises(UsageError, match="is declared already"):
        desk.resonate.cron("0 * * * *", version=2)(_chime)
    desk.resonate.cron("0 * * * *", version=3, id="other")(_chime)


def test_a_declaration_with_a_wrong_expression_is_refused_where_it_stands(desk: Desk) -> None:
    with pytest.raises(UsageError, match="bad minute"):
        desk.resonate.cron("60 * * * *")(_chime)


def test_a_declaration_that_the_ledger_refuses_is_logged_and_harms_nobody(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.resonate.options(tags={"resonate:timer": "true"}).cron("0 * * * *")(_chime)
    with caplog.at_level(logging.ERROR):
        desk.resonate.start()
        desk.system.advance()
    assert "schedule '_chime' is refused" in caplog.text
    assert "resonate:timer" in caplog.text
    assert desk.resonate.rpc("id", "note", "still").result() == "still0"


def test_a_start_declares_once_and_an_instance_that_moved_declares_again() -> None:
    with System(start=NOON) as first, System(start=NOON) as second:
        resonate = first.resonate("g")
        resonate.cron("0 * * * *")(_chime)
        for _ in range(2):
            resonate.start()
            first.advance()
        resonate.schedules.delete("_chime")
        resonate.start()
        first.advance()
        assert resonate.schedules.search() == []
        second.host(resonate)
        resonate.start()
        second.advance()
        assert [one.id for one in resonate.schedules.search()] == ["_chime"]


def test_a_schedule_of_an_unknown_function_asks_for_a_target() -> None:
    with Resonate(group="g") as resonate, pytest.raises(UnknownFunction, match="target"):
        resonate.schedule("s", "* * * * *", "nobody")


def test_schedules_outlive_an_embedded_system_and_make_up_for_its_absence(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'l.db'}"
    ran: list[str] = []
    again = threading.Event()

    def note(ctx: Context) -> None:
        ran.append(ctx.id)
        again.set()

    with Resonate(ledger=ledger, grace=1) as first:
        first.register(note)
        first.schedule("s", "*/1 * * * * *", note)
        assert again.wait(WAIT_S)
    again.clear()
    with Resonate(ledger=ledger, grace=1) as second:
        second.register(note)
        assert again.wait(WAIT_S)
        second.schedules.delete("s")
    assert len(set(ran)) == len(ran) >= 2


@pytest.mark.rabbitmq
def test_a_schedule_is_served_over_rabbitmq_whoever_came_first(
    vhost_url: str, tmp_path: Path
) -> None:
    """The program starts before there is a ledger; its declaration waits and is then in force."""
    ran: list[str] = []
    enough = threading.Event()
    with Resonate(vhost_url, group="g", grace=1) as worker:

        @worker.cron("*/1 * * * * *")
        def chime(ctx: Context) -> None:
            ran.append(ctx.id)
            if len(ran) == 2:
                enough.set()

        ledger = start_ledger(read({"url": vhost_url, "ledger": f"sqlite:///{tmp_path / 'l.db'}"}))
        try:
            assert enough.wait(WAIT_S)
            client = Resonate(vhost_url, group="client", request_timeout=WAIT_S)
            [made] = client.schedules.search()
            assert (made.id, made.tags["resonate:target"]) == ("chime", "poll://any@g")
            assert client.schedules.pause("chime").paused
            handle = client.schedules.trigger("chime")
            assert handle.result(WAIT_S) is None
            assert handle.id in ran
            client.stop()
        finally:
            ledger.stop()
    assert len(set(ran)) == len(ran)


def _chime(_ctx: Context) -> None:
    return
