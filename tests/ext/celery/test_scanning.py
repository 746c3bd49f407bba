"""A scan of a Celery app: which grade each task has, and what is said before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_amqp.ext.scanning.findings import Grade, NothingToScan
from tests.ext.celery.scanned import Folder, told, warned

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(tmp_path, monkeypatch)


def test_tasks_are_graded_by_what_they_do(folder: Folder) -> None:
    report = folder.shop(
        """
        @app.task(bind=True, rate_limit="10/m")
        def plain(self, order):
            return order

        @app.task
        def caller(order):
            plain.delay(order)
            time.sleep(3)

        @app.task
        async def modern(order):
            return order
        """
    )
    grades = {one.name.rpartition(".")[2]: one.grade for one in report.graded}
    assert grades == {"plain": Grade.DECORATE, "caller": Grade.STEPS, "modern": Grade.LEAVE}
    plain, caller, modern = report.graded
    assert plain.options == {"bind": "True", "rate_limit": "10/m"}
    assert [(step.line, step.write) for step in caller.steps] == [
        (caller.line + 1, "yield ctx.detached(plain, order)"),
        (caller.line + 2, "yield ctx.sleep(3)"),
    ]
    assert "async function" in modern.reasons[0]
    assert report.warnings == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("@app.task\ndef t(ctx, x): ...", "its own argument is called ctx"),
        ("@app.task(bind=True)\ndef t(self, ctx): ...", "its own argument is called ctx"),
        ("@app.task\ndef t(x):\n    yield x", "it is a generator"),
        ("@app.task\ndef t(x: set): ...", "'x' is a set"),
        ("@app.task\ndef t(x: 'frozenset[int] | None'): ...", "'x' is a set"),
        ("@app.task\ndef t(x=frozenset()): ...", "'x' is a set unless it is given"),
        ("class Row:\n    __table__ = 1\n\n@app.task\ndef t(x: Row): ...", "'x' is a Row"),
        ("app.conf.worker_pool = 'gevent'\n\n@app.task\ndef t(): ...", "pool is gevent"),
        ("exec('def t(x): ...')\napp.task(t)", "its source cannot be read"),
    ],
)
def test_what_cannot_be_durable_is_left_with_the_reason(
    folder: Folder, text: str, why: str
) -> None:
    graded = folder.task(text)
    assert graded.grade is Grade.LEAVE
    assert why in " ".join(graded.reasons)


@pytest.mark.parametrize(
    "parameters", ["x: dict, y: list[int]", "x: 'bytes | None' = None", "*args, **kwargs", "x: int"]
)
def test_arguments_that_json_carries_are_no_reason(folder: Folder, parameters: str) -> None:
    assert folder.task(f"@app.task\ndef t({parameters}): ...").grade is Grade.DECORATE


def test_a_task_of_an_installed_package_is_left(folder: Folder) -> None:
    folder.write("venv/site-packages/bought", "def bought(x):\n    return x\n")
    graded = folder.task(
        """
        import sys
        sys.path.insert(0, "venv/site-packages")
        from bought import bought
        app.task(bought)
        """
    )
    assert graded.grade is Grade.LEAVE
    assert "belongs to an installed package (bought.py)" in graded.reasons[0]


def test_what_is_durable_already_is_left_and_what_hides_it_is_named(folder: Folder) -> None:
    report = folder.shop(
        """
        from resonate_amqp.ext.celery import DurableTask, durable, from_celery

        resonate = from_celery(app)

        def hiding(func):
            def wrapper(*args):
                return func(*args)
            return wrapper

        @app.task
        @durable(resonate)
        def first(x): ...

        @app.task(base=DurableTask)
        def second(x): ...

        @app.task
        @hiding
        @durable(resonate)
        def third(x): ...
        """
    )
    assert [one.reasons for one in report.graded] == [["it is durable already"]] * 3
    first, second, third = report.graded
    assert warned(first) == warned(second) == ""
    assert "@hiding hides that the function below it is durable" in warned(third)
    assert report.diff == ""


def test_what_a_durable_workflow_does_beside_its_steps_is_named(folder: Folder) -> None:
    graded = folder.task(
        """
        from resonate_amqp.ext.celery import durable, from_celery

        resonate = from_celery(app)

        def store(ctx, x):
            book.save()

        @app.task
        @durable(resonate)
        def t(ctx, x):
            yield ctx.lfc(store, x)
            yield from rest(ctx, x)
            time.sleep(3)

        def rest(ctx, x):
            yield ctx.lfc(store, x)
            book.save()
        """
    )
    (remark,) = graded.warnings
    assert remark.line == graded.line + 3
    assert "not recorded, and happens again whenever the task comes back: yield ctx.sleep(3)" in (
        remark.text
    )


def test_a_decorator_of_the_shop_is_seen_through(folder: Folder) -> None:
    graded = folder.task(
        """
        def hiding(func):
            def wrapper(*args):
                try:
                    return func(*args)
                except Exception:
                    return None
            return wrapper

        @app.task(autoretry_for=(OSError,))
        @hiding
        def t(x):
            time.sleep(3)
        """
    )
    assert [step.write for step in graded.steps] == ["yield ctx.sleep(3)"]
    said = warned(graded)
    assert "functools.wraps" in said
    assert "catches every Exception" in said
    assert "a retry replays what is recorded" in said
    assert graded.options == {"autoretry_for": "OSError"}


def test_what_means_something_else_in_a_durable_task_is_named_with_its_line(
    folder: Folder,
) -> None:
    graded = folder.task(
        """
        @app.task(bind=True, pydantic=True, serializer="pickle", time_limit=30)
        def t(self, x: int):
            if x == 1:
                raise self.retry(args=(2,))
            if x == 2:
                raise Reject("no", requeue=False)
            if x == 3:
                raise Reject("again", requeue=True)
            raise Ignore()
        """
    )
    said = warned(graded)
    assert f"{graded.line + 2}: self.retry(args=…, kwargs=…) runs again with the new" in said
    assert f"{graded.line + 4}: Reject(requeue=False) is an outcome" in said
    assert f"{graded.line + 6}: Reject(requeue=True) is no outcome" in said
    assert f"{graded.line + 7}: Ignore is no outcome" in said
    assert "pydantic=True" in said
    assert "serializer is 'pickle'" in said


def test_a_base_class_of_the_shop_is_told_of_once(folder: Folder) -> None:
    report = folder.shop(
        """
        class Base(Task):
            def __call__(self, *args):
                return super().__call__(*args)

            def on_failure(self, *args): ...

        @app.task(base=Base)
        def one(x): ...

        @app.task(base=Base)
        def two(x): ...

        @app.task(base=Base)
        def three(x): ...
        """
    )
    assert "the class Base has a __call__" in told(report)
    assert "the class Base has on_failure: it is called" in told(report)
    assert told(report).count("(one, two, three)") == 2
    assert [one.options for one in report.graded] == [{"base": "Base"}] * 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("broker_url = 'redis://localhost'", "the broker is redis://, not RabbitMQ"),
        ("broker_url = None", "no broker_url is set"),
        ("accept_content = ['pickle']", "accept_content is ['pickle'], without 'json'"),
        ("task_serializer = 'pickle'", "task_serializer is 'pickle'"),
        ("worker_pool = 'eventlet'", "worker_pool is 'eventlet'"),
        ("worker_prefetch_multiplier = 4", "worker_prefetch_multiplier is 4"),
        (f"task_queues = [Queue('orders', queue_arguments={QUORUM})]", "orders is a quorum queue"),
        ("task_queues = [Broadcast('news')]", "news is a Broadcast (fanout) queue"),
        ("resonate_url = 'amqp://localhost/other'", "resonate_url is amqp://localhost/other"),
        ("resonate_colour = 'red'", "the Celery setting resonate_colour is not known"),
    ],
)
def test_a_setting_that_durable_tasks_cannot_live_with_is_named(
    folder: Folder, line: str, said: str
) -> None:
    report = folder.shop(f"app.conf.{line}")
    assert said in told(report)
    assert len(report.warnings) == 1


@pytest.mark.parametrize("url", ["amqp://localhost//", "amqp://guest:guest@127.0.0.1:5672/%2F"])
def test_one_broker_in_other_words_is_one(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("RESONATE_AMQP_URL", url)
    assert told(folder.shop("")) == ""


def test_another_broker_in_the_environment_is_named(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESONATE_AMQP_URL", "amqp://elsewhere")
    assert "RESONATE_AMQP_URL is amqp://elsewhere" in told(folder.shop(""))


def test_queues_and_routes_are_told(folder: Folder) -> None:
    report = folder.shop(
        """
        app.conf.task_queues = [Queue("fast", max_priority=9), Broadcast("news")]
        app.conf.task_default_queue = "fast"
        app.conf.task_routes = {"scanned.t": {"queue": "news"}}

        @app.task
        def t(x): ...
        """
    )
    assert report.facts["broker"] == "amqp://guest:**@localhost:5672//"
    assert report.facts["queues"] == "fast (priorities to 9), news (fanout)"
    (graded,) = report.graded
    assert graded.options == {"queue": "news"}
    assert "routed to the fanout queue news" in warned(graded)


def test_sets_that_callers_give_and_tasks_answer_are_named(folder: Folder) -> None:
    report = folder.shop(
        """
        @app.task
        def t(x) -> set[int]: ...

        def call(order):
            t.delay({1, 2})
            t.apply_async(kwargs={"x": set(order)})
            t.delay([1, 2])
        """
    )
    (graded,) = report.graded
    at = f"scanned.py:{graded.line + 3}, {graded.line + 4} sends a set"
    assert told(report).startswith(at)
    assert "it answers a set, which JSON does not carry" in warned(graded)


def test_task_ids_that_callers_choose_are_named(folder: Folder) -> None:
    report = folder.shop(
        """
        @app.task
        def t(x): ...

        def call(order):
            t.apply_async((1,), task_id=f"order-{order}")
            t.apply_async((1,), task_id=str(uuid.uuid4()))
            t.apply_async((1,))
        """
    )
    assert "sends with task_id=f'order-{order}'" in told(report)
    assert len(report.warnings) == 1


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nowhere:app", "module 'nowhere' is not found"),
        ("broken:app", "module 'broken' cannot be imported: KeyError: 'NOT_SET'"),
        ("needy:app", "module 'needy' cannot be imported: No module named 'missing'"),
        ("shop:nothing", "module 'shop' has no 'nothing'"),
        ("shop:make", "is of type function, not a Celery app; write the name of what it answers"),
        ("shop", "has neither a Celery app nor a Kombu consumer"),
        ("lost:app", "the tasks of 'lost:app' cannot be imported"),
    ],
)
def test_what_is_not_there_is_named_with_its_remedy(folder: Folder, where: str, why: str) -> None:
    folder.write("broken", "import os\nos.environ['NOT_SET']\n")
    folder.write("needy", "import missing\n")
    folder.write("shop", "def make(): ...\n")
    folder.write(
        "lost",
        "from celery import Celery\n"
        "app = Celery(include=['missing.tasks'], set_as_current=False)\n",
    )
    with pytest.raises(NothingToScan) as caught:
        folder.scan(where)
    assert why in str(caught.value)


def test_an_app_is_found_as_celery_finds_it(folder: Folder) -> None:
    folder.write("proj/__init__", "")
    folder.write(
        "proj/celery",
        "from celery import Celery\napp = Celery('p', broker='amqp://h', set_as_current=False)\n",
    )
    folder.write("named", "from proj.celery import app as shop_app\n")
    assert folder.scan("proj").subject == "proj.celery:app"
    assert folder.scan("named").subject == "named:shop_app"
