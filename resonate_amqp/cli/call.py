"""`call`: one durable call, from the shell."""

from __future__ import annotations

import json
import secrets

import click

from resonate_amqp.cli.options import as_json, broker, client, json_or_text, request_timeout
from resonate_amqp.cli.output import show_json
from resonate_amqp.errors import RemoteError


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("func")
@click.argument("args", nargs=-1)
@click.option(
    "--target",
    required=True,
    help="Where to: GROUP, poll://any@GROUP, celery://QUEUE or queue://NAME.",
)
@click.option("--id", "promise_id", help="The call's id; the same id is the same call.")
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the result; the call itself goes on.",
)
@click.option("--no-wait", is_flag=True, help="Print the id once the call is recorded.")
@as_json
@request_timeout
@broker
def call(
    func: str,
    args: tuple[str, ...],
    target: str,
    promise_id: str | None,
    timeout: float,
    no_wait: bool,
    as_json: bool,
    timeout_s: float,
    broker_url: str,
) -> None:
    """Call FUNC with ARGS (each JSON, or else text) and print its result."""
    drawn = not promise_id
    promise_id = promise_id or f"call-{secrets.token_hex(6)}"
    resonate = client(broker_url, timeout_s)
    try:
        handle = resonate.options(target=target).rpc(promise_id, func, *map(json_or_text, args))
        if no_wait:
            show_json({"id": promise_id}) if as_json else click.echo(promise_id)
            return
        try:
            result = handle.result(timeout)
        except TimeoutError as error:
            if isinstance(error.__cause__, RemoteError):
                raise
            raise TimeoutError(f"{error}: resonate-amqp promises get {promise_id}") from None
    except BaseException:
        if drawn:
            click.echo(f"id: {promise_id}", err=True)
        raise
    finally:
        resonate.stop()
    if as_json:
        show_json({"id": promise_id, "result": result})
    else:
        click.echo(json.dumps(result, ensure_ascii=False))
