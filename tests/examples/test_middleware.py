"""examples/middleware: each file for itself, and all of them together."""

import base64
import contextlib
import re
import time
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from micropie import App, HTTPError, Request
from tests import asgi
from tests.clock import ManualClock
from tests.examples.accounts import CLIENTS
from tests.examples.loading import load, run

timing, upload_limit = (load("middleware", name) for name in ("timing", "upload_limit"))
basic_auth, bearer_auth, csrf = (
    load("middleware", name) for name in ("basic_auth", "bearer_auth", "csrf")
)
cors, error_pages = (load("middleware", name) for name in ("cors", "error_pages"))
rate_limit, security_headers = (
    load("middleware", name) for name in ("rate_limit", "security_headers")
)

pytestmark = pytest.mark.usefixtures("measured")


class Small(App):
    async def index(self):
        return "index"

    async def fails(self, text="no\n"):
        raise HTTPError(418, text)

    async def named(self):
        return {"user": getattr(self.request, "user", None)}

    async def put(self):
        return {"bytes": len(await self.request.body())}

    async def own(self):
        return (
            200,
            "own",
            [("content-security-policy", "default-src 'self'"), ("referrer-policy", "no-referrer")],
        )

    async def odd(self):
        return 499, "gone"

    async def token(self):
        return csrf.csrf_token(self.request)


def small(*middlewares):
    app = Small()
    app.middlewares += middlewares
    return app


def answer(app, target="/", method="GET", **options):
    return run(asgi.request(app, method, target, **options))


# --- timing


def test_request_id_is_new_each_time_and_logged(caplog):
    app = small(timing.Timing())
    caplog.set_level("INFO", "timing")

    first, second = (answer(app, "/", headers={"x-request-id": "from-outside"}) for _ in range(2))

    assert re.fullmatch("[0-9a-f]{32}", first.header("x-request-id"))
    assert first.header("x-request-id") != second.header("x-request-id")
    assert re.fullmatch(r"app;dur=\d+\.\d", first.header("server-timing"))
    assert f"{first.header('x-request-id')} GET '/' 200" in caplog.text


def test_request_refused_before_the_middlewares_is_timed_too():
    app = small(timing.Timing(), security_headers.SecurityHeaders())
    response = answer(app, "/", "POST", headers={"content-length": "nonsense"})

    assert response.status == 400
    assert response.header("x-request-id")
    assert "nonce-" in response.header("content-security-policy")


# --- security headers


def test_security_headers_have_a_new_nonce_and_leave_alone_what_a_handler_sets():
    app = small(security_headers.SecurityHeaders())
    index, again, own = (
        answer(app, "/"),
        answer(app, "/"),
        answer(app, "/own", scope={"scheme": "https"}),
    )

    assert index.header("x-content-type-options") == "nosniff"
    assert "frame-ancestors 'none'" in index.header("content-security-policy")
    assert index.header("content-security-policy") != again.header("content-security-policy")
    assert index.header("strict-transport-security") is None
    assert own.header("content-security-policy") == "default-src 'self'"
    assert own.headers_all("referrer-policy") == ["no-referrer"]
    assert own.header("strict-transport-security") == "max-age=31536000"


# --- error pages

HTML = {"accept": "text/html,*/*"}


def test_errors_are_pages_for_browsers_and_problem_details_for_programs():
    app = small(error_pages.ErrorPages())
    page, problem = answer(app, "/nothing", headers=HTML), answer(app, "/nothing")

    assert page.status == problem.status == 404
    assert "<h1>Not Found</h1>" in page.text
    assert problem.header("content-type") == "application/problem+json"
    assert problem.json()["title"] == "Not Found"


def test_other_headers_of_an_error_stay():
    app = small(error_pages.ErrorPages(), basic_auth.BasicAuth({}, {"named"}))

    assert answer(app, "/named", headers=HTML).header("www-authenticate").startswith("Basic")


def test_text_of_an_error_is_escaped():
    app = small(error_pages.ErrorPages())
    page = answer(app, "/fails", query="text=x<script>", headers=HTML)

    assert "x&lt;script&gt;" in page.text
    assert answer(app, "/fails", query="text=<p>own page").text == "<p>own page"


@pytest.mark.parametrize("status", [200, 299, 399])
async def test_response_below_400_is_not_changed(status):
    assert await error_pages.ErrorPages().after_request(None, status, "text", []) is None


