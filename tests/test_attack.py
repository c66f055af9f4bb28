"""Faults that an attack on the second edition found; each stands for its kind."""

from __future__ import annotations

import asyncio
import enum
import types
import typing
from typing import Any

import pytest

import micropie
from micropie import App, HttpMiddleware, Request, UploadedFile, WebSocket
from tests.asgi import assert_logged_500, call, encode_multipart, exchange, get, post, scripted
from tests.clock import elapse

HTTP = {"type": "http", "method": "GET", "path": "/m/x", "headers": []}
CUT = [
    {"type": "http.request", "body": one, "more_body": one != b"c"} for one in (b"a", b"b", b"c")
]


# --- Mounted apps ---------------------------------------------------------------------------------


class Asks(HttpMiddleware):
    """Looks at the request in the parent before the hand-over."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def before_request(self, request: Request) -> None:
        if self.kind == "is_disconnected":
            await request.is_disconnected()
        elif self.kind == "half":
            async for _ in request.stream():
                break


async def ignore(message: Any) -> None:
    """Send nothing."""


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body or b"empty"})


async def test_mounted_app_gets_the_body_after_a_look_at_the_client() -> None:
    app = App()
    app.middlewares.append(Asks("is_disconnected"))
    app.mounts["/m"] = read_all
    assert (await get(app, "/m/x")).text == "empty"
    assert (await post(app, "/m/x", body=[b"a", b"b"])).text == "ab"


async def test_mounted_app_never_gets_the_rest_of_a_body_for_the_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    app.middlewares.append(Asks("half"))
    app.mounts["/m"] = read_all
    assert_logged_500(await post(app, "/m/x", body=[b"a", b"b"]), caplog)


@pytest.mark.parametrize("error", [FileNotFoundError, TimeoutError, ConnectionResetError])
async def test_exception_of_a_mounted_app_reaches_the_server(error: type[OSError]) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise error

    app = App()
    app.mounts["/m"] = fails
    with pytest.raises(error):
        await app({**HTTP}, scripted(), ignore)


# --- Streams and WebSockets -----------------------------------------------------------------------


async def test_stream_whose_own_task_reads_the_body_ends_when_the_client_leaves_in_it() -> None:
    class Root(App):
        async def index(self) -> Any:
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            body = self.request.stream()

            async def read() -> None:
                async for chunk in body:
                    queue.put_nowait(chunk)

            async def echo() -> Any:
                task = asyncio.create_task(read())
                try:
                    while True:
                        yield await queue.get()
                finally:
                    await asyncio.wait([task])
                    task.exception()

            return echo()

    async with exchange(Root(), "POST", headers={"transfer-encoding": "chunked"}) as ex:
        await ex.send_body(b"abc")
        while await ex.next_chunk() != b"abc":
            pass
        await ex.disconnect()
        await elapse(1)
        assert ex.task.done()


async def serve(app: App, *messages: dict[str, Any]) -> asyncio.Queue[dict[str, Any]]:
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for message in ({"type": "websocket.connect"}, *messages):
        queue.put_nowait(message)

    async def send(message: Any) -> None:
        pass

    await app({"type": "websocket", "path": "/x", "headers": []}, queue.get, send)
    return queue


async def test_handler_goes_on_after_close_though_a_reader_is_cancelled() -> None:
    ends: list[str] = []

    class Root(App):
        async def ws_x(self, socket: WebSocket) -> None:
            await socket.accept()
            reader = asyncio.create_task(socket.receive_text())
            await elapse(0.1)
            await socket.close()
            reader.cancel()
            await elapse(15)
            ends.append("finished")

    await serve(Root())
    assert ends == ["finished"]


async def test_reader_that_outlives_the_watch_does_not_spin() -> None:
    class Root(App):
        async def ws_x(self, socket: WebSocket) -> None:
            await socket.accept()

            async def late() -> None:
                await elapse(5.6)
                await socket.receive_text()

            self.late = asyncio.create_task(late())
            await elapse(6)

    app = Root()
    queue = await serve(app)
    queue.put_nowait({"type": "websocket.disconnect", "code": 1000})
    with pytest.raises(micropie.ConnectionClosed):
        await app.late


# --- Binding and forms ----------------------------------------------------------------------------


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


async def test_flag_takes_its_members_and_keeps_no_number_of_a_client() -> None:
    class Root(App):
        async def index(self, rights: Rights) -> str:
            return str(int(rights))

    app = Root()
    assert [(await get(app, f"/?rights={n}")).status for n in (1, 3, 8, 1 << 40)] == [
        200,
        200,
        400,
        400,
    ]
    for number in range(5, 50):
        await get(app, f"/?rights={number << 40}")
    assert len(Rights._value2member_map_) <= 4


async def test_recursive_alias_leaves_the_value_alone_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alias: Any = types.SimpleNamespace()  # as `type Json = int | list[Json]` of Python 3.12
    alias.__value__ = int | types.GenericAlias(list, alias)

    class Root(App):
        async def index(self, x: Any) -> str:
            return str(x)

    Root.index.__annotations__["x"] = alias
    assert [(await get(Root(), "/?x=1")).text for _ in range(2)] == ["['1']"] * 2
    assert len(caplog.records) == 1


Marked = typing.Annotated[UploadedFile, "picture"]


async def test_list_of_annotated_files_takes_files() -> None:
    class Root(App):
        async def index(self, files: list[Marked]) -> Any:
            return [file.filename for file in files]

    parts = [("files", "a.txt", None, b"1"), ("files", "b.txt", None, b"2")]
    assert (await post(Root(), multipart=parts)).json() == ["a.txt", "b.txt"]


async def test_form_with_a_preamble_is_the_same_however_it_is_cut() -> None:
    class Root(App):
        async def index(self) -> Any:
            return sorted(self.request.body_params)

    form = encode_multipart([("a", "1"), ("c", "2")], "cut")
    content_type = "multipart/form-data; boundary=cut"
    for before in (b"\r\n", b"preamble\r\n"):
        body = before + form
        answers = set()
        for cut in range(1, len(body)):
            pieces = [body[:cut], body[cut:]]
            headers = {"content-type": content_type}
            response = await post(Root(), body=pieces, headers=headers)
            answers.add((response.status, response.text))
        assert len(answers) == 1, (before, answers)


async def test_body_that_a_look_found_empty_can_still_be_read_in_a_stream() -> None:
    class Root(App):
        async def index(self) -> Any:
            assert not await self.request.is_disconnected()

            async def stream() -> Any:
                yield b"first "
                yield await self.request.body() or b"empty"

            return stream()

    sent = await call(Root(), method="POST", http_version="2")
    assert [message["body"] for message in sent[1:]] == [b"", b"first ", b"empty", b""]
