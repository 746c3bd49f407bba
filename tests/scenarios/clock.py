"""A worker whose function is called every second; each body writes to the journal."""

from __future__ import annotations

from resonate_amqp import Context, Resonate
from tests.scenarios.journal import own_journal

journal = own_journal()
t = Resonate(group="service-t")


@t.cron("* * * * * *")
def chime(ctx: Context) -> None:
    journal.began("chime", ctx.id)