def test_unknown_status_has_a_page():
    app = small(error_pages.ErrorPages())
    assert answer(app, "/odd").json() == {"title": "Error", "status": 499, "detail": "gone"}


# --- CORS


def preflight(app, origin, **headers):
    asked = {"origin": origin, "access-control-request-method": "PUT", **headers}
    return answer(app, "/", "OPTIONS", headers=asked)


def test_preflight_is_answered_for_allowed_origins_only():
    app = small(cors.CORS(["https://good.example"]), basic_auth.BasicAuth({}, {"index"}))
    good, bad = preflight(app, "https://good.example"), preflight(app, "https://good.example.evil")

    assert (good.status, good.header("access-control-allow-origin")) == (
        204,
        "https://good.example",
    )
    assert "PUT" in good.header("access-control-allow-methods")
    assert good.header("access-control-allow-credentials") is None
    assert (bad.status, bad.header("access-control-allow-origin")) == (204, None)


def test_response_names_the_allowed_origin():
    app = small(cors.CORS(["https://good.example"]))
    for origin, allowed in (
        ("https://good.example", "https://good.example"),
        ("null", None),
        ("", None),
    ):
        response = answer(app, "/nothing", headers={"origin": origin})
        assert response.header("access-control-allow-origin") == allowed
        assert response.header("access-control-allow-credentials") is None
        assert response.header("vary") == "Origin"
    assert answer(app, "/", "OPTIONS").status == 200


def test_any_origin_may_be_allowed_without_cookies():
    response = answer(small(cors.CORS(["*"])), headers={"origin": "https://any.example"})
    assert (response.header("access-control-allow-origin"), response.header("vary")) == ("*", None)
    assert response.header("access-control-allow-credentials") is None


# --- rate limit


async def test_limit_is_kept_for_each_client_and_comes_back(monkeypatch):
    clock = ManualClock()
    monkeypatch.setattr(rate_limit, "time", SimpleNamespace(monotonic=clock))
    counter = rate_limit.MemoryLimiter(3, 0.6)
    assert [await counter.wait("a") for _ in range(3)] == [0, 0, 0]
    assert await counter.wait("a") == pytest.approx(0.2)
    assert await counter.wait("b") == 0
    clock.advance(0.19)
    assert await counter.wait("a") == pytest.approx(0.01)
    clock.advance(0.02)
    assert await counter.wait("a") == 0
    assert await counter.wait("a") > 0


@pytest.mark.real_time
async def test_limit_in_redis_is_kept_for_each_client_and_comes_back(services):
    """Redis has its own clock; instead of waiting, the test sets its numbers back."""
    async with Redis.from_url(services.environment("middleware")["REDIS_URL"]) as client:
        counter = rate_limit.RedisLimiter(client, 3, 3600)
        assert [await counter.wait("a") for _ in range(3)] == [0, 0, 0]
        assert 1100 < await counter.wait("a") <= 1200
        assert await counter.wait("b") == 0
        assert 0 < await client.ttl("rate:a") <= 3600
        await client.set("rate:a", float(await client.get("rate:a")) - 1200)
        assert await counter.wait("a") == 0
        assert await counter.wait("a") > 0


async def test_limiter_forgets_the_quietest_client_when_it_is_full():
    counter = rate_limit.MemoryLimiter(1, 60, clients=2)
    for key in "abc":
        await counter.wait(key)
    assert await counter.wait("c") > 0
    assert await counter.wait("a") == 0


@pytest.mark.real_time
async def test_all_requests_pass_and_a_warning_is_logged_without_redis(caplog):
    async with Redis.from_url("redis://127.0.0.1:1/0") as client:
        counter = rate_limit.RedisLimiter(client, 1, 60)
        assert [await counter.wait("a") for _ in range(2)] == [0, 0]
    assert "no rate limit" in caplog.text


def test_refusal_says_when_to_come_again(monkeypatch):
    monkeypatch.setattr(rate_limit, "time", SimpleNamespace(monotonic=ManualClock()))
    app = small(rate_limit.RateLimit(rate_limit.MemoryLimiter(2, 60), {"index"}))
    responses = [answer(app, "/") for _ in range(3)]

    assert [response.status for response in responses] == [200, 200, 429]
    assert responses[2].header("retry-after") == "30"


