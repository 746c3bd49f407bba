"""`demo`: the first five minutes."""

from __future__ import annotations

import click

from resonate_amqp.telemetry.logs import log_to_stderr


@click.command()
@click.option(
    "--broker",
    "broker_url",
    metavar="URL|private",
    help="One process per service over RabbitMQ, instead of embedded in one.",
)
def demo(broker_url: str | None) -> None:
    """Three flows through nine services, then a crash and what comes of it."""
    log_to_stderr("error")
    if broker_url is None:
        from resonate_amqp.dev.demo import embedded

        embedded.run()
    else:
        from resonate_amqp.dev.demo import processes

        processes.run(broker_url)
