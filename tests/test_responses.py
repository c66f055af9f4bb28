"""Responses from a handler's return value: bodies, statuses, headers, redirects, cookies."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import pytest

from micropie import App, HTTPError, delete_cookie, methods, set_cookie
from tests.asgi import Browser, Response, assert_logged_500, get, logged, request, shown

HTML = "text/html; charset=utf-8"
JSON = "application/json"


def answering(answer: Any) -> App:
    """An application whose index returns `answer`, or what it returns if it is a function."""

    class Root(App):
        async def index(self) -> Any:
            return answer() if callable(answer) else answer

    return Root()


async def answered(answer: Any, **options: Any) -> Response:
    return await get(answering(answer), **options)


# --- Bodies and statuses --------------------------------------------------------------------------


class Text(str):
    """As a template engine's markup is."""


class Slotted(str):
    __slots__ = ()


class Blob(bytes):
    pass


class Proxy:
    """Has the class of its value, as the proxies of wrapt and werkzeug do."""

    def __init__(self, value: object) -> None:
        self.value = value

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)

    def __bytes__(self) -> bytes:
        assert isinstance(self.value, bytes)
        return self.value


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ("héllo ☃", "héllo ☃".encode(), HTML),
        ("", b"", HTML),
        ("x" * 5000, b"x" * 5000, HTML),
        (Text("<b>"), b"<b>", HTML),
        (Slotted("<b>"), b"<b>", HTML),
        pytest.param(Proxy("<b>"), b"<b>", HTML, id="proxy"),
        (b"\xff\x00", b"\xff\x00", HTML),
        (b"", b"", HTML),
        (Blob(b"\xfe"), b"\xfe", HTML),
        (bytearray(b"abc"), b"abc", HTML),
        (memoryview(b"abc")[::2], b"ac", HTML),
        ({"a": 1}, b'{"a":1}', JSON),
        ({}, b"{}", JSON),
        ([1, "é"], '[1,"é"]'.encode(), JSON),
        ([], b"[]", JSON),
        (5, b"5", JSON),
        (0, b"0", JSON),
        (1.5, b"1.5", JSON),
        (True, b"true", JSON),
        (False, b"false", JSON),
        (Point(1), b'{"x":1,"y":2}', JSON),
    ],
)
async def test_the_type_of_what_is_returned_decides_the_body(
    value: Any, body: bytes, kind: str
) -> None:
    response = await answered(value)
    assert (response.status, response.body, response.header("content-type")) == (200, body, kind)
    assert response.header("content-length") == str(len(body))
    # The same body in a tuple.
    response = await answered((418, value))
    assert (response.status, response.body, response.header("content-type")) == (418, body, kind)


async def test_a_proxy_of_bytes_in_a_stream_is_sent_as_bytes() -> None:
    async def stream() -> AsyncIterator[Any]:
        yield Proxy(b"hello")

    assert (await answered(stream)).body == b"hello"


async def test_none_is_204_without_a_body() -> None:
    response = await answered(None)
    assert (response.status, response.body, response.headers) == (204, b"", [])


@pytest.mark.parametrize("status", [200, 201, 404, 599, HTTPStatus.CREATED])
async def test_none_in_a_tuple_is_an_empty_body(status: int) -> None:
    response = await answered((status, None))
    assert (response.status, response.body, response.header("content-length")) == (status, b"", "0")


@pytest.mark.parametrize(
    "headers",
    [
        [("x-a", "1"), ("x-b", "2")],
        (["x-a", "1"], ["x-b", "2"]),
        {"x-a": "1", "x-b": "2"},
        [(b"x-a", b"1"), ("x-b", b"2")],
        {b"x-a": "1", "X-B": "2"},
    ],
)
async def test_headers_are_pairs_or_a_dict_of_str_or_bytes(headers: Any) -> None:
    response = await answered((201, "x", headers))
    assert (response.status, response.body) == (201, b"x")
    assert (response.header("x-a"), response.header("x-b")) == ("1", "2")


