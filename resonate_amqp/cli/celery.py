"""`celery -A APP resonate …`: these commands, with the app's broker."""

from __future__ import annotations

import os

import click

from resonate_amqp.cli.main import main
from resonate_amqp.errors import UsageError
from resonate_amqp.settings import PREFIX

AS_THEY_ARE = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}


@click.command(context_settings=AS_THEY_ARE)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def resonate(context: click.Context, arguments: tuple[str, ...]) -> None:
    """What resonate-amqp does (promises, tasks, tree, stuck …), with the app's broker."""
    from resonate_amqp.ext.celery.configuring import url_of

    try:
        url = url_of(context.obj.app)
    except UsageError as error:
        if not any(one.startswith(("--broker", "--help")) for one in arguments):
            raise click.UsageError(str(error)) from error
        url = ""
    if url:
        os.environ[PREFIX + "URL"] = url
    main(arguments, name="celery resonate")
