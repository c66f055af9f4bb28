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


def test_page_of_another_site_signs_nothing(signed_in):
    foreign = {"origin": "https://evil.example"}
    assert signed_in.post("/sign", data={"text": "x"}, headers=foreign).status_code == 401


@pytest.mark.parametrize("name", ["", "x" * 41])
def test_odd_names_are_refused(client, name):
    assert client.post("/introduce", json={"name": name}).status_code == 422


def test_hundred_entries_are_kept(signed_in):
    for number in range(101):
        signed_in.post("/sign", json={"text": f"number {number}."})
    page = signed_in.get("/").text
    assert "number 1." in page
    assert "number 0." not in page


def test_websocket_shouts(server):
    with connect(f"{server.ws_url}/shout") as socket:
        socket.send("hello")
        assert socket.recv() == "HELLO"


def test_numbers_go_on(server):
    with httpx.stream("GET", f"{server.url}/numbers?pause=0.01", timeout=60) as response:
        assert next(response.iter_lines()) == "id: 0"
