"""`worker`: run the functions of a module."""

from __future__ import annotations

import importlib
import os
import sys

import click

from resonate_amqp.cli.options import logs
from resonate_amqp.errors import UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.settings import PREFIX


@click.group()
def worker() -> None:
    """Run durable functions."""


@worker.command()
@click.argument("where", metavar="MODULE:ATTR")
@click.option("--broker", "broker_url", metavar="URL", help=f"As {PREFIX}URL for the module.")
@click.option("--group", metavar="NAME", help=f"As {PREFIX}GROUP for the module.")
@logs
def run(where: str, broker_url: str | None, group: str | None) -> None:
    """Serve the Resonate instance ATTR of MODULE until SIGTERM or Ctrl-C."""
    for name, value in (("URL", broker_url), ("GROUP", group)):
        if value is not None:
            os.environ[PREFIX + name] = value
    load(where).serve()


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
