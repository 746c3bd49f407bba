"""`resonate-amqp`: the group of all commands, each loaded only when it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from resonate_amqp.cli.output import exit_code_of, fail, text_of

NOUNS = {
    "call": "resonate_amqp.cli.call",
    "demo": "resonate_amqp.cli.demo",
    "dev": "resonate_amqp.cli.dev",
    "ledger": "resonate_amqp.cli.ledger",
    "promises": "resonate_amqp.cli.promises",
    "relay": "resonate_amqp.cli.relay",
    "scan": "resonate_amqp.cli.scan",
    "schedules": "resonate_amqp.cli.schedules",
    "stuck": "resonate_amqp.cli.stuck",
    "tasks": "resonate_amqp.cli.tasks",
    "tree": "resonate_amqp.cli.tree",
    "worker": "resonate_amqp.cli.worker",
}


class Nouns(click.Group):
    """The commands by name; a module is imported when its command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NOUNS:
            return None
        module = importlib.import_module(NOUNS[cmd_name])
        command: click.Command = getattr(module, cmd_name)
        return command


@click.command(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="resonate-amqp")
def cli() -> None:
    """Durable RPC over RabbitMQ: calls between processes that survive a crash of anything."""


def main(arguments: Sequence[str] | None = None, name: str = "resonate-amqp") -> None:
    """Run the command line, called by a name, and exit: 0, 1 failed or not found, 2 usage,
    3 rejected, 4 timeout, 69 unreachable, 130 interrupted."""
    try:
        cli.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        fail(text_of(error))
        sys.exit(code)
