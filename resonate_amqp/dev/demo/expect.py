"""What the demo claims, checked while it runs."""

from __future__ import annotations

import click

from resonate_amqp.errors import ResonateError


def expect(what: str, found: object, wanted: object) -> None:
    """Print the finding; raises ResonateError when it is not what was claimed."""
    if found != wanted:
        raise ResonateError(f"{what}: {found!r} where {wanted!r} was expected")
    counted = what.endswith(" ran")
    click.echo(f" {what} {found} time{'' if found == 1 else 's'}" if counted else f"  = {found}")
