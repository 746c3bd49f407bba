"""Durable tasks in one prefork worker with one slot, called by a stock Celery app."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from celery import chain, group
from celery.exceptions import TaskRevokedError, TimeLimitExceeded

from tests.ext.celery.system import Client, Shop, result
from tests.scenarios.system import wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]


def runs(shop: Shop, name: str, task_id: str) -> int:
    """How often a task's function began."""
    return sum(run.promise_id == task_id for run in shop.journal.runs(name))


def test_a_durable_task_returns_its_result_to_a_stock_caller(client: Client) -> None:
    assert result(client.send("charge", "7")) == "charged 7"


def test_one_slot_carries_a_task_that_calls_a_task_that_calls_a_task(
    shop: Shop, client: Client
) -> None:
    sent = client.send("fulfil", "8")
    assert result(sent) == f"{sent.id} fulfilled: billed: charged 8"
    # The slot was given back at each wait, and the function begun again after it.
    assert runs(shop, "fulfil", sent.id) == 2


def test_a_task_that_is_sent_again_returns_the_recorded_result_without_running(
    shop: Shop, client: Client
) -> None:
    assert result(client.send("charge", "9", task_id="again")) == "charged 9"
    with shop.client() as another:
        assert result(another.send("charge", "9", task_id="again")) == "charged 9"
    assert runs(shop, "charge", "again") == 1


def test_a_failure_is_raised_in_its_own_type_and_once(shop: Shop, client: Client) -> None:
    with shop.client() as another:
        for caller in (client, another):
            with pytest.raises(Exception, match="402") as raised:
                result(caller.send("decline", "10", task_id="declined"))
            assert type(raised.value).__name__ == "Declined"
            assert raised.value.args == ("10", 402)
    assert runs(shop, "decline", "declined") == 1
    assert shop.outcome("declined") == ("rejected", "tests.ext.celery.shop.Declined")


def test_a_retry_is_no_outcome_and_what_follows_is(shop: Shop, client: Client) -> None:
    sent = client.send("flaky", "11", 2)
    assert result(sent) == "11 after 2 retries"
    assert runs(shop, "flaky", sent.id) == 3


def test_the_last_failure_is_the_outcome(shop: Shop, client: Client) -> None:
    sent = client.send("flaky", "12", 99)
    with pytest.raises(Exception, match="12"):
        result(sent)
    assert runs(shop, "flaky", sent.id) == 4
    assert shop.outcome(sent.id) == ("rejected", "tests.ext.celery.shop.Declined")


def test_what_celery_retries_by_itself_is_no_outcome_until_it_gives_up(
    shop: Shop, client: Client
) -> None:
    sent = client.send("restless", "13")
    with pytest.raises(KeyError):
        result(sent)
    assert runs(shop, "restless", sent.id) == 3
    assert shop.outcome(sent.id) == ("rejected", "KeyError")


def test_a_rejected_message_that_comes_back_runs(shop: Shop, client: Client) -> None:
    sent = client.send("picky")
    assert result(sent) == "at last"
    assert runs(shop, "picky", sent.id) == 2


def test_a_message_that_is_refused_for_good_is_an_outcome(shop: Shop, client: Client) -> None:
    sent = client.send("refused", "22", ignore_result=True)
    assert shop.outcome(sent.id) == ("rejected", "celery.exceptions.Reject")


def test_a_task_that_exits_fails_once(shop: Shop, client: Client) -> None:
    sent = client.send("leaving", 3)
    with pytest.raises(Exception, match="3"):
        result(sent)
    assert shop.outcome(sent.id) == ("rejected", "SystemExit")
    assert runs(shop, "leaving", sent.id) == 1


def test_tasks_are_called_as_objects_with_the_types_that_kombu_carries(client: Client) -> None:
    assert result(client.send("priced", Decimal("1.10"))) == ["Decimal 2.20", "Decimal 4.20"]


