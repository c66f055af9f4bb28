"""Run them with ``pytest``: a real MCP client talks to a real server."""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

os.environ["DATABASE"] = f"{tempfile.mkdtemp()}/notes.db"
from app import TOKEN_FILE, app  # noqa: E402


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    thread.join()


async def talk(url: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN_FILE.read_text()}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp/", http_client=http)) as client,
    ):
        added = await client.call_tool("add_note", {"text": "Buy plums"})
        read = await client.read_resource(added.structured_content["result"])
        assert read.contents[0].text == "Buy plums"
        found = await client.call_tool("find_notes", {"words": "PLUM"})
        assert found.structured_content == {"result": ["Buy plums"]}
        assert (await http.get(url)).json()["notes"] == [{"id": 1, "text": "Buy plums"}]


def test_agent_with_the_token_adds_and_finds_a_note(url: str) -> None:
    assert httpx2.post(f"{url}/mcp/", json={}, timeout=60).status_code == 401
    asyncio.run(talk(url))
