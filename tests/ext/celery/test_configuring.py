"""What a Resonate takes from a Celery app, and what of it is an error."""

from __future__ import annotations

import gc
import os
import threading
import types
import weakref
from typing import Any

import pytest
from celery import Celery, current_app

from resonate_amqp import Resonate, UsageError
from resonate_amqp.ext.celery import durable, from_celery
from resonate_amqp.ext.celery.configuring import of_app, url_of
from resonate_amqp.ext.celery.made import made_of
from resonate_amqp.resonate.configured import Source


def app_with(broker: str | None = None, **conf: Any) -> Celery:
    app = Celery("configured", broker=broker, set_as_current=False)
    app.conf.update(conf)
    return app


def test_a_setting_is_taken_from_the_argument_the_app_the_environment_in_this_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GROUP", "PREFETCH", "THREADS"):
        monkeypatch.setenv(f"RESONATE_AMQP_{name}", "3")
    app = app_with(resonate_prefetch=4, resonate_group="conf", resonate_park_after=5)
    settings = from_celery(app, group="argument").settings
    assert (settings.group, settings.prefetch, settings.threads) == ("argument", 4, 3)
    assert settings.park_after == 5.0


def test_django_s_namespace_is_read() -> None:
    django = types.SimpleNamespace(CELERY_RESONATE_GROUP="django", RESONATE_ELSE=1)
    app = Celery("django", set_as_current=False)
    app.config_from_object(django, namespace="CELERY")
    assert from_celery(app).settings.group == "django"


def test_the_url_is_the_app_s_broker_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = "pyamqp://me:p%40ss@host:5673//"
    assert from_celery(app_with(broker)).settings.url == "amqp://me:p%40ss@host:5673/%2F"
    assert url_of(app_with(broker, resonate_url="amqp://me:1@named")) == "amqp://me:1@named"
    monkeypatch.setenv("RESONATE_AMQP_URL", "amqp://environment")
    assert from_celery(app_with(broker)).settings.url == "amqp://environment"


def test_without_rabbitmq_everything_is_embedded() -> None:
    assert from_celery(app_with("memory://")).settings.url == ""


def test_an_unknown_setting_is_named_with_the_known_ones() -> None:
    resonate = from_celery(app_with(resonate_grup="x"))
    with pytest.raises(UsageError, match=r"resonate_grup is not known; known are .*resonate_group"):
        _ = resonate.settings


def test_a_setting_of_another_type_is_refused() -> None:
    resonate = from_celery(app_with(resonate_prefetch="4"))
    with pytest.raises(UsageError, match="resonate_prefetch='4' must be of type int"):
        _ = resonate.settings


def test_a_wrong_argument_is_an_error_where_it_is_written() -> None:
    app = app_with("amqp://me:1@host")
    with pytest.raises(UsageError, match="unknown setting 'grup'"):
        from_celery(app, grup="x")
    with pytest.raises(UsageError, match="group"):
        from_celery(app, group="a/b")


def test_an_app_may_be_configured_after_its_resonate_was_made_and_used_for_declarations() -> None:
    app = Celery("later", set_as_current=False)
    resonate = from_celery(app, prefetch=3)

    @resonate.register
    def charge(order: str) -> str:
        return order

    @durable(resonate)
    def pack(order: str) -> str:
        return order

    resonate.set_dependency("bank", object())
    short = resonate.options(timeout=5)
    app.config_from_object({"broker_url": "amqp://me:1@late//", "resonate_group": "late"})
    assert (resonate.settings.url, resonate.settings.group) == ("amqp://me:1@late:5672/%2F", "late")
    assert resonate.settings.prefetch == 3
    assert short.settings is resonate.settings
    app.conf.resonate_group = "too-late"
    assert resonate.settings.group == "late"


def test_the_current_app_is_the_one_of_the_first_use() -> None:
    before = current_app._get_current_object()
    resonate = from_celery(current_app)
    app = app_with("amqp://me:1@current")
    try:
        app.set_current()
        assert resonate.settings.url == "amqp://me:1@current:5672/%2F"
    finally:
        before.set_current()
    assert resonate.settings.url == "amqp://me:1@current:5672/%2F"


