"""The example shops: what their retrofit changes, and the shops as processes that are running."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from examples.shop_load.reconcile import Found, read
from examples.shop_load.shops import Place, Shop
from tests.examples.programs import EXAMPLES, Programs, free_port, wait_until

DIFF = "retrofit.diff"


def retrofit(shop: str) -> str:
    """What makes a shop durable, as a unified diff."""
    folder = EXAMPLES / f"{shop}_shop"
    names = sorted(path.name for path in (folder / "before").glob("*.py"))
    assert names == sorted(path.name for path in (folder / "after").glob("*.py"))
    lines: list[str] = []
    for name in names:
        before, after = (
            (folder / version / name).read_text(encoding="utf-8").splitlines(keepends=True)
            for version in ("before", "after")
        )
        lines += difflib.unified_diff(before, after, f"before/{name}", f"after/{name}")
    return "".join(lines)


def changed_lines(diff: str) -> list[str]:
    """The lines that a diff adds or takes away, imports and empty ones apart."""
    lines = [line for line in diff.splitlines() if line.startswith(("+", "-"))]
    texts = [line[1:].strip() for line in lines if not line.startswith(("+++", "---"))]
    return [text for text in texts if text and not text.startswith(("from ", "import "))]


class Open(Programs):
    """A shop that is open: its services, the payment provider, and a ledger after the retrofit."""

    def __init__(self, shop: Shop, version: str, url: str, folder: Path) -> None:
        port = free_port()
        super().__init__(
            folder,
            BROKER_URL=url,
            PORT=str(port),
            PROVIDER_URL=f"http://127.0.0.1:{port}",
            PROVIDER_DB=str(folder / "provider.db"),
            WAREHOUSE_DB=str(folder / "warehouse.db"),
            MAIL_DB=str(folder / "mail.db"),
            RESONATE_AMQP_URL=url,
            RESONATE_AMQP_LEDGER=f"sqlite:///{folder / 'ledger.db'}",
        )
        self.place: Place = shop.site(url)
        self.start("provider", sys.executable, str(EXAMPLES / "payment_provider.py"))
        if version == "after":
            self.start("ledger", sys.executable, "-m", "resonate_amqp", "ledger", "serve")
        for program in shop.programs(version, takers=1):
            self.start(program.name, *program.command, cwd=program.folder)

    def charged(self, times: int) -> Found:
        """The books, once the provider was asked for so many charges."""
        wait_until(f"{times} charges", lambda: read(self.folder).requests["charge"] >= times)
        return read(self.folder)

    def settled(self, numbers: set[int]) -> Found:
        """The books, once these orders are fulfilled and the ledger has nothing left to do."""
        wait_until("the books agree", lambda: not read(self.folder).differs(numbers, ledger=True))
        return read(self.folder)


def main() -> None:
    """Write the diffs anew."""
    for shop in ("kombu", "celery"):
        (EXAMPLES / f"{shop}_shop" / DIFF).write_text(retrofit(shop), encoding="utf-8")


if __name__ == "__main__":
    main()
