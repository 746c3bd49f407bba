"""The example shops: what their retrofit changes, and the shops as processes that are running."""

from __future__ import annotations

import difflib
import sys
from contextlib import suppress
from pathlib import Path

from examples.shop_load.reconcile import Found, read
from examples.shop_load.shops import SHOPS, Place, Shop, variables
from tests.examples.programs import EXAMPLES, Programs, listens, wait_until

DIFF = "retrofit.diff"


def retrofit(shop: str) -> str:
    """What makes a shop durable, as a unified diff."""
    folder = EXAMPLES / f"{shop}_shop"
    names = _modules(folder / "before")
    assert names == _modules(folder / "after")
    lines: list[str] = []
    for name in names:
        before, after = (
            (folder / version / name).read_text(encoding="utf-8").splitlines(keepends=True)
            for version in ("before", "after")
        )
        lines += difflib.unified_diff(before, after, f"before/{name}", f"after/{name}")
    return "".join(lines)


def _modules(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


def changed_lines(diff: str) -> list[str]:
    """The lines that a diff adds or takes away, imports and empty ones apart."""
    lines = [line for line in diff.splitlines() if line.startswith(("+", "-"))]
    texts = [line[1:].strip() for line in lines if not line.startswith(("+++", "---"))]
    return [text for text in texts if text and not text.startswith(("from ", "import "))]


class Open(Programs):
    """A shop that is open: its services, the payment provider, and a ledger after the retrofit."""

    def __init__(self, shop: Shop, version: str, url: str, folder: Path) -> None:
        super().__init__(folder, **variables(url, folder))
        self.shop = shop
        self.place: Place = shop.site(self.environment)
        for program in shop.preparations(version):
            assert self.start(program.name, *program.command, cwd=program.folder).wait() == 0
        self.start("provider", sys.executable, str(EXAMPLES / "payment_provider.py"))
        if version == "after":
            self.start("ledger", sys.executable, "-m", "resonate_amqp", "ledger", "serve")
        for program in shop.programs(version, self.environment, takers=1):
            self.start(program.name, *program.command, cwd=program.folder)
        if "web" in shop.services:
            port = int(self.environment["SHOP_URL"].rpartition(":")[2])
            wait_until("the shop's web site listens", lambda: listens(port))

    def charged(self, times: int) -> Found:
        """The books, once the provider was asked for so many charges."""
        wait_until(f"{times} charges", lambda: self.books().requests["charge"] >= times)
        return self.books()

    def settled(self, numbers: set[int]) -> Found:
        """The books, once these orders are fulfilled and the ledger has nothing left to do."""
        wait_until("the books agree", lambda: not self.books().differs(numbers, ledger=True))
        return self.books()

    def open_databases(self) -> list[Path]:
        """The shop's database, once for each time that a process of the shop has it open."""
        found = []
        for held in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):
                found.append(held.readlink())
        return [path for path in found if path == self.folder / "shop.db"]

    def books(self) -> Found:
        """The books as they are now."""
        return read(self.folder, self.shop.stores)


def main() -> None:
    """Write the diffs anew."""
    for shop in SHOPS:
        (EXAMPLES / f"{shop}_shop" / DIFF).write_text(retrofit(shop), encoding="utf-8")


if __name__ == "__main__":
    main()