def test_methods_that_do_not_count_pass():
    app = small(rate_limit.RateLimit(rate_limit.MemoryLimiter(1, 60), {"index"}, {"POST"}))
    statuses = [answer(app, "/", method).status for method in ("GET", "POST", "GET", "POST")]

    assert statuses == [200, 200, 200, 429]
    app = small(rate_limit.RateLimit(rate_limit.MemoryLimiter(1, 60), {"index"}, {"GET"}))
    # The length of the answer to a HEAD tells of the other one.
    statuses = [answer(app, "/", method).status for method in ("HEAD", "HEAD", "GET")]
    assert statuses == [200, 429, 429]


@pytest.mark.parametrize(("client", "key"), CLIENTS)
def test_client_is_an_address_or_a_network(client, key):
    assert rate_limit.client_of(rate_limit.Request({"type": "http", "client": client})) == key


# --- upload limit


def test_body_over_the_limit_of_its_handler_is_413():
    app = small(upload_limit.UploadLimit({"put": 10}))
    assert answer(app, "/put", "PUT", body=b"x" * 10).json() == {"bytes": 10}
    assert answer(app, "/put", "PUT", body=b"x" * 11).status == 413
    assert (
        answer(app, "/put", "PUT", body=[b"x"], headers={"transfer-encoding": "chunked"}).status
        == 411
    )
    assert answer(app, "/", "POST", body=b"x" * 11).status == 200


@pytest.mark.parametrize(
    ("version", "method", "length", "status"),
    [
        ("2", "PUT", None, 411),
        ("2", "DELETE", None, 411),
        ("3", "PUT", None, 411),
        ("2", "PUT", "", 411),
        ("2", "PUT", "10", None),
        ("2", "PUT", "11", 413),
        ("2", "GET", None, None),
        ("1.1", "PUT", None, 411),
        ("1.0", "PUT", None, 411),
        ("1.1", "PUT", "", 411),
        ("1.1", "PUT", "0", None),
        ("1.1", "GET", "", None),
    ],
)
def test_body_has_to_say_its_size(version, method, length, status):
    headers = [] if length is None else [(b"content-length", length.encode())]
    request = Request(
        {"type": "http", "method": method, "http_version": version, "headers": headers}
    )
    request.route_handler = "put"
    limit = upload_limit.UploadLimit({"put": 10})
    refused = pytest.raises(HTTPError) if status else contextlib.nullcontext()
    with refused as error:
        run(limit.before_request(request))

    assert (error and error.value.status) == status


# --- authentication


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_basic_authentication():
    app = small(basic_auth.BasicAuth({"ada": "sécret:x", "blank": ""}, {"named"}))
    for header in (basic("ada:sécret:x"), basic("ada:sécret:x").replace("Basic", "bAsIc")):
        response = answer(app, "/named", headers={"authorization": header})
        assert (response.status, response.json()) == (200, {"user": "ada"})
        assert response.header("vary") == "Authorization"
    wrong = [basic(text) for text in ("ada:wrong", "nobody:", "nobody", "blank:")]
    for header in (*wrong, "Basic !!!", "Basic /w==", "Bearer x", ""):
        response = answer(app, "/named", headers={"authorization": header})
        assert (response.status, response.header("vary")) == (401, "Authorization"), header
        assert response.header("www-authenticate") == 'Basic realm="admin", charset="UTF-8"'
    assert answer(app, "/").header("vary") is None


def test_bearer_authentication():
    app = small(bearer_auth.BearerAuth({bearer_auth.hash_token("token"): "robot"}, {"named"}))
    for status, challenge, headers in (
        (200, "", ("Bearer token", "bearer  token ")),
        (401, 'error="invalid_token"', ("Bearer wrong", "Bearer")),
        (401, 'realm="api"', ("Basic token", "")),
    ):
        for header in headers:
            response = answer(app, "/named", headers={"authorization": header})
            assert (response.status, response.header("vary")) == (status, "Authorization"), header
            assert challenge in (response.header("www-authenticate") or "")
    assert answer(app, "/").status == 200


GUARDED = ["named", "inside", "my_area"]


@pytest.mark.parametrize(
    "guard",
    [
        basic_auth.BasicAuth({"ada": "secret"}, GUARDED),
        bearer_auth.BearerAuth({bearer_auth.hash_token("token"): "robot"}, GUARDED),
    ],
    ids=["basic", "bearer"],
)
def test_authentication_guards_a_mounted_app_by_its_path(guard):
    app = small(guard)
    for mount in ("/inside", "/files", "/deep/inside", "/my-area"):
        app.mounts[mount] = Small()
    paths = ["/inside", "/inside/", "/inside/named", "/deep/inside/named", "/my-area"]
    paths += ["/files/my_area", "/files/my-area", "/files/my.area"]  # as a handler there

    assert {answer(app, path).status for path in paths} == {401}
    assert answer(app, "/inside", scope={"root_path": "/app", "path": "/app/inside"}).status == 401
    assert answer(app, "/files/put").status == 200
    assert answer(app, "/fails/inside").status == 418  # a handler's argument is no app


