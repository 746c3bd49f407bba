"""Options that several commands share."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from resonate_amqp.resonate import Resonate
from resonate_amqp.resonate.failpoints import Mishap
from resonate_amqp.settings import PREFIX, resolve
from resonate_amqp.telemetry.logs import log_to_stderr

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
ledger_url = click.option(
    "--ledger",
    "ledger_url",
    envvar=PREFIX + "LEDGER",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="The ledger's database: sqlite:///FILE, postgresql://…, env:NAME or file:PATH.",
)
broker_option = functools.partial(
    click.option,
    "--broker",
    "broker_url",
    envvar=PREFIX + "URL",
    show_envvar=True,
    metavar="URL",
    help="The broker: amqp://USER:PASSWORD@HOST/VHOST, several joined by ;, env:NAME, file:PATH.",
)


def broker(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--broker`, resolved; a password among the arguments is warned about."""

    @functools.wraps(command)
    def checked(*args: Any, broker_url: str, **kwargs: Any) -> Any:
        warn_of_password(broker_url)
        return command(*args, broker_url=resolve(broker_url), **kwargs)

    return broker_option(required=True)(checked)


def warn_of_password(broker_url: str | None) -> None:
    """Say so when `--broker` was given a password as an argument."""
    source = click.get_current_context().get_parameter_source("broker_url")
    if source is ParameterSource.COMMANDLINE and _shows_password(broker_url or ""):
        click.echo(
            "warning: the broker's password is visible in the list of processes; "
            f"use {PREFIX}URL, env:NAME or file:PATH",
            err=True,
        )


def logs(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--log-level` and `--log-json` of programs that run on."""

    @click.option(
        "--log-level",
        default="info",
        show_default=True,
        metavar="LEVEL",
        help="Log this and what is worse: debug, info, warning, error or critical.",
    )
    @click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
    @functools.wraps(command)
    def logging(*args: Any, log_level: str, log_json: bool, **kwargs: Any) -> Any:
        try:
            log_to_stderr(log_level, as_json=log_json)
        except ValueError:
            raise click.UsageError(f"--log-level {log_level!r} is not a level") from None
        return command(*args, **kwargs)

    return logging


def failpoints(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--failpoint`, any number of times, as `mishaps`."""

    @click.option(
        "--failpoint",
        "failpoints",
        multiple=True,
        metavar="NAME[@TIME]=FATE",
        help="For tests: kill, pause or drop this process when it comes to a named place.",
    )
    @functools.wraps(command)
    def armed(*args: Any, failpoints: tuple[str, ...], **kwargs: Any) -> Any:
        return command(*args, mishaps=tuple(map(Mishap.read, failpoints)), **kwargs)

    return armed


def client(broker_url: str, timeout_s: float) -> Resonate:
    """A Resonate that only asks; `timeout_s` bounds every request."""
    log_to_stderr("critical")
    return Resonate(broker_url, group="cli", request_timeout=timeout_s)


limit = click.option(
    "--limit",
    default=100,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Show at most N, and say so if there are more.",
)

request_timeout = click.option(
    "--request-timeout",
    "timeout_s",
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the ledger's answer.",
)


def json_or_text(text: str) -> Any:
    """An argument's value: what it is as JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shows_password(url: str) -> bool:
    return "://" in url and ":" in url.partition("://")[2].rpartition("@")[0]
