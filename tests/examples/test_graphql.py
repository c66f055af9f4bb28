"""examples/graphql"""

import json

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.examples.browsing import fill_in
from tests.examples.harness import PREFIX
from tests.examples.loading import load

DEEP = "{ messages { a { b { c { d { e } } } } } }"
WRITE = "mutation ($text: String!) { write(text: $text) { text } }"


def ask(client, query, **variables):
    answer = client.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    return answer.json()


def error(client, query, **variables):
    return ", ".join(one["message"] for one in ask(client, query, **variables)["errors"])


@pytest.fixture
def ada(client):
    assert client.post("/login", data={"name": "Ada"}).status_code == 303
    return client


def test_resolvers_know_the_user(ada, server):
    assert ask(ada, "{ me }") == {"data": {"me": "Ada"}}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = ada.post("/graphql", json={"query": "{ me }"}, headers=headers)
        assert answer.json() == {"data": {"me": None}}
    with server.client() as stranger:
        assert error(stranger, WRITE, text="Hi") == "Please log in first."


def test_messages_are_written_and_read(ada):
    for text in ("One", " Two "):
        assert ask(ada, WRITE, text=text)["data"]["write"]["text"] == text.strip()
    query = "{ messages(first: 1) { text author } none: messages(first: -5) { text } }"
    newest = [{"text": "Two", "author": "Ada"}]
    assert ask(ada, query)["data"] == {"messages": newest, "none": []}
    for text in (" ", "x" * 501):
        assert error(ada, WRITE, text=text) == "A message has 1 to 500 characters."


def test_requests_that_ask_too_much_are_refused(ada):
    assert "exceeds maximum operation depth" in error(ada, DEEP)
    assert "aliases" in error(ada, "{" + " ".join(f"a{n}: me" for n in range(11)) + "}")
    assert "token" in error(ada, "{" + " me" * 500 + "}")
    assert ada.post("/graphql", json={"query": "x" * 2**16}).status_code == 413
    assert ada.post("/graphql", content=iter([b"{}"])).status_code == 411
    assert ada.post("/login", data={"name": " "}).status_code == 400


@pytest.mark.parametrize("query", ["{me}", 'mutation{write(text:"x"){text}}'])
def test_links_ask_nothing_and_no_page_comes_from_elsewhere(ada, query):
    for accept in ("text/html", "application/json"):
        answer = ada.get("/graphql", params={"query": query}, headers={"accept": accept})
        assert answer.status_code in {400, 404, 405}
        assert "<script" not in answer.text


async def test_bug_is_logged_and_its_text_stays_here(monkeypatch, caplog):
    module = load("graphql", "schema")
    monkeypatch.setattr(module, "book", None)
    result = await module.schema.execute("{ messages { text } }")

    assert [error.message for error in result.errors] == ["Unexpected error."]
    assert "NoneType" in caplog.text


def receive(socket):
    return json.loads(socket.recv(timeout=30))


def test_subscription_goes_on_over_a_websocket(ada, server):
    protocols = [Subprotocol("graphql-transport-ws")]
    own, foreign = Origin(server.url), Origin("https://evil.example")
    with connect(f"{server.ws_url}/graphql", subprotocols=protocols, origin=own) as socket:
        socket.send('{"type": "connection_init"}')
        assert receive(socket)["type"] == "connection_ack"
        payload = {"query": "subscription { written { text author } }"}
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        socket.send('{"type": "ping"}')
        assert receive(socket)["type"] == "pong"
        for text in ("First", "Second"):
            ask(ada, WRITE, text=text)
            written = {"text": text, "author": "Ada"}
            assert receive(socket)["payload"]["data"]["written"] == written
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"{server.ws_url}/graphql", subprotocols=protocols, origin=foreign)


@pytest.mark.parametrize("base", ["", PREFIX])
def test_browser_asks(page, browsing, base):
    page.goto(f"{base}/")
    fill_in(page, {"Your name": "<b>Eve"}, "Log in", "You are <b>Eve.")
    fill_in(page, {}, "Send", '"write"')
    page.get_by_text('"<b>Eve"').wait_for()
    browsing.check_look(f"{base}/", like=page)
    page.get_by_label("Query").fill("{ nothing }")
    fill_in(page, {}, "Send", "Cannot query field")