def test_the_current_app_of_a_thread_is_found_or_the_error_says_how() -> None:
    said: list[str] = []
    resonate = from_celery(current_app)

    def ask() -> None:
        with pytest.raises(UsageError) as refused:
            resonate.broker_url()
        said.append(str(refused.value))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert "names no broker" in said[0]
    assert "current_app is the app that called set_default()" in said[0]


def test_an_app_that_names_no_broker_is_an_error_until_it_does() -> None:
    app = Celery("bare", set_as_current=False)
    resonate = from_celery(app)
    resonate.register(print, name="print")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"the Celery app 'bare' names no broker.*broker_url"):
            resonate.rpc("order-7", "print")
    with pytest.raises(UsageError, match="names no broker"):
        resonate.cron("* * * * *")(test_an_app_that_names_no_broker_is_an_error_until_it_does)
    assert not resonate.embedded
    app.conf.broker_url = "amqp://me:1@found"
    assert resonate.broker_url() == "amqp://me:1@found:5672/%2F"


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("CELERY_BROKER_URL", None),
        ("CELERY_BROKER_WRITE_URL", None),
        ("RESONATE_AMQP_URL", None),
        (None, "broker_url"),
        (None, "broker_write_url"),
        (None, "resonate_url"),
    ],
)
def test_each_way_to_name_a_broker_is_known(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, setting: str | None
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, "amqp://me:1@named:5672/%2F")
    app = app_with(**({setting: "amqp://me:1@named:5672/%2F"} if setting else {}))
    assert from_celery(app).broker_url() == "amqp://me:1@named:5672/%2F"


@pytest.mark.parametrize("empty", ["environment", "configuration"])
def test_an_empty_url_names_nothing(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    app = app_with("amqp://me:1@host")
    if empty == "environment":
        monkeypatch.setenv("RESONATE_AMQP_URL", "")
    else:
        app.conf.resonate_url = ""
    assert from_celery(app).broker_url() == "amqp://me:1@host:5672/%2F"
    assert from_celery(app, url="").embedded


def test_a_broker_that_is_no_rabbitmq_is_an_error_for_who_needs_one() -> None:
    resonate = from_celery(app_with("redis://:secret@cache:6379/0"))
    with pytest.raises(
        UsageError, match=r"redis://:\*\*@cache:6379/0, which is no RabbitMQ"
    ) as seen:
        resonate.get("order-7")
    assert "set its broker_url to the RabbitMQ" in str(seen.value)


def test_without_a_broker_tasks_still_run_eagerly() -> None:
    app = Celery("eager", set_as_current=False)

    @app.task(shared=False)
    @durable()
    def charge(order: str) -> str:
        return f"charged {order}"

    assert charge.apply(["7"]).get() == "charged 7"


def test_a_task_that_names_no_resonate_has_its_app_s() -> None:
    app = app_with("amqp://me:1@host", resonate_group="of-app")

    @app.task(shared=False)
    @durable()
    def charge() -> None: ...

    made = made_of(charge)
    assert made is not None
    assert made.source(charge) is of_app(app)
    assert of_app(app).settings.group == "of-app"


def test_an_app_s_own_resonate_does_not_keep_the_app() -> None:
    app = app_with("amqp://me:1@host")
    assert of_app(app).broker_url() == "amqp://me:1@host:5672/%2F"
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"BROKER_URL": "amqp://me:1@old//"}, {}),
        ({"CELERY_BROKER_URL": "amqp://me:1@old//"}, {"namespace": "CELERY"}),
        ({"broker_host": "old", "broker_user": "me", "broker_password": "1"}, {}),
    ],
)
def test_a_broker_is_found_in_whatever_form_the_settings_have(
    settings: dict[str, str], options: dict[str, str]
) -> None:
    app = Celery("old", set_as_current=False)
    app.config_from_object(types.SimpleNamespace(**settings), **options)
    assert from_celery(app).broker_url() == "amqp://me:1@old:5672/%2F"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_reads_settings_that_another_thread_was_reading() -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slowly() -> dict[str, Any]:
        reading.set()
        go_on.wait(10)
        return {"group": "read"}

    resonate = Resonate.lazily(Source(slowly, lambda: "amqp://me:1@host"))
    thread = threading.Thread(target=lambda: resonate.settings)
    thread.start()
    assert reading.wait(10)
    child = os.fork()
    if child == 0:
        go_on.set()
        os._exit(0 if resonate.settings.group == "read" else 1)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