# --- CSRF


async def test_form_needs_the_csrf_token_and_upload_its_header_or_the_same_origin():
    browser = asgi.Browser(small(csrf.CSRF()))
    token = (await browser.get("/token")).text
    upload = {"multipart": [("a", "b")]}
    for body, headers, status in (
        ({"form": {"csrf_token": token}}, {}, 200),
        ({"form": {}}, {"x-csrf-token": token}, 200),
        ({"form": {}}, {}, 403),
        ({"form": {"csrf_token": "é"}}, {}, 403),
        ({"form": {}}, {"x-csrf-token": "é".encode("latin-1")}, 403),
        ({"form": {}}, {"sec-fetch-site": "same-origin"}, 403),
        (upload, {"x-csrf-token": token}, 200),
        (upload, {"sec-fetch-site": "same-origin"}, 200),
        (upload, {"sec-fetch-site": "same-site"}, 403),
        (upload, {"sec-fetch-site": "cross-site"}, 403),
        (upload, {"origin": "http://testserver"}, 403),
        (upload, {}, 403),
        (upload, {"sec-fetch-site": "same-origin", "x-csrf-token": "wrong"}, 403),
    ):
        assert (await browser.post("/named", **body, headers=headers)).status == status, (
            body,
            headers,
        )
    for method, headers in (("POST", {"x-csrf-token": ""}), ("DELETE", {})):  # with no session
        assert (await asgi.request(browser.app, method, "/named", headers=headers)).status == 403


def test_bearer_token_replaces_the_csrf_token_only_in_guarded_handlers():
    guard = bearer_auth.BearerAuth({bearer_auth.hash_token("token"): "robot"}, {"named"})
    app = small(guard, csrf.CSRF())
    headers = {"authorization": "Bearer token"}

    assert answer(app, "/named", "POST", headers=headers).status == 200
    assert answer(app, "/index", "POST", headers=headers).status == 403


# --- all of them


def test_all_middlewares_work_together(client):
    first = client.get("/", headers={"origin": "https://app.example.com"})
    assert first.headers["access-control-allow-origin"] == "https://app.example.com"
    assert first.headers["server-timing"]
    assert "set-cookie" not in first.headers
    assert client.get("/api", headers={"authorization": "Bearer token"}).json()["user"] == "robot"
    password = "päss:word".encode()
    assert client.get("/admin", auth=("admin", password)).json() == {"user": "admin"}
    assert client.get("/admin").status_code == 401
    too_large = client.put("/notes", content=b"x" * 1001)
    problem = {"title": "Content Too Large", "status": 413, "detail": "at most 1000 bytes"}
    assert (too_large.status_code, too_large.json()) == (413, problem)
    headers = {"authorization": "Bearer token"}
    assert client.put("/notes", content=b"note", headers=headers).json() == {"bytes": 4}
    began = time.monotonic()
    guesses = [client.get("/guess?number=42") for _ in range(4)]
    assert [guess.status_code for guess in guesses] == [200, 200, 200, 429]
    assert began + 20 - time.monotonic() <= int(guesses[3].headers["retry-after"]) <= 20
    assert client.post("/form", data={"name": "Ada"}).status_code == 403
    fields = {"name": "Ada", **client.get("/form").json()}
    assert client.post("/form", data=fields).json() == {"text": "Hello, Ada!"}


def test_error_page_works_under_its_policy(page, browsing):
    browsing.expected += ["404", "the server responded"]
    page.goto("/nothing")
    assert page.get_by_role("heading").inner_text() == "Not Found"
    assert page.locator("body").evaluate("one => getComputedStyle(one).maxWidth") != "none"
    browsing.check_look("/nothing")


def test_policy_stops_a_script_without_the_nonce(page, browsing):
    browsing.expected += ["404", "the server responded", "Content Security Policy"]
    page.goto("/nothing")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), "
        "{textContent: 'window.hacked = true'}))"
    )

    assert page.evaluate("window.hacked") is None
