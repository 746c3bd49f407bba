"""`worker`: run the functions of a module."""

from __future__ import annotations

import importlib
import os
import sys

import click
from click.core import ParameterSource

from resonate_amqp.cli.options import failpoints, logs, warn_of_password
from resonate_amqp.cli.pool import Pool, word_to_stop
from resonate_amqp.errors import UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.resonate.failpoints import Mishap
from resonate_amqp.settings import PREFIX

NOT_PASSED_ON = {"broker_url", "processes"}


@click.group()
def worker() -> None:
    """Run durable functions."""


@worker.command()
@click.argument("where", metavar="MODULE:ATTR")
@click.option("--broker", "broker_url", metavar="URL", help=f"As {PREFIX}URL for the module.")
@click.option("--group", metavar="NAME", help=f"As {PREFIX}GROUP for the module.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run N processes of it, and replace one that ends.",
)
@failpoints
@logs
def run(
    where: str,
    broker_url: str | None,
    group: str | None,
    processes: int | None,
    mishaps: tuple[Mishap, ...],
) -> None:
    """Serve the Resonate instance ATTR of MODULE until SIGTERM or Ctrl-C."""
    warn_of_password(broker_url)
    for name, value in (("URL", broker_url), ("GROUP", group)):
        if value is not None:
            os.environ[PREFIX + name] = value
    if processes is not None:
        sys.exit(Pool(_passed_on(click.get_current_context()), processes).run())
    until = word_to_stop()
    resonate = load(where)
    resonate.arm(*mishaps)
    resonate.serve(until=until)


def load(where: str) -> Resonate:
    """The instance that MODULE:ATTR names; raises UsageError when there is none."""
    module_name, _, attribute = where.partition(":")
    if not attribute:
        raise UsageError(f"{where!r} is not MODULE:ATTR; write myservice:resonate")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(f"module {module_name!r} cannot be imported: {error}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Resonate):
        raise UsageError(f"{where!r} is a {type(found).__name__}, not a Resonate instance")
    return found


def _passed_on(context: click.Context) -> list[str]:
    """The command of a process of the pool: what was given here; the url goes by environment."""
    words = context.command_path.split()[1:]
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name in NOT_PASSED_ON:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            words.append(value)
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            values = value if parameter.multiple else [value]
            words += [f"{parameter.opts[0]}={one}" for one in values]
    return words
