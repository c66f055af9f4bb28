"""examples/mcp_server"""

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.examples.copied import check_kept_secret, check_lifespan
from tests.examples.harness import PREFIX
from tests.examples.loading import load, run


def token_of(server):
    path = server.folder / "data" / "token"
    assert path.stat().st_mode & 0o077 == 0
    return path.read_text()


async def talk(url, token, text):
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        [add, find] = (await client.list_tools()).tools
        assert (add.name, find.name) == ("add_note", "find_notes")
        assert add.input_schema["properties"]["text"]["maxLength"] == 1000
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "notes://{note_id}"

        uri = (await client.call_tool("add_note", {"text": text})).structured_content["result"]
        read = await client.read_resource(uri)
        assert [content.model_dump()["text"] for content in read.contents] == [text]
        found = await client.call_tool("find_notes", {"words": text.upper()})
        assert found.structured_content["result"] == [text]
        for wrong in ("", "x" * 1001):
            assert (await client.call_tool("add_note", {"text": wrong})).is_error
        with pytest.raises(MCPError, match="There is no note 999"):
            await client.read_resource("notes://999")


@pytest.mark.parametrize("path", ["/mcp/", "/mcp", f"{PREFIX}/mcp/"])
def test_agent_works_with_notes(server, client, path):
    text = f"By {path} <b>"
    run(talk(server.url + path, token_of(server), text))
    assert client.get("/").json()["notes"][0]["text"] == text


@pytest.mark.usefixtures("measured")
def test_token_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE", str(tmp_path / "data" / "notes.db"))
    check_kept_secret(load("mcp_server").kept_secret, tmp_path)


def test_no_entry_without_the_token(server):
    token = token_of(server)
    for value in (None, "", token, f"Basic {token}", f"Bearer {token}x", f"Bearer {token[:-1]}"):
        headers = {} if value is None else {"authorization": value}
        for path in ("/mcp", "/mcp/", "/mcp/x", f"{PREFIX}/mcp/"):
            response = httpx.post(server.url + path, json={}, headers=headers, timeout=60)
            assert (response.status_code, response.text) == (401, "")
            assert response.headers["www-authenticate"] == "Bearer"
    with pytest.raises(InvalidStatus), connect(f"{server.ws_url}/mcp/"):
        pass


async def test_lifespan_of_any_app(measured):
    await check_lifespan(load("mcp_server", "lifespan"))
