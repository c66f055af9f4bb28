"""Both sides of the page "Moving to MicroPie" give the same answers to the same requests."""

import asyncio
import importlib
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import connect

from docs._ext.blocks import blocks
from tests.processes import ROOT, free_port, serving

PAGE = ROOT / "docs" / "howto" / "moving.md"
ON_THE_PAGE = ["flask", "cherrypy", "bottle", "microdot", "micropie"]
# The last two have their own pages. The robot newcomer tries Django's, which is not installed here.
FRAMEWORKS = [*ON_THE_PAGE, "fastapi", "starlette"]
ASYNC = {"microdot", "micropie", "fastapi", "starlette"}
NO_SESSIONS = {"bottle", "microdot"}  # of their own, without another package


@pytest.fixture(params=FRAMEWORKS)
def framework(request) -> str:
    return request.param


@pytest.fixture
def app(framework):
    if framework != "micropie":
        pytest.importorskip(framework)
    return importlib.import_module(f"tests.docs.moving.{framework}_app").app


@pytest.fixture
def ask(app, framework):
    """Send requests one after the other, with the cookies of those before."""
    transport = httpx.ASGITransport(app) if framework in ASYNC else None
    cookies = httpx.Cookies()

    def send(method: str, path: str, **options) -> httpx.Response:
        if transport is None:
            wsgi = httpx.WSGITransport(app=app)
            with httpx.Client(
                transport=wsgi, base_url="http://localhost", cookies=cookies
            ) as client:
                answer = client.request(method, path, **options)
        else:
            answer = asyncio.run(send_async(method, path, **options))
        cookies.update(answer.cookies)
        return answer

    async def send_async(method: str, path: str, **options) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", cookies=cookies
        ) as client:
            return await client.request(method, path, **options)

    return send


def test_path_and_query_become_arguments_and_a_hook_adds_a_header(ask):
    answer = ask("GET", "/hello/Ada")
    assert (answer.text, answer.headers["x-served-by"]) == ("Hello, Ada!", "the bakery")
    assert ask("GET", "/hello/Ada?times=2").text == "Hello, Ada! Hello, Ada!"
    assert ask("GET", "/hello/Ada?times=1000000").text.count("Ada") == 10


def test_markup_from_a_visitor_is_escaped_or_plain_text(ask):
    answer = ask("GET", "/hello/%3Cb%3E")
    media_type = answer.headers["content-type"].partition(";")[0]

    assert (media_type, answer.text) in [
        ("text/html", "Hello, &lt;b&gt;!"),
        ("text/plain", "Hello, <b>!"),
    ]


def test_form_fields_become_json_and_get_is_refused(ask):
    assert ask("POST", "/order", data={"pie": "apple", "count": "2"}).json() == {
        "pie": "apple",
        "count": 2,
    }
    assert ask("POST", "/order", data={"pie": "<b>"}).json() == {"pie": "<b>", "count": 1}
    assert (
        ask("POST", "/order", data={"pie": "<b>"})
        .headers["content-type"]
        .startswith("application/json")
    )
    assert ask("GET", "/order").status_code == 405


def test_posted_json_makes_a_pie_with_201_and_its_location(ask):
    answer = ask("POST", "/pies", json={"name": "cherry"})

    assert (answer.status_code, answer.json()) == (201, {"name": "cherry", "id": 2})
    assert answer.headers["location"] == "/pie/2"


def test_missing_pie_is_404(ask):
    assert ask("GET", "/pie/1").json() == {"name": "apple"}
    assert ask("GET", "/pie/7").status_code == 404


def test_old_address_redirects_with_303(ask):
    answer = ask("GET", "/old")

    assert (answer.status_code, urlsplit(answer.headers["location"]).path) == (303, "/hello/Ada")


def test_cookie_is_set_for_a_day(ask):
    answer = ask("GET", "/theme")

    assert answer.text == "Dark it is."
    [cookie] = [
        one for one in answer.headers.get_list("set-cookie") if one.startswith("theme=dark; ")
    ]
    assert "max-age=86400" in cookie.lower()


def test_session_counts_visits_if_the_framework_has_sessions(ask, framework):
    if framework in NO_SESSIONS:
        assert ask("GET", "/visits").status_code == 404
    else:
        assert [ask("GET", "/visits").text for _ in range(2)] == ["Visit 1", "Visit 2"]


def test_template_escapes_markup(ask):
    answer = ask("GET", "/page/%3Cb%3E")

    assert answer.text.strip() == "<p>Hello, &lt;b&gt;!</p>"
    assert answer.headers["content-type"].lower().replace(" ", "") == "text/html;charset=utf-8"


# CherryPy leaves its file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_upload_has_its_name_and_size(ask):
    answer = ask("POST", "/upload", files={"picture": ("pie.png", b"\x89PNG", "image/png")})

    assert answer.json() == {"name": "pie.png", "bytes": 4}


def test_stream_sends_three_lines_as_plain_text(ask):
    answer = ask("GET", "/count")

    assert answer.text == "1\n2\n3\n"
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("framework", sorted(ASYNC))
def test_websocket_echoes_a_message(framework, tmp_path):
    pytest.importorskip(framework)
    port = free_port()
    command = f"uvicorn tests.docs.moving.{framework}_app:app --timeout-graceful-shutdown 1"

    with serving(command, tmp_path, port, {}), connect(f"ws://127.0.0.1:{port}/echo") as client:
        client.send("a pie")
        assert client.recv(timeout=60) == "a pie"


def test_page_shows_the_app_of_each_framework():
    shown = {block.file.rpartition("/")[2] for block in blocks(PAGE.read_text()) if block.file}

    assert shown == {f"{framework}_app.py" for framework in ON_THE_PAGE}