@pytest.mark.parametrize(
    "malformed",
    [
        (),
        (200,),
        (200, "x", [], "more"),
        ("x", 200),
        ("200", "x"),
        (None, "x"),
        (True, "x"),
        (200.0, "x"),
        (-1, "x"),
        (99, "x"),
        (1000, "x"),
        (10**30, "x"),
        (200, "x", 5),
        (200, "x", "abc"),
        (200, "x", ["abc"]),
        (200, "x", [("a", "b", "c")]),
        (200, "x", [5]),
        (200, "\ud800"),
        "\ud800",
    ],
    ids=shown,
)
async def test_a_malformed_tuple_is_a_logged_500(
    malformed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert_logged_500(await answered(malformed), caplog)


@pytest.mark.parametrize("name", [None, 5, 10**30, ("x",), object()], ids=shown)
async def test_a_header_name_that_is_no_string_is_a_logged_500(
    name: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert_logged_500(await answered((200, "x", [(name, "1")])), caplog)
    assert repr(name) in caplog.text


# --- Nothing is changed in place ------------------------------------------------------------------


async def test_the_value_that_a_handler_returns_is_never_changed() -> None:
    headers, body = [("X-A", " 1 "), ("Content-Length", "7")], {"b": [1]}
    answer = (200, body, headers)

    class Root(App):
        async def index(self) -> Any:
            self.request.session["visitor"] = "one"
            return answer

    app = Root()
    first = await get(app)
    assert first.cookies and first.header("x-a") == "1"
    assert (headers, body) == ([("X-A", " 1 "), ("Content-Length", "7")], {"b": [1]})
    # The list of one answer does not carry one visitor's cookie to the next; the driver edits each
    # list that it got.
    second = await get(app)
    assert len(second.headers_all("set-cookie")) == 1
    assert second.cookies != first.cookies


@pytest.mark.parametrize("answer", ["x", {"a": 1}, None, (200, "x", {"x-a": "1"}), (404, None)])
async def test_the_server_gets_a_fresh_header_list_each_time(answer: Any) -> None:
    app = answering(answer)
    assert (await get(app)).headers == (await get(app)).headers
    assert (await get(app, "/nope")).headers == (await get(app, "/nope")).headers


async def test_a_bytearray_may_be_reused_at_once() -> None:
    buffer = bytearray(b"one")
    response = await answered(buffer)
    buffer[:] = b"two"
    assert response.body == b"one"


# --- Headers --------------------------------------------------------------------------------------


async def test_header_names_go_out_in_lower_case_in_their_order() -> None:
    response = await answered(
        (200, "x", [("X-One", "1"), ("SET-Cookie", "a=1"), ("x-ONE", "2"), (b"Set-Cookie", b"b=2")])
    )
    assert response.headers_all("x-one") == ["1", "2"]
    assert response.headers_all("set-cookie") == ["a=1", "b=2"]
    response = await answered((200, "x", [("aZ09!#$%&'*+-.^_`|~", "1")]))
    assert response.header("az09!#$%&'*+-.^_`|~") == "1", "any character of a token"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("  a b \t", b"a b"),
        (b" \ta ", b"a"),
        ("a\tb", b"a\tb"),
        ("é", b"\xe9"),
        (b"\xff", b"\xff"),
        ("", b""),
        ("  ", b""),
        (5, b"5"),
    ],
)
async def test_header_values_are_stripped_and_latin_1(value: Any, sent: bytes) -> None:
    assert (b"x-a", sent) in (await answered((200, "x", [("x-a", value)]))).headers


BAD_HEADERS = [
    *[
        (name, "1")
        for name in (
            "",
            " ",
            "x y",
            "x:",
            "x\r\nset-cookie",
            "x\n",
            "é",
            "☃",
            "x(",
            "\ud800",
            b"\xe9",
            b"x\0",
        )
    ],
    *[
        ("x", value)
        for value in (
            "a\r\nset-cookie: b=1",
            "a\nb",
            None,
            ["1", "2"],
            {"a": "1"},
            "a\0b",
            "a\x1fb",
            "\x7f",
            "a\x0bb",
            "☃",
            "\ud800",
        )
    ],
    *[("x", value) for value in (b"a\r\nb: c", b"\0", b"a\x7fb")],
]


