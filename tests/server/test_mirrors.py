"""Mirrors: a promise of one tree that repeats the outcome of one in another."""

from __future__ import annotations

from resonate_amqp.brokers.faults import Fate
from resonate_amqp.core.model import (
    BRANCH,
    DELAY,
    MIRROR,
    ORIGIN,
    PARENT,
    TARGET,
    PromiseState,
    TaskState,
    Value,
)
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    Response,
    TaskAcquire,
    TaskFence,
    TaskSuspend,
)
from tests.core.world import call, external, settle
from tests.server.desk import LEDGER, START, Client, Desk, Office, executes

LATER = START + 3_600_000
VALUE = Value({}, "NDI=")


class Parent:
    """A workflow `r` that is held, and issues mirrors."""

    def __init__(self, deadline: int = LATER) -> None:
        self.office = Office()
        self.desk: Desk = self.office.service()
        self.client: Client = self.office.client()
        self.worker = self.office.worker("a")
        self.ask(call("r", deadline))
        [execute] = executes(self.worker)
        acquire = TaskAcquire(
            id="r", version=0, pid="p", ttl=86_400_000, holder="h", ticket=execute.ticket
        )
        assert self.ask(acquire).status == 200

    def ask(self, *steps: object) -> Response:
        return self.client.ask(self.desk, *steps)  # type: ignore[arg-type]  # requests of any kind

    def mirror(self, named: str, *, timeout_at: int = LATER, **tags: str) -> Response:
        create = PromiseCreate(
            id="r:1",
            timeout_at=timeout_at,
            param=VALUE,
            tags={ORIGIN: "r", PARENT: "r", BRANCH: "r", MIRROR: named} | tags,
        )
        return self.ask(TaskFence(id="r", version=1, holder="h", action=create))

    def called(self, named: str, timeout_at: int = LATER) -> Response:
        """A call under an id of its own."""
        target = {TARGET: "poll://any@b"}
        return self.mirror(named, timeout_at=timeout_at, **target)

    def state(self, promise_id: str) -> PromiseState | None:
        promise = self.ask(PromiseGet(id=promise_id)).promise
        return promise.state if promise is not None else None


def test_a_call_under_an_id_of_its_own_is_created_there_and_its_outcome_comes_back() -> None:
    parent = Parent()
    other = parent.office.worker("b")
    assert parent.called("order-7").status == 200
    parent.desk.work()
    [execute] = executes(other)
    named = execute.promise
    assert (named.id, named.param, named.target) == ("order-7", VALUE, "poll://any@b")
    assert (named.tags[ORIGIN], named.tags[PARENT]) == ("order-7", "order-7")
    assert MIRROR not in named.tags
    parent.ask(settle("order-7"))
    parent.desk.work()
    assert parent.state("r:1") is PromiseState.RESOLVED


def test_a_mirror_has_no_task_of_its_own() -> None:
    parent = Parent()
    response = parent.called("order-7")
    assert response.task is None


def test_a_promise_of_another_tree_is_awaited_and_wakes_who_suspended_on_its_mirror() -> None:
    parent = Parent()
    parent.ask(external("approval", LATER))
    parent.mirror("approval")
    suspend = TaskSuspend(id="r", version=1, holder="h", awaited=("r:1",))
    response = parent.ask(suspend)
    assert response.task is not None
    assert response.task.state is TaskState.SUSPENDED
    parent.ask(settle("approval"))
    parent.desk.work()
    assert [one.promise.id for one in executes(parent.worker)] == ["r"]
    assert parent.state("r:1") is PromiseState.RESOLVED


def test_a_promise_that_was_settled_before_is_mirrored_at_once() -> None:
    parent = Parent()
    parent.ask(external("approval", LATER))
    parent.ask(settle("approval"))
    parent.mirror("approval")
    parent.desk.work()
    assert parent.state("r:1") is PromiseState.RESOLVED


