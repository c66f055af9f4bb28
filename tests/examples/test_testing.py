"""examples/testing"""

import httpx
import pytest
from websockets.sync.client import connect

from tests.examples.accounts import introduce


@pytest.fixture
def signed_in(client):
    introduce(client)
    return client


def test_signing_without_a_session_is_401(client):
    assert client.post("/sign?name=Mallory", json={"text": "x"}).status_code == 401


def test_entries_are_escaped(signed_in):
    signed_in.post("/sign", json={"text": "<script>"})

    assert "&lt;script&gt;" in signed_in.get("/").text


def test_forms_of_other_sites_are_refused(signed_in):
    assert signed_in.post("/sign", data={"text": "x"}).status_code == 415


def test_websocket_shouts(server):
    with connect(f"{server.ws_url}/shout") as socket:
        socket.send("hello")
        assert socket.recv() == "HELLO"


def test_numbers_go_on(server):
    with httpx.stream("GET", f"{server.url}/numbers?pause=0.01") as response:
        assert next(response.iter_lines()) == "id: 0"
