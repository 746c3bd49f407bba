"""What a Resonate takes from a Celery app, and what of it is an error."""

from __future__ import annotations

import types
from typing import Any

import pytest
from celery import Celery

from resonate_amqp import UsageError
from resonate_amqp.ext.celery import from_celery
from resonate_amqp.ext.celery.configuring import url_of


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
    assert url_of(app_with(broker, resonate_url="amqp://named")) == "amqp://named"
    monkeypatch.setenv("RESONATE_AMQP_URL", "amqp://environment")
    assert from_celery(app_with(broker)).settings.url == "amqp://environment"


def test_without_rabbitmq_everything_is_embedded() -> None:
    assert from_celery(app_with("memory://")).settings.url == ""


def test_an_unknown_setting_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"resonate_grup is not known; known are .*resonate_group"):
        from_celery(app_with(resonate_grup="x"))


def test_a_setting_of_another_type_is_refused() -> None:
    with pytest.raises(UsageError, match="resonate_prefetch='4' must be of type int"):
        from_celery(app_with(resonate_prefetch="4"))