def test_a_promise_that_does_not_exist_rejects_its_mirror_with_the_reason() -> None:
    parent = Parent()
    parent.mirror("nobody")
    parent.desk.work()
    promise = parent.ask(PromiseGet(id="r:1")).promise
    assert promise is not None
    assert promise.state is PromiseState.REJECTED
    assert promise.value.headers["error"].endswith("LedgerError")


def test_a_mirror_ends_with_its_parent_and_not_with_the_promise_it_names() -> None:
    """Otherwise the two could time out here and be resolved there in the same instant."""
    parent = Parent()
    parent.called("order-7", timeout_at=START + 10_000)
    parent.desk.work()
    mirror = parent.ask(PromiseGet(id="r:1")).promise
    named = parent.ask(PromiseGet(id="order-7")).promise
    assert mirror is not None
    assert named is not None
    assert (mirror.timeout_at, named.timeout_at) == (LATER, START + 10_000)
    parent.desk.run(11_000)
    assert parent.state("order-7") is PromiseState.REJECTED_TIMEDOUT
    assert parent.state("r:1") is PromiseState.REJECTED_TIMEDOUT


def test_nobody_settles_a_mirror_but_the_promise_it_names() -> None:
    parent = Parent()
    parent.called("order-7")
    response = parent.ask(PromiseSettle(id="r:1", state=PromiseState.RESOLVED))
    assert response.status == 400
    assert "settle that one" in response.error
    assert parent.state("r:1") is PromiseState.PENDING


def test_a_ledger_promoted_after_the_mirror_was_written_asks_again() -> None:
    """Nothing of it is in memory any more, and what had been sent may be lost."""
    parent = Parent()
    other = parent.office.worker("b")
    parent.desk.connection.mute = True
    steps = TaskFence(
        id="r",
        version=1,
        holder="h",
        action=PromiseCreate(
            id="r:1",
            timeout_at=LATER,
            tags={BRANCH: "r", MIRROR: "order-7", TARGET: "poll://any@b"},
        ),
    )
    parent.client.send(parent.client.group(steps))
    parent.desk.work()
    parent.desk.connection.cut()
    assert executes(other) == []
    parent.desk = parent.office.service(parent.desk.ledger)
    parent.desk.run(1_000)
    assert [one.promise.id for one in executes(other)] == ["order-7"]
    parent.ask(settle("order-7"))
    parent.desk.work()
    assert parent.state("r:1") is PromiseState.RESOLVED


def test_a_lost_unblock_is_made_good_by_asking_again() -> None:
    parent = Parent()
    parent.ask(external("approval", LATER))
    parent.mirror("approval")
    parent.desk.work()
    parent.desk.connection.mute = True
    parent.client.send(parent.client.group(settle("approval")))
    parent.desk.work()
    parent.desk.connection.mute = False
    assert parent.state("r:1") is PromiseState.PENDING
    parent.desk.run(310_000)
    assert parent.state("r:1") is PromiseState.RESOLVED


def test_several_mirrors_of_one_promise_end_together() -> None:
    parent = Parent()
    parent.ask(external("approval", LATER))
    for number in (1, 2, 3):
        create = PromiseCreate(
            id=f"r:{number}", timeout_at=LATER, tags={BRANCH: "r", MIRROR: "approval"}
        )
        parent.ask(TaskFence(id="r", version=1, holder="h", action=create))
    parent.ask(settle("approval"))
    parent.desk.work()
    assert {parent.state(f"r:{number}") for number in (1, 2, 3)} == {PromiseState.RESOLVED}


def test_canceling_the_parent_cancels_what_it_called_under_another_id() -> None:
    parent = Parent()
    parent.called("order-7")
    parent.desk.work()
    parent.ask(PromiseSettle(id="r", state=PromiseState.REJECTED_CANCELED))
    parent.desk.work()
    assert parent.state("r:1") is PromiseState.REJECTED_CANCELED
    assert parent.state("order-7") is PromiseState.REJECTED_CANCELED


