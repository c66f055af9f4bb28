"""Run them with ``pytest``."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from openai import AsyncOpenAI

from app import MODEL, Chat
from fake_model import FakeModel
from history import History

SAID = f"({MODEL}) You say: <b> "


@contextmanager
def served(app: Any) -> Iterator[httpx2.Client]:
    """Serve an app for real: only so can a client leave in the middle of an answer."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_answers_stream_stop_and_fail(tmp_path: Path) -> None:
    history = History(tmp_path / "chat.sqlite3")
    with served(FakeModel()) as fake:
        model = AsyncOpenAI(api_key="fake", base_url=str(fake.base_url.join("/v1")))
        with served(Chat(model, history)) as client:
            assert client.post("/ask", data={"question": "<b>"}).text == SAID
            assert "You say: &lt;b&gt;" in client.get("/").text
            assert "failed (400)" in client.post("/ask", data={"question": "fail"}).text
            long = {"question": "word " * 500}
            with client.stream("POST", "/ask", data=long) as answer:
                assert next(answer.iter_text()) == f"({MODEL}) "
            sent = {"answering": 1}
            while sent["answering"]:
                time.sleep(0.01)
                sent = fake.get("/").json()
            assert sent["words"] < 400
            client.post("/new")
            assert "You say" not in client.get("/").text


def test_without_a_key(tmp_path: Path) -> None:
    with served(Chat(None, History(tmp_path / "chat.sqlite3"))) as client:
        assert "OPENAI_API_KEY" in client.get("/").text
        assert client.post("/ask", data={"question": "Hi"}).status_code == 503