def test_two_calls_of_one_promise_run_once_and_both_get_its_result(
    shop: Shop, client: Client
) -> None:
    shop.journal.close_gate("once")
    first = client.send("once", "14")
    wait_until("it runs", lambda: runs(shop, "once", first.id))
    second = client.send("once", "14")
    shop.journal.open_gate("once")
    assert result(first) == result(second) == f"14 by {first.id}"
    assert len(shop.journal.runs("once")) == 1


def test_one_promise_of_two_functions_is_a_conflict(client: Client) -> None:
    result(client.send("once", "15"))
    with pytest.raises(Exception, match=r"is taken by a call of 'tests\.ext\.celery\.shop\.once'"):
        result(client.send("refund", "15"))


def test_a_chain_and_a_group_go_on_with_recorded_results(client: Client) -> None:
    chained = chain(client.s("add", 1, 2), client.s("add", 4), client.s("charge"))
    assert result(chained.apply_async()) == "charged 7"
    grouped = group(client.s("add", 1, 1), client.s("fulfil", "16"), app=client.app)
    added, fulfilled = result(grouped.apply_async())
    assert added == 2
    assert fulfilled.endswith("fulfilled: billed: charged 16")


def test_countdown_and_eta_keep_their_meaning(client: Client) -> None:
    began = time.monotonic()
    assert result(client.send("charge", "17", countdown=1)) == "charged 17"
    assert time.monotonic() - began >= 1
    eta = datetime.now(UTC) + timedelta(seconds=1)
    assert result(client.send("charge", "18", eta=eta)) == "charged 18"
    assert datetime.now(UTC) >= eta


def test_an_expired_task_never_runs(shop: Shop, client: Client) -> None:
    sent = client.send("charge", "19", expires=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(TaskRevokedError):
        result(sent)
    assert runs(shop, "charge", sent.id) == 0


def test_the_expiry_of_a_call_does_not_cut_off_what_it_began(client: Client, shop: Shop) -> None:
    shop.journal.close_gate("charge")
    sent = client.send("fulfil", "20", expires=1.0)
    wait_until("the innermost runs", lambda: len(shop.journal.runs("charge")) and _holds(shop))
    time.sleep(1)
    shop.journal.open_gate("charge")
    assert result(sent) == f"{sent.id} fulfilled: billed: charged 20"


def _holds(shop: Shop) -> bool:
    asked = "SELECT id FROM tasks WHERE state = 'acquired'"
    return any(":" in row[0] for row in shop.query(asked))


def test_a_soft_time_limit_is_an_exception_in_the_body(client: Client) -> None:
    assert result(client.send("patient")) == "stopped"
    assert result(client.send("hurried")) == "stopped while it waited"
    assert result(client.send("insistent")).startswith("SoftTimeLimitExceeded")


def test_a_hard_time_limit_rejects_the_promise(shop: Shop, client: Client) -> None:
    sent = client.send("slow")
    with pytest.raises(TimeLimitExceeded):
        result(sent)
    assert shop.outcome(sent.id) == ("rejected", "billiard.exceptions.TimeLimitExceeded")


def test_a_revoked_task_is_rejected_while_it_runs(shop: Shop, client: Client) -> None:
    shop.journal.close_gate("busy")
    sent = client.send("busy")
    wait_until("it runs", lambda: runs(shop, "busy", sent.id))
    sent.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result(sent)
    shop.journal.open_gate("busy")
    assert shop.outcome(sent.id) == ("rejected", "celery.exceptions.TaskRevokedError")


def test_the_arguments_of_a_durable_task_are_checked_without_its_context(client: Client) -> None:
    with pytest.raises(TypeError, match="order"):
        result(client.send("fulfil"))


def test_the_command_line_of_celery_has_ours(shop: Shop, client: Client) -> None:
    sent = client.send("charge", "21")
    result(sent)
    shown = shop.command("resonate", "promises", "get", sent.id, "--json")
    assert '"resolved"' in shown
