"""The Redis server and the Node.js of the tests: there, empty, and gone with their owner."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import redis as client

from tests.redis_server import PrivateRedis

CONNECT = """
const amqp = require("amqplib");
amqp.connect(process.argv[1]).then((connection) => connection.close());
"""


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_finds_an_empty_redis(redis_url: str, time: int) -> None:
    with client.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
        connection.set("time", time)


def test_a_stopped_redis_takes_no_connection(redis: PrivateRedis, tmp_path: Path) -> None:
    made = PrivateRedis(redis.program, tmp_path)
    made.stop()
    with (
        client.Redis.from_url(made.url, retry=None) as connection,
        pytest.raises(client.ConnectionError),
    ):
        connection.ping()


def test_a_program_of_nodejs_connects_by_amqplib(
    nodejs: str, amqplib: Path, vhost_url: str
) -> None:
    done = subprocess.run(
        [nodejs, "-e", CONNECT, vhost_url],
        env=os.environ | {"NODE_PATH": str(amqplib)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
