"""The checking client of `tests.asgi` catches every violation, and lets good apps pass."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.asgi import (
    REMOVED,
    Browser,
    ProtocolError,
    Response,
    assert_logged_500,
    exchange,
    get,
    lifespan,
    logged,
    post,
    request,
    run,
    websocket,
)
from tests.clock import elapse

App = Callable[[Any, Any, Any], Awaitable[None]]


def start(status: Any = 200, headers: Any = ()) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [*headers] if headers != 0 else headers,
    }


def body(content: Any = b"", more: Any = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def sends(*messages: dict[str, Any], then: Callable[[], Any] | None = None) -> App:
    """An application that sends `messages`, whatever it is asked."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(dict(message))
        if then is not None:
            await then()

    return app


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the headers it was sent."""
    await send(start())
    await send(
        body(
            json.dumps({name.decode(): value.decode() for name, value in scope["headers"]}).encode()
        )
    )


# --- Violations of an HTTP response ---------------------------------------------------------------

BAD_RESPONSES = {
    "two starts": [start(), start(), body()],
    "body before start": [body()],
    "body after the last": [start(), body(b"a"), body(b"b")],
    "empty body after the last": [start(), body(b"a"), body()],
    "start after the last body": [start(), body(), start()],
    "unknown message": [start(), {"type": "http.response.pathsend", "path": "/etc/passwd"}],
    "websocket message": [{"type": "websocket.accept"}],
    "status text": [start("200"), body()],
    "status bool": [start(True), body()],
    "status None": [start(None), body()],
    "status out of range": [start(42), body()],
    "two content types": [
        start(200, [(b"content-type", b"a/b"), (b"content-type", b"c/d")]),
        body(),
    ],
    "two content lengths": [
        start(200, [(b"content-length", b"1"), (b"content-length", b"1")]),
        body(b"x"),
    ],
    "content length no number": [start(200, [(b"content-length", b"-1")]), body()],
    "content length too long": [start(200, [(b"content-length", b"2")]), body(b"x")],
    "content length too short": [start(200, [(b"content-length", b"2")]), body(b"xyz")],
    "content length passed by a chunk": [
        start(200, [(b"content-length", b"2")]),
        body(b"xyz", True),
    ],
    "body of str": [start(), body("x")],
    "body of bytearray": [start(), body(bytearray(b"x"))],
    "body of memoryview": [start(), body(memoryview(b"x"))],
    "body None": [start(), body(None)],
    "more_body no bool": [start(), body(b"x", 0)],
    "body on 204": [start(204), body(b"x")],
    "body on 304": [start(304), body(b"x")],
    "body on 103": [start(103), body(b"x")],
    "content length on 204": [start(204, [(b"content-length", b"0")]), body()],
    "content length on 304": [start(304, [(b"content-length", b"5")]), body()],
    "nothing at all": [],
}

BAD_HEADERS = [
    *[("a", "b"), (b"a", "b"), (b"a", b"b", b"c")],
    *[(name, b"b") for name in (b"Content-Type", b"a b", b"", b"a\n")],
    *[(b"a", value) for value in (b"b\r\nset-cookie: c=d", b"b\n", b"b\0", b"b\x7f", b" b")],
]
BAD_COOKIES = [
    b"a",
    b"=b",
    b"a b=c",
    b"a=b c",
    b'a="b',
    b"a=b,c",
    b"a=b;Path=/",
    b"a=b; Path=x",
    b"a=b; Max-Age=soon",
    b"a=b; SameSite=Perhaps",
    b"a=b; SameSite=None",
    b"a=b; Secure; Secure",
    b"a=b; Secure=1",
    b"a=b; Domain=",
    b"a=b; Colour=red",
    b"a=b; ",
    "a=é".encode("latin-1"),
]


@pytest.mark.parametrize("messages", BAD_RESPONSES.values(), ids=list(BAD_RESPONSES))
async def test_bad_responses_are_caught(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(ProtocolError):
        await get(sends(*messages))


@pytest.mark.parametrize("header", BAD_HEADERS)
async def test_bad_headers_are_caught(header: Any) -> None:
    with pytest.raises(ProtocolError, match="a header"):
        await get(sends(start(200, [header]), body()))


@pytest.mark.parametrize("cookie", BAD_COOKIES)
async def test_malformed_cookies_are_caught(cookie: bytes) -> None:
    with pytest.raises(ProtocolError, match="cookie|SameSite"):
        await get(sends(start(200, [(b"set-cookie", cookie)]), body()))


@pytest.mark.parametrize("headers", [0, None, ((b"a", b"b"),), {b"a": b"b"}, iter([(b"a", b"b")])])
async def test_headers_must_be_a_list(headers: Any) -> None:
    with pytest.raises(ProtocolError, match="no list"):
        await get(sends({"type": "http.response.start", "status": 200, "headers": headers}, body()))


async def test_a_header_list_must_be_fresh_each_time() -> None:
    kept = [(b"content-type", b"text/plain")]
    app = sends({"type": "http.response.start", "status": 200, "headers": kept}, body())
    assert (await get(app)).header("content-type") == "text/plain"
    with pytest.raises(ProtocolError, match="sent twice"):
        await get(app)


async def test_a_body_on_head_is_caught_and_its_content_length_is_not() -> None:
    headers = [(b"content-length", b"5")]
    assert (await request(sends(start(200, headers), body()), "HEAD")).header(
        "content-length"
    ) == "5"
    with pytest.raises(ProtocolError, match="a body on HEAD"):
        await request(sends(start(200, headers), body(b"hello")), "HEAD")


async def test_a_response_without_an_end_passes_and_is_not_complete() -> None:
    response = await get(sends(start(200, [(b"content-length", b"5")]), body(b"he", True)))
    assert (response.status, response.body, response.complete) == (200, b"he", False)
    assert (await get(sends(start(), body(b"he", True), body(b"llo")))).complete


# --- Violations of any connection -----------------------------------------------------------------


async def test_an_escaping_exception_is_caught() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        raise KeyError("secret")

    with pytest.raises(ProtocolError, match="an exception left the callable: KeyError"):
        await get(app)
    response = await request(app, expect_exception=KeyError)
    assert isinstance(response.exception, KeyError)
    with pytest.raises(ProtocolError, match="ValueError was to leave"):
        await request(app, expect_exception=ValueError)
    with pytest.raises(ProtocolError, match="was to leave"):
        await request(echo, expect_exception=ValueError)


async def test_a_stray_cancellation_is_caught() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(ProtocolError, match="CancelledError left"):
        await get(app)


async def test_an_app_that_hangs_is_caught() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ProtocolError, match="did not return within"):
        await request(app, timeout=5)


async def test_two_receives_at_once_are_caught() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        second = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        third = asyncio.ensure_future(receive())
        await send(start())
        await send(body())
        second.cancel()
        third.cancel()
        await asyncio.wait([second, third])

    with pytest.raises(ProtocolError, match=r"receive\(\) is called while another"):
        await get(app)


async def test_two_sends_at_once_are_caught() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await asyncio.gather(send(body(b"a", True)), send(body(b"b", True)))
        await send(body())

    with pytest.raises(ProtocolError, match=r"send\(\) is called while another"):
        await get(app)


async def test_a_send_after_a_disconnect_is_caught() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send(start())
        await send(body())

    with pytest.raises(ProtocolError, match="sent after a disconnect"):
        await request(app, body=[b"a", b"b"], disconnect_after=1)


async def test_a_task_that_is_left_over_is_caught_and_told_apart_from_other_requests() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def leaves_one() -> None:
        tasks.append(asyncio.create_task(elapse(30)))

    async def nested() -> None:
        await asyncio.create_task(leaves_one())

    async def slow() -> None:
        await elapse(1)

    for leaves in (leaves_one, nested):
        with pytest.raises(ProtocolError, match="tasks are left over"):
            await get(sends(start(), body(), then=leaves))

    async def side_by_side() -> list[Any]:
        many = [get(sends(start(), body(), then=slow)) for _ in range(3)]
        return await asyncio.gather(*many, get(sends(start(), body())))

    assert [response.status for response in await side_by_side()] == [200] * 4


async def test_a_cancelled_helper_that_was_not_awaited_is_caught() -> None:
    async def cancels() -> None:
        task = asyncio.create_task(elapse(30))
        await asyncio.sleep(0)
        task.cancel()

    with pytest.raises(ProtocolError, match="tasks are left over"):
        await get(sends(start(), body(), then=cancels))


def test_error_that_the_loop_only_logs_fails_the_run() -> None:
    async def complains() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await elapse(0.01)

    with pytest.raises(ProtocolError, match="the event loop complains"):
        run(complains())


# --- What the application is given ----------------------------------------------------------------


async def test_the_length_of_a_body_is_announced_unless_it_is_chunked() -> None:
    async def announced(**options: Any) -> Any:
        return (await post(echo, "/", **options)).json()

    assert await announced(body=None) == {"host": "testserver"}
    assert await announced(body=b"") == {"host": "testserver", "content-length": "0"}
    assert await announced(body=[b"ab", b"c"]) == {"host": "testserver", "content-length": "3"}
    chunked = {"host": "h", "transfer-encoding": "chunked"}
    assert await announced(body=[b"ab", b"c"], headers=chunked) == chunked


async def test_scope_overrides_and_removals() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        await send(start())
        await send(body())

    await request(app, scope={"root_path": "/app", "raw_path": None, "client": REMOVED})
    assert (seen["root_path"], seen["raw_path"], "client" in seen) == ("/app", None, False)


async def test_the_browser_sends_cookies_of_a_path_and_those_above_it_longest_path_first() -> None:
    browser = Browser(echo)
    browser.jar = {("sid", "/"): "1", ("deep", "/deep"): "2"}
    sent = [(await browser.get(target)).json()["cookie"] for target in ("/", "/deep/er", "/deeper")]
    assert sent == ["sid=1", "deep=2; sid=1", "sid=1"]


# --- Step by step ---------------------------------------------------------------------------------


async def test_an_exchange_is_driven_step_by_step() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        while (message := await receive())["more_body"]:
            await send(body(message["body"].upper(), True))
        await send(body(b"end"))

    async with exchange(app, "POST", headers={"transfer-encoding": "chunked"}) as ex:
        await ex.send_body(b"a")
        assert await ex.next_message() == {
            "type": "http.response.start",
            "status": 200,
            "headers": [],
        }
        assert await ex.next_chunk() == b"A"
        await elapse(1)
        assert ex.receiving and ex.received == 1 and not ex.done
        ex.hold()
        await ex.send_body(b"b")
        await ex.send_body(b"c")
        assert await ex.next_chunk() == b"B"
        await elapse(1)
        assert ex.received == 2
        ex.release()
        assert await ex.next_chunk() == b"C"
        await ex.send_body(b"", more=False)
        assert await ex.next_chunk() == b"end"
        assert await ex.next_chunk() is None
        assert (await ex.wait()).body == b"ABCend"


async def test_an_exchange_checks_like_a_request() -> None:
    with pytest.raises(ProtocolError, match="second http.response.start"):
        async with exchange(sends(start(), start())):
            pass


@pytest.mark.parametrize("waits", [False, True])
async def test_sends_can_be_broken_before_they_begin_or_while_they_wait(waits: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await receive()
        with pytest.raises(OSError, match="connection"):
            await send(body(b"x", True))

    async with exchange(app, "POST") as ex:
        await elapse(1)  # the start is out
        if waits:
            ex.hold()
        else:
            ex.break_sends()
        await ex.send_body(b"go")
        await elapse(1)
        assert ex.done is not waits
        ex.break_sends()
        ex.release()
        await ex.wait()


# --- What the tests share -------------------------------------------------------------------------


def test_logged_are_the_errors_of_micropie_alone(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("other").error("of another library")
    logging.getLogger("micropie").warning("only a warning")
    logging.getLogger("micropie").error("an error")
    assert [entry.getMessage() for entry in logged(caplog)] == ["an error"]
    response = Response([start(500), body(b"500 Internal Server Error")])
    with pytest.raises(AssertionError):
        assert_logged_500(response, caplog)  # there is no traceback
    caplog.clear()
    logging.getLogger("micropie").error("an error", exc_info=ValueError())
    assert_logged_500(response, caplog)
    with pytest.raises(AssertionError):
        assert_logged_500(Response([start(500), body(b"a secret")]), caplog)


# --- WebSocket ------------------------------------------------------------------------------------

ACCEPT = {"type": "websocket.accept"}


def ws_close(code: Any = 1000, reason: Any = "") -> dict[str, Any]:
    return {"type": "websocket.close", "code": code, "reason": reason}


BAD_SOCKETS = {
    "send before accept": [{"type": "websocket.send", "text": "x"}, ws_close()],
    "accept twice": [ACCEPT, ACCEPT, ws_close()],
    "send after close": [ACCEPT, ws_close(), {"type": "websocket.send", "text": "x"}],
    "close twice": [ACCEPT, ws_close(), ws_close()],
    "accept after refusal": [ws_close(1008), ACCEPT],
    "left open": [ACCEPT],
    "no answer": [],
    "no subprotocol of those offered": [{**ACCEPT, "subprotocol": "soap"}, ws_close()],
    "accept headers of str": [{**ACCEPT, "headers": [("a", "b")]}, ws_close()],
    "accept headers of the server": [
        {**ACCEPT, "headers": [(b"sec-websocket-protocol", b"chat")]},
        ws_close(),
    ],
    "text and bytes": [ACCEPT, {"type": "websocket.send", "text": "x", "bytes": b"x"}, ws_close()],
    "neither text nor bytes": [ACCEPT, {"type": "websocket.send", "text": None}, ws_close()],
    "text of bytes": [ACCEPT, {"type": "websocket.send", "text": b"x"}, ws_close()],
    "bytes of bytearray": [
        ACCEPT,
        {"type": "websocket.send", "bytes": bytearray(b"x")},
        ws_close(),
    ],
    "surrogates": [ACCEPT, {"type": "websocket.send", "text": "\ud800"}, ws_close()],
    "reason too long": [ACCEPT, ws_close(1000, "x" * 124)],
    "reason too long in UTF-8": [ACCEPT, ws_close(1000, "é" * 62)],
    "reason of bytes": [ACCEPT, ws_close(1000, b"x")],
    "code text": [ACCEPT, ws_close("1000")],
    "code 1005": [ACCEPT, ws_close(1005)],
    "code 1006": [ACCEPT, ws_close(1006)],
    "code 1015": [ACCEPT, ws_close(1015)],
    "code 999": [ACCEPT, ws_close(999)],
    "code 5000": [ACCEPT, ws_close(5000)],
    "http message": [start(), body()],
}


@pytest.mark.parametrize("messages", BAD_SOCKETS.values(), ids=list(BAD_SOCKETS))
async def test_bad_sockets_are_caught(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(ProtocolError):
        async with websocket(sends(*messages), "/", subprotocols=["chat"]) as ws:
            # The end of the application is awaited, so that no disconnect excuses it.
            assert ws.task is not None
            await asyncio.wait([ws.task])


async def test_a_send_after_the_client_left_is_caught() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.send", "text": "too late"})

    with pytest.raises(ProtocolError, match="sent after a disconnect"):
        async with websocket(app, "/"):
            pass


# --- Lifespan -------------------------------------------------------------------------------------


def lifespan_app(*answers: str) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for answer in answers:
            await receive()
            await send(
                {
                    "type": f"lifespan.{answer}",
                    **({"message": "no disk"} if "failed" in answer else {}),
                }
            )

    return app


@pytest.mark.parametrize(
    "answers",
    [
        (),
        ("startup.complete",),
        ("shutdown.complete",),
        ("startup.complete", "startup.complete"),
        ("x",),
    ],
)
async def test_a_wrong_lifespan_is_caught(answers: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolError):
        async with lifespan(lifespan_app(*answers)):
            pass
