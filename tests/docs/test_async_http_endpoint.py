"""The how-to about async web servers: its server runs and answers as the page says."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "async-http-endpoint.md"


def _curl(line: str, port: int) -> str:
    """What the command prints, against the server on that port."""
    words = shlex.split(line)[1:]
    method, data = "GET", ""
    while words[0].startswith("-"):
        option, value = words.pop(0), words.pop(0)
        method, data = (value, data) if option == "-X" else (method, value)
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    ) as connection:
        connection.request(method, "/" + words[0].partition("/")[2], data)
        return connection.getresponse().read().decode()


def test_the_server_answers_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server, commands, expected, elsewhere = blocks(PAGE)
    assert [one.language for one in (server, commands, expected)] == ["python", "sh", "text"]
    names: dict[str, Any] = {"__name__": "web"}
    exec(compile(server.text, PAGE.name, "exec"), names)

    async def ask() -> str:
        serving = await asyncio.start_server(names["serve"], "127.0.0.1", 0)
        port = serving.sockets[0].getsockname()[1]
        async with serving:
            lines = commands.text.splitlines()
            return "".join([await asyncio.to_thread(_curl, line, port) for line in lines])

    try:
        assert asyncio.run(ask()) == expected.text
    finally:
        names["resonate"].stop()
    exec(compile(elsewhere.text, PAGE.name, "exec"), names)
    names["resonate"].stop()


def test_an_order_that_takes_longer_is_told_to_be_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "web"}
    text = blocks(PAGE)[0].text.replace("sleep(0.2)", "sleep(60)").replace("timeout=1", "timeout=0")
    exec(compile(text, PAGE.name, "exec"), names)

    async def ask() -> Any:
        await names["answer"]("PUT", "/orders/9", b'{"item": "a book"}')
        return await names["answer"]("GET", "/orders/9", b"")

    try:
        assert asyncio.run(ask()) == (202, "under way")
    finally:
        names["resonate"].stop()