def assert_header_is_named(bad: Any, text: str) -> None:
    name = bad[0].decode("latin-1") if isinstance(bad[0], bytes) else bad[0]
    assert repr(name) in text


@pytest.mark.parametrize("bad", BAD_HEADERS, ids=shown)
@pytest.mark.parametrize(
    "body", ["x", {"a": 1}, None, lambda: iter("ab")], ids=["text", "json", "none", "stream"]
)
async def test_a_bad_header_is_a_logged_500_that_names_it(
    body: Any, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = body() if callable(body) else body
    response = await answered((201, made, [("x-before", "1"), bad, ("x-after", "2")]))
    assert_logged_500(response, caplog)
    assert {name for name, _ in response.headers} == {b"content-type", b"content-length"}
    assert_header_is_named(bad, caplog.text)


@pytest.mark.parametrize("bad", BAD_HEADERS, ids=shown)
async def test_a_bad_header_of_an_http_error_is_a_logged_500_that_names_it(
    bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = await answered(lambda: fail(HTTPError(404, "no", [("x-before", "1"), bad])))
    assert_logged_500(response, caplog)
    assert {name for name, _ in response.headers} == {b"content-type", b"content-length"}
    assert_header_is_named(bad, caplog.text)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("name", ["content-type", "x"])
async def test_a_bad_header_is_one_on_a_response_without_a_body_too(
    name: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    response = await answered((status, None, {name: "a\r\nb: c"}))
    assert_logged_500(response, caplog)
    assert repr(name) in caplog.text


async def test_a_bad_header_with_debug_is_named_in_the_response() -> None:
    class Root(App):
        async def index(self) -> Any:
            return 200, "x", {"x-a": "a\nb"}

    response = await get(Root(debug=True))
    assert response.status == 500 and "'x-a': 'a\\nb'" in response.text


@pytest.mark.parametrize("name", ["content-type", "Content-Type", b"CONTENT-TYPE"])
@pytest.mark.parametrize("body", ["x", b"x", {"a": 1}, None])
async def test_a_content_type_of_the_handlers_own_is_the_only_one(name: Any, body: Any) -> None:
    response = await answered((200, body, [(name, "text/csv"), ("x-a", "1")]))
    assert (response.headers_all("content-type"), response.header("x-a")) == (["text/csv"], "1")


@pytest.mark.parametrize("body", ["four", b"four", 1234, None])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_content_length_is_the_frameworks_on_what_is_not_streamed(
    body: Any, method: str
) -> None:
    length = "0" if body is None else "4"
    for headers in ([("Content-Length", "999")], [(b"content-length", b"0")], []):
        assert (await answered((200, body, headers), method=method)).headers_all(
            "content-length"
        ) == [length]


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("body", ["x", b"x", {"a": 1}, None])
async def test_204_and_304_have_no_body_and_no_length(status: int, body: Any) -> None:
    response = await answered((status, body, {"content-length": "1", "etag": '"e"'}))
    assert (response.status, response.body, response.complete) == (status, b"", True)
    assert (response.header("content-length"), response.header("etag")) == (None, '"e"')


@pytest.mark.parametrize("status", [100, 101, 103, 199])
@pytest.mark.parametrize("body", ["x", None, iter(["x"])], ids=["text", "none", "stream"])
async def test_a_1xx_status_is_a_logged_500(
    status: int, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends no request (RFC 9110 section 15.2): the client would wait for the next response."""
    assert_logged_500(await answered((status, body)), caplog)
    assert f"from 200 to 599, not {status}" in caplog.text


@pytest.mark.parametrize(
    "answer", ["héllo", b"\xff", {"a": 1}, (404, "no"), None, (304, None), (200, None)]
)
async def test_head_has_the_headers_of_get_and_no_body(answer: Any) -> None:
    expected = await answered(answer)
    response = await answered(answer, method="HEAD")
    assert (response.status, response.headers, response.body) == (
        expected.status,
        expected.headers,
        b"",
    )


# --- HTTPError ------------------------------------------------------------------------------------


def fail(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 503])
async def test_the_body_of_an_http_error_is_the_text_of_its_status(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    response = await answered(lambda: fail(HTTPError(status)))
    assert (response.status, response.text) == (status, f"{status} {HTTPStatus(status).phrase}")
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert not logged(caplog)


@pytest.mark.parametrize(
    ("status", "body", "text"), [(599, None, "599"), (200, "as told", "as told")]
)
async def test_an_http_error_may_have_a_status_without_a_name_or_of_a_success(
    status, body, text, caplog
):
    response = await answered(lambda: fail(HTTPError(status, body)))
    assert (response.status, response.text) == (status, text)
    assert not logged(caplog)


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [("no <b>", b"no <b>", HTML), ({"a": 1}, b'{"a":1}', JSON), (b"", b"", HTML)],
)
@pytest.mark.parametrize("headers", [[("X-A", "1")], {"X-A": "1"}])
async def test_an_http_error_has_a_body_and_headers_as_a_handler_has(
    body: Any, sent: bytes, kind: str, headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = await answered(lambda: fail(HTTPError(409, body, headers)))
    assert (response.status, response.body) == (409, sent)
    assert (response.header("content-type"), response.header("x-a")) == (kind, "1")
    assert headers in ([("X-A", "1")], {"X-A": "1"})
    assert not logged(caplog)


async def test_an_http_error_may_choose_its_content_type_and_have_no_body() -> None:
    response = await answered(
        lambda: fail(
            HTTPError(401, headers={"content-type": "text/x", "www-authenticate": "Basic"})
        )
    )
    assert (response.headers_all("content-type"), response.header("www-authenticate")) == (
        ["text/x"],
        "Basic",
    )
    assert (await answered(lambda: fail(HTTPError(304)))).body == b""


@pytest.mark.parametrize(
    "error",
    [
        HTTPError(99),
        HTTPError(600),
        HTTPError(-1),
        HTTPError(True),
        HTTPError(404.5),  # type: ignore[arg-type]
        HTTPError(100),
        HTTPError(103, headers={"link": "</a.css>"}),
        HTTPError(None),
        HTTPError("404"),  # type: ignore[arg-type]
        HTTPError(404, object()),
        HTTPError(404, "x", 5),  # type: ignore[arg-type]
        HTTPError(404, "\ud800"),
    ],
    ids=shown,
)
async def test_a_malformed_http_error_is_a_logged_500(
    error: HTTPError, caplog: pytest.LogCaptureFixture
) -> None:
    assert_logged_500(await answered(lambda: fail(error)), caplog)
    assert (
        "ValueError" in caplog.text
        or "TypeError" in caplog.text
        or "UnicodeEncodeError" in caplog.text
    )


def test_the_string_of_an_http_error_is_its_body_or_the_text_of_its_status() -> None:
    error = HTTPError(404, headers={"x": "1"})
    assert (error.status, error.body, error.headers, str(error)) == (
        404,
        None,
        {"x": "1"},
        "404 Not Found",
    )
    assert str(HTTPError(404, "gone fishing")) == "gone fishing"


# --- Redirects ------------------------------------------------------------------------------------


async def redirected(location: str, *args: Any, **options: Any) -> Response:
    return await answered(App()._redirect(location, *args, **options))


async def test_a_redirect_is_a_302_without_a_body() -> None:
    response = await redirected("/login")
    assert (response.status, response.header("location"), response.body) == (302, "/login", b"")


@pytest.mark.parametrize(
    "name", ["host", "x-forwarded-host", "x-forwarded-proto", "x-original-url", "forwarded"]
)
async def test_a_host_that_the_client_names_is_in_no_response(name: str) -> None:
    class Root(App):
        async def index(self) -> Any:
            return self._redirect("/login")

        @methods("POST")
        async def change(self) -> None: ...

        async def broken(self) -> None:
            raise ValueError

        async def begin(self) -> str:
            self.request.session["user"] = "ada"
            return "welcome"

    def shown_of(answer: Response) -> str:
        pairs = [pair for pair in answer.headers if pair[0] != b"set-cookie"]
        return repr((answer.status, pairs, answer.body))

    for path in ("/", "/change", "/broken", "/begin", "/nowhere"):
        answer = await get(Root(), path, headers={name: "evil.example"})
        assert "evil" not in repr((answer.headers, answer.body))
        assert shown_of(answer) == shown_of(await get(Root(), path))


@pytest.mark.parametrize(
    "headers", [[set_cookie("a", "1"), ("X-A", "1")], {"set-cookie": "a=1", "X-A": "1"}]
)
async def test_a_redirect_takes_a_status_and_headers(headers: Any) -> None:
    kept = headers.copy()
    response = await redirected("/x", status=303, headers=headers)
    assert (response.status, response.header("location")) == (303, "/x")
    assert (response.cookies, response.header("x-a")) == ({"a": "1"}, "1")
    assert headers == kept
    assert (await redirected("/x", 308)).status == 308


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/é", "/%C3%A9"),
        ("/☃?q=☃#☃", "/%E2%98%83?q=%E2%98%83#%E2%98%83"),
        ("/a b", "/a%20b"),
        ("/x\r\nset-cookie: a=1", "/x%0D%0Aset-cookie:%20a=1"),
        ("/\x00\x7f\t", "/%00%7F%09"),
        ("/a%20b?c=%C3%A9&d=%2F%26", "/a%20b?c=%C3%A9&d=%2F%26"),
        ("/?next=%252F", "/?next=%252F"),
        ("/?a=1&b=2+3;c", "/?a=1&b=2+3;c"),
        (
            "https://u:p@example.com:8443/a/b;c=1,2?x=(y)*'!$~#f",
            "https://u:p@example.com:8443/a/b;c=1,2?x=(y)*'!$~#f",
        ),
        ("http://[::1]:8000/", "http://[::1]:8000/"),
        ("?page=2", "?page=2"),
        ("../up", "../up"),
        ("", ""),
    ],
)
async def test_characters_that_must_not_stand_in_a_location_are_encoded_once(
    location: str, sent: str
) -> None:
    response = await redirected(location)
    assert (response.status, response.headers_all("location")) == (302, [sent])
    assert "set-cookie" not in dict(response.headers)


def test_a_redirect_is_a_response_tuple() -> None:
    """So that a handler can look at it, and a middleware can be given its parts."""
    status, body, headers = App()._redirect("/x", headers=[("a", "b")])
    assert (status, body, dict(headers)) == (302, None, {"location": "/x", "a": "b"})


# --- Cookies --------------------------------------------------------------------------------------


def attributes(pair: tuple[str, str]) -> tuple[str, set[str]]:
    assert pair[0].lower() == "set-cookie"
    first, *rest = pair[1].split("; ")
    assert len(set(rest)) == len(rest)
    return first, set(rest)


DEFAULTS = {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, DEFAULTS),
        ({"max_age": 60}, DEFAULTS | {"Max-Age=60"}),
        ({"max_age": 0}, DEFAULTS | {"Max-Age=0"}),
        ({"path": "/admin"}, DEFAULTS - {"Path=/"} | {"Path=/admin"}),
        ({"domain": "example.com"}, DEFAULTS | {"Domain=example.com"}),
        ({"secure": False}, DEFAULTS - {"Secure"}),
        ({"httponly": False}, DEFAULTS - {"HttpOnly"}),
        ({"samesite": "Strict"}, DEFAULTS - {"SameSite=Lax"} | {"SameSite=Strict"}),
        ({"samesite": "none"}, DEFAULTS - {"SameSite=Lax"} | {"SameSite=None"}),
    ],
)
def test_set_cookie_returns_a_header_pair(options: dict[str, Any], expected: set[str]) -> None:
    assert attributes(set_cookie("a", "1", **options)) == ("a=1", expected)


@pytest.mark.parametrize(
    "options", [{}, {"path": "/x", "domain": "example.com", "secure": False, "samesite": "Strict"}]
)
def test_delete_cookie_expires_what_set_cookie_set(options: dict[str, Any]) -> None:
    kept = attributes(set_cookie("a", "", **options))[1]
    first, rest = attributes(delete_cookie("a", **options))
    assert first == "a=" and kept < rest
    assert "Max-Age=0" in rest


@pytest.mark.parametrize("value", ["", "abc", "a=b", "!#$%&'()*+-./:<>?@[]^_`{|}~", '"quoted"'])
async def test_a_cookie_comes_back_as_it_was_set_until_it_is_deleted(value: str) -> None:
    class Root(App):
        async def set(self) -> Any:
            return 200, "", [set_cookie("a", value), set_cookie("b", "2")]

        async def get(self) -> Any:
            return self.request.cookies

        async def delete(self) -> Any:
            return 200, "", [delete_cookie("a")]

    browser = Browser(Root())
    await browser.get("/set")
    before = (await browser.get("/get")).json()
    await browser.get("/delete")
    assert [before, (await browser.get("/get")).json()] in (
        [{"a": seen, "b": "2"}, {"b": "2"}] for seen in (value, value.strip('"'))
    )


@pytest.mark.parametrize("make", [set_cookie, lambda name, value: delete_cookie(name)])
@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a=b", "a;b", "a,b", "é", "a\r\nb", "a\0", "☃", "\ud800", '"a"', "(a)"]
)
def test_an_invalid_cookie_name_raises(make: Callable[..., Any], name: str) -> None:
    with pytest.raises(ValueError):
        make(name, "1")


BAD_VALUES = ["a;b", "a b", " ", "a,b", 'a"b', '"', 'a"', "a\\b", "é", "☃", "a\r\nb: x=1", "a\n"]
BAD_OPTIONS: list[dict[str, Any]] = [
    *[{"value": value} for value in (*BAD_VALUES, "\0", "\x7f", "\t")],
    *[{"path": path} for path in ("/; Domain=evil", "/\r\nx", "/é")],
    *[{"domain": domain} for domain in ("a;b", "a\nb", "ü.example")],
    *[{"samesite": samesite} for samesite in ("Sometimes", "Lax; Domain=evil")],
    {"samesite": "None", "secure": False},
    {"max_age": "1; Domain=evil"},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=shown)
def test_an_invalid_value_or_attribute_of_a_cookie_raises(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        set_cookie("a", **{"value": "1", **options})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("__Secure-a", {"secure": False}),
        ("__Host-a", {"secure": False}),
        ("__Host-a", {"path": "/x"}),
        ("__Host-a", {"domain": "example.com"}),
    ],
)
def test_a_cookie_that_browsers_drop_without_a_word_raises(
    name: str, options: dict[str, Any]
) -> None:
    assert set_cookie(name, "1")
    with pytest.raises(ValueError):
        set_cookie(name, "1", **options)


def test_a_cookie_without_optional_attributes_is_a_bare_pair() -> None:
    assert set_cookie("a", "1", path=None, secure=False, httponly=False, samesite=None)[1] == "a=1"


@pytest.mark.parametrize(("name", "value"), [("a", 5), ("a", None), (5, "x"), (b"a", "x")])
def test_a_cookie_name_or_value_that_is_no_string_raises(name: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        set_cookie(name, value)


# --- For people who extend the App ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "body", "kind"),
    [
        ((503, "closed", [("Retry-After", "5")]), 503, b"closed", HTML),
        ((200, {"a": 1}, {"retry-after": "5"}), 200, b'{"a":1}', JSON),
        ((200, iter([b"a", "b"]), [("retry-after", "5")]), 200, b"ab", HTML),
        ((404, "no"), 404, b"no", HTML),
    ],
)
async def test_send_response_writes_what_a_handler_could_return(
    arguments: Any, status: int, body: bytes, kind: str
) -> None:
    class Closed(App):
        async def _asgi_app_http(self, scope: Any, receive: Any, send: Any) -> None:
            await self._send_response(send, *arguments)

    response = await request(Closed())
    assert (response.status, response.body, response.header("content-type")) == (status, body, kind)
    assert response.header("retry-after") == ("5" if len(arguments) == 3 else None)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_the_framing_is_left_to_the_server(is_stream: bool) -> None:
    """A proxy may hand on all headers that it got; two kinds of framing would be ambiguous."""

    class Root(App):
        async def index(self) -> Any:
            body = iter(["abc"]) if is_stream else "abc"
            return 200, body, {"Transfer-Encoding": "chunked", "x-a": "1"}

    response = await get(Root())
    assert (response.text, response.header("x-a")) == ("abc", "1")
    assert response.header("transfer-encoding") is None
