"""The example shops while everything in them is killed, by the script that their readers run."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.system import ROOT, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.processes, pytest.mark.timeout(400)]

SEED: int | None = None
"""Give the seed of a run that failed to draw the same moments again."""
KILLS_S = 15
ENDS_S = 360


def load(shop: str, tmp_path: Path) -> subprocess.Popen[str]:
    """The script, under way; what it keeps is in the folder."""
    seed = secrets.randbelow(1_000_000) if SEED is None else SEED
    options = ["--shop", shop, "--seconds", str(KILLS_S), "--seed", str(seed)]
    return subprocess.Popen(
        [sys.executable, "-m", "examples.shop_load", *options],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_over(folder: Path) -> list[str]:
    """Files in a folder, and processes whose environment names it."""
    found = [str(path) for path in folder.iterdir()]
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            held = environment.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in held:
            found.append(environment.parent.name)
    return found


@pytest.mark.parametrize("shop", ["kombu", "celery", "django"])
def test_each_order_is_charged_packed_and_mailed_once_although_everything_is_killed(
    shop: str, tmp_path: Path
) -> None:
    with load(shop, tmp_path) as script:
        said, _ = script.communicate(timeout=ENDS_S)

    sys.stdout.write(said)
    assert script.returncode == 0
    assert said.endswith("every order has exactly one recorded charge, parcel and mail\n")
    assert "kill -9" in said
    assert left_over(tmp_path) == []


def test_a_load_that_is_told_to_end_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    with load("celery", tmp_path) as script:
        assert script.stdout is not None
        for line in script.stdout:
            if "kill -9" in line:
                break
        script.send_signal(signal.SIGTERM)
        assert script.wait(60) == 143

    wait_until("nothing is left over", lambda: left_over(tmp_path) == [])
