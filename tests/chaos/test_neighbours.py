"""The release before, from this repository's history, together with this one over RabbitMQ."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.scenarios.system import ROOT, Process, System, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.processes]

PREVIOUS = "fa0e41898600aec1162889d73ff5a540f376d578"
PARK_AFTER_S = 0.3
HOLD_MAX_S = 0.5
GRACE_S = 0.5
NAMES = ["previous", "present"]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the code of each release is; a clone without the commit cannot test against it."""
    folder = tmp_path_factory.mktemp("previous")
    archive = ["git", "archive", PREVIOUS, "resonate_amqp", "tests/scenarios"]
    try:
        packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"commit {PREVIOUS[:7]} is not in this clone; fetch its whole history")
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")
    found = {"previous": folder, "present": ROOT}
    for root in found.values():
        show = [sys.executable, "-c", "import resonate_amqp as it; print(it.__file__)"]
        shown = subprocess.run(show, cwd=root, capture_output=True, check=True, text=True)
        assert Path(shown.stdout.strip()).is_relative_to(root)
    return found


def start(system: System, root: Path, letters: str = "abc", **settings: float) -> list[Process]:
    """Workers of one release, of which every body that waits is parked soon."""
    system.root = root
    given = {"park_after": PARK_AFTER_S, "grace": GRACE_S} | settings
    return [system.worker(letter, **given) for letter in letters]


def retire(workers: list[Process], how: str) -> None:
    for worker in workers:
        if how == "killed":
            worker.kill()
        else:
            worker.terminate()
    for worker in workers:
        worker.wait()


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("ledger", NAMES)
def test_what_workers_of_one_release_began_those_of_the_other_finish(
    system: System, releases: dict[str, Path], ledger: str, first: str, how: str
) -> None:
    """Workflows that are parked and a leaf that is cut off, under a ledger of either release."""
    (other,) = set(NAMES) - {first}
    system.root = releases[ledger]
    system.ledger()
    system.journal.close_gate("baz")
    workers = start(system, releases[first])
    gateway = system.gateway("x", function="foo")
    system.wait_for_run("baz")
    wait_until("foo and bar are parked", lambda: suspended(system) == 2)
    retire(workers, how)
    start(system, releases[other])
    system.wait_for_run("baz", 2)
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == {"foo": 2, "bar": 2, "note": 1, "baz": 2}
    system.end()


@pytest.mark.parametrize("workers", NAMES)
@pytest.mark.parametrize("ledger", NAMES)
def test_a_leaf_outlives_hold_max_whatever_the_ledger_knows(
    system: System, releases: dict[str, Path], ledger: str, workers: str
) -> None:
    system.root = releases[ledger]
    system.ledger()
    system.journal.close_gate("work")
    _, leaf = start(system, releases[workers], "ac", hold_max=HOLD_MAX_S)
    gateway = system.gateway("x=4", function="twice")
    system.wait_for_run("work")
    since = time.monotonic()
    wait_until("it was asked to move", lambda: time.monotonic() - since > 3 * (HOLD_MAX_S + 1))
    system.journal.open_gate("work")
    assert system.result(gateway) == 8
    assert system.journal.counts()["work"] == 1
    refused = "stays under its delivery" in leaf.log.read_text(encoding="utf-8")
    assert refused == ((ledger, workers) == ("previous", "present"))
    system.end()


@pytest.mark.parametrize("workers", NAMES)
def test_the_ledger_is_replaced_by_that_of_this_release_under_work_that_goes_on(
    system: System, releases: dict[str, Path], workers: str
) -> None:
    """Stopped, its database migrated, and the new one started; nobody else notices."""
    system.root = releases["previous"]
    ledger = system.ledger()
    system.journal.close_gate("baz")
    start(system, releases[workers])
    gateway = system.gateway("x", "y", function="foo")
    system.wait_for_run("baz", 2)
    ledger.terminate()
    assert ledger.wait() == 0
    system.journal.open_gate("baz")
    system.root = releases["present"]
    assert system.program("resonate_amqp", "ledger", "migrate").wait() == 0
    system.ledger()
    wait_until("both have their result", lambda: len(gateway.results()) == 2)
    assert gateway.results() == {"x": 3, "y": 3}
    assert gateway.wait() == 0
    counts = system.journal.counts()
    assert (counts["note"], counts["baz"]) == (2, 2)
    system.end()


def suspended(system: System) -> int:
    return int(system.query("SELECT count(*) FROM tasks WHERE state = 'suspended'")[0][0])
