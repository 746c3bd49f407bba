"""The examples as their readers start them: nine services, a gateway and a ledger."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp.dev.choose import ChosenBroker
from tests.examples.programs import (
    EXAMPLES,
    Programs,
    free_port,
    http,
    listens,
    wait_until,
)

LETTERS = "abcdefghi"
SERVICE_LINES = 40


class Shop(Programs):
    """The ten example programs and a ledger, running."""

    def __init__(self, folder: Path, url: str) -> None:
        self.port = free_port()
        super().__init__(
            folder,
            RESONATE_AMQP_URL=url,
            RESONATE_AMQP_LEDGER=f"sqlite:///{folder / 'ledger.db'}",
            PORT=str(self.port),
        )

    def run(self) -> None:
        # The services come first: they must do without a ledger until there is one.
        for letter in LETTERS:
            self.example(f"service_{letter}")
        self.start("ledger", sys.executable, "-m", "resonate_amqp", "ledger", "serve")
        self.example("gateway")
        wait_until("the gateway listens", lambda: listens(self.port))

    def example(self, name: str) -> None:
        self.start(name, sys.executable, str(EXAMPLES / f"{name}.py"))

    def post(self, path: str, **headers: str) -> tuple[int, dict[str, object]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http("POST", f"http://127.0.0.1:{self.port}{path}", named)

    def get(self, path: str) -> tuple[int, dict[str, object]]:
        return http("GET", f"http://127.0.0.1:{self.port}{path}")


@pytest.fixture(scope="module")
def shop(broker: ChosenBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    url = broker.new_vhost()
    made = Shop(tmp_path_factory.mktemp("shop"), url)
    made.run()
    yield made
    codes = made.stop()
    broker.discard_vhost(url)
    assert {name: code for name, code in codes.items() if name.startswith("service")} == {
        f"service_{letter}": 0 for letter in LETTERS
    }
    assert codes["ledger"] == 0


@pytest.mark.processes
def test_the_await_chain_answers_three_and_logs_each_hop(shop: Shop) -> None:
    assert shop.post("/await-chain") == (200, {"message": 3})

    for service, hop in (
        ("service_a", "await-chain calls bar as await-chain:1"),
        ("service_b", "await-chain:1 calls baz as await-chain:1.1"),
        ("service_c", "await-chain:1.1 baz resolved"),
    ):
        assert hop in shop.log(service)


@pytest.mark.processes
def test_a_second_post_with_the_same_id_is_answered_from_the_record(shop: Shop) -> None:
    first = shop.post("/await-chain")

    assert shop.post("/await-chain") == first
    assert shop.log("service_a").count("await-chain started foo") == 1
    assert shop.log("service_c").count("await-chain:1.1 started baz") == 1


@pytest.mark.processes
def test_a_gateway_that_was_killed_and_started_again_gets_the_recorded_result(shop: Shop) -> None:
    before = shop.post("/await-chain")

    shop.kill("gateway")
    shop.example("gateway")
    wait_until("the gateway listens", lambda: listens(shop.port))

    assert shop.post("/await-chain") == before
    assert shop.log("service_a").count("await-chain started foo") == 1


@pytest.mark.processes
def test_the_detached_chain_answers_at_once_and_cog_prints_three(shop: Shop) -> None:
    assert shop.post("/detached-chain") == (200, {"message": "started"})

    wait_until("cog printed", lambda: shop.out("service_f"))
    assert shop.out("service_f") == "3\n"


@pytest.mark.processes
def test_the_fan_out_answers_three(shop: Shop) -> None:
    assert shop.post("/fan-out-workflow") == (200, {"message": 3})

    assert "fan-out-workflow:1 rax resolved" in shop.log("service_h")
    assert "fan-out-workflow:2 dop resolved" in shop.log("service_i")


@pytest.mark.processes
def test_a_job_is_started_now_and_asked_for_later(shop: Shop) -> None:
    status, started = shop.post("/jobs")
    assert status == 202

    def finished() -> dict[str, object] | None:
        status, job = shop.get(f"/jobs/{started['id']}")
        assert status == 200
        return job if job["state"] != "pending" else None

    assert wait_until("the job is done", finished) == {
        "id": started["id"],
        "state": "done",
        "result": 3,
    }


@pytest.mark.processes
def test_a_job_with_an_idempotency_key_is_one_job_however_often_it_is_posted(shop: Shop) -> None:
    for _ in range(2):
        assert shop.post("/jobs", Idempotency_Key="order-7") == (202, {"id": "order-7"})

    wait_until("the job is done", lambda: shop.get("/jobs/order-7")[1]["state"] == "done")
    assert shop.log("service_a").count("order-7 started foo") == 1


@pytest.mark.processes
def test_an_unknown_job_is_not_found_and_an_impossible_key_is_refused(shop: Shop) -> None:
    status, answer = shop.get("/jobs/none-such")
    assert (status, answer) == (404, {"error": "promise 'none-such' does not exist"})

    status, answer = shop.post("/jobs", Idempotency_Key="a:b")
    assert status == 400
    assert "holds a colon" in str(answer["error"])


@pytest.mark.processes
def test_recovery_shows_that_c_ran_once_although_b_was_killed(
    vhost_url: str, tmp_path: Path
) -> None:
    programs = Programs(tmp_path, RESONATE_AMQP_URL=vhost_url)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "recovery.py")],
        env=programs.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9 of service-b" in done.stdout
    assert done.stdout.count("started baz") == 1
    assert done.stdout.endswith("bodies started: foo 1, bar 2, baz 1\n")
    assert "gateway    got 3\n" in done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_opens_by_saying_what_it_shows_and_how_to_start_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    opening = ast.get_docstring(ast.parse(text)) or ""

    assert opening.splitlines()[0].endswith((".", ":"))
    assert f"python examples/{path.name}" in opening
    if path.stem.startswith("service_"):
        assert len(text.splitlines()) <= SERVICE_LINES


def test_a_service_without_a_url_says_which_variable_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "service_a.py")],
        env=Programs(tmp_path).environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert "env:RESONATE_AMQP_URL: the environment variable is not set" in done.stderr