def test_canceling_the_parent_leaves_a_promise_it_only_awaited() -> None:
    parent = Parent()
    parent.ask(external("approval", LATER))
    parent.mirror("approval")
    parent.desk.work()
    parent.ask(PromiseSettle(id="r", state=PromiseState.REJECTED_CANCELED))
    parent.desk.work()
    assert parent.state("approval") is PromiseState.PENDING


def test_a_mirror_is_created_by_the_holder_of_its_task_alone() -> None:
    """Its deadline is read by the ledger, which must not fail on what anybody wrote there."""
    parent = Parent()
    neighbour = call("neighbour", LATER)
    tags = {MIRROR: "y", "resonate:deadline": "soon", TARGET: "poll://any@b"}
    response = parent.ask(neighbour, PromiseCreate(id="x", timeout_at=LATER, tags=tags))
    assert (response.status, "only the holder" in response.error) == (400, True)
    parent.desk.run(5_000)
    assert [one.promise.id for one in executes(parent.worker)] == ["neighbour"]


def test_a_mirror_of_what_waits_for_it_is_refused() -> None:
    parent = Parent()
    response = parent.called("r")
    assert response.status == 400
    assert "cannot wait for it" in response.error


def test_what_is_created_is_asked_for_before_what_is_only_awaited() -> None:
    """A body may call under an id and await that id in one group, in which 10 sorts before 9."""
    parent = Parent()
    tags = {BRANCH: "r", MIRROR: "order-7"}
    creates = [
        PromiseCreate(id="r:9", timeout_at=LATER, tags=tags | {TARGET: "poll://any@b"}),
        PromiseCreate(id="r:10", timeout_at=LATER, tags=tags),
    ]
    parent.ask(*(TaskFence(id="r", version=1, holder="h", action=one) for one in creates))
    parent.desk.work()
    assert parent.state("r:10") is PromiseState.PENDING


def test_a_delayed_call_under_an_id_of_its_own_starts_then() -> None:
    parent = Parent()
    other = parent.office.worker("b")
    at = str(START + 3_000)
    tags = {BRANCH: "r", MIRROR: "order-7", TARGET: "poll://any@b", DELAY: at}
    create = PromiseCreate(id="r:1", timeout_at=LATER, tags=tags)
    assert parent.ask(TaskFence(id="r", version=1, holder="h", action=create)).status == 200
    parent.desk.run(2_000)
    assert executes(other) == []
    parent.desk.run(2_000)
    assert [one.promise.id for one in executes(other)] == ["order-7"]


def test_many_large_calls_are_asked_for_in_messages_that_are_read() -> None:
    parent = Parent()
    for number in range(1, 11):
        create = PromiseCreate(
            id=f"r:{number}",
            timeout_at=LATER,
            param=Value({}, "x" * 1_000_000),
            tags={BRANCH: "r", MIRROR: "order-7", TARGET: "poll://any@b"},
        )
        parent.ask(TaskFence(id="r", version=1, holder="h", action=create))
    parent.desk = parent.office.service(parent.desk.ledger)
    parent.desk.work()
    assert parent.office.dead() == []


def test_what_is_not_answered_is_asked_again_after_2_s_then_ever_later() -> None:
    parent = Parent()
    parent.ask(external("approval", LATER))
    asked: list[float] = []
    began = parent.office.clock.passed

    def lose(queue: str, body: bytes, _persistent: bool) -> Fate:
        if queue != LEDGER or b"register_listener" not in body:
            return Fate.DELIVER
        asked.append((parent.office.clock.passed - began) / 1_000)
        return Fate.DROP

    parent.office.broker.faults = lose
    parent.mirror("approval")
    parent.desk.run(125_000)
    assert asked == [0, 2, 6, 14, 30, 60, 90, 120]
