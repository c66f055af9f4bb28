"""examples/oauth_login"""

import contextlib
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.examples import harness
from tests.examples.accounts import session_ids, sign_in_by_oauth
from tests.examples.browsing import Browsing
from tests.processes import free_port, serving


def refuse(client, location):
    """Come back from the provider with something wrong."""
    response = client.get(location)
    assert response.status_code == 400
    assert "The login has failed." in response.text
    assert client.get("account").status_code == 401


def test_login_keeps_nothing_that_an_attacker_knows(client):
    assert "set-cookie" not in client.get("/").headers
    assert client.get("/login").status_code == 405
    before, back = sign_in_by_oauth(client)
    assert before
    assert not before & session_ids(client)
    assert "ada@example.org" in client.get("/account").text
    assert client.get(back).status_code == 400
    assert client.post("/logout").headers["location"] == "/"
    assert client.get("/account").status_code == 401


def test_code_needs_its_state_nonce_and_verifier(client, server):
    refuse(client, "/callback")
    refuse(client, "/callback?code=x&state=")
    asked = []
    for _ in range(2):
        url = client.post("/login").headers["location"]
        asked.append({name: value for name, [value] in parse_qs(urlsplit(url).query).items()})
    first, second = asked
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
    assert second["code_challenge_method"] == "S256"
    assert second["redirect_uri"] == "http://127.0.0.1:8000/callback"
    refuse(client, f"/callback?code=x&state={first['state']}")
    refuse(client, f"/callback?code=x&state={second['state']}")

    url = client.post("/login").headers["location"]
    back = httpx.post(url, data={"action": "deny"}, timeout=60).headers["location"]
    state = parse_qs(urlsplit(url).query)["state"][0]
    refuse(client, f"/callback?{urlsplit(back).query}")
    refuse(client, f"/callback?error=access_denied&state={state}")

    # A code that the provider gave for another nonce.
    url = client.post("/login").headers["location"]
    nonce = parse_qs(urlsplit(url).query)["nonce"][0]
    back = httpx.post(url.replace(nonce, "other"), data={"sub": "eve"}, timeout=60).headers[
        "location"
    ]
    refuse(client, f"/callback?{urlsplit(back).query}")


def test_browser_logs_in_and_out(browser, server, tmp_path, measure):
    folder, port = harness.copied("oauth_login", tmp_path), free_port()
    url = f"http://127.0.0.1:{port}"
    more = {**server.environment, "PUBLIC_URL": url}
    with (
        serving(harness.SERVE, folder, port, more),
        contextlib.closing(Browsing(browser, url)) as browsing,
    ):
        page = browsing.page()
        issuer = server.environment["OIDC_ISSUER"]
        page.route(f"{issuer}/**", lambda route: route.continue_())
        browsing.expected += ["pico.min.css", "ERR_FAILED"]  # of the provider's pages
        page.goto("/")
        page.get_by_role("button", name="Log in").click()
        page.locator("input[name=sub]").fill("<b>Ada")
        page.get_by_role("button", name="Authorize").click()
        page.wait_for_url("**/account")
        assert page.get_by_role("heading").inner_text() == "<b>Ada"
        browsing.check_look("/", "/account", like=page)
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="Hello, stranger").wait_for()


@pytest.mark.parametrize(("issuer", "status"), [("", 503), ("http://127.0.0.1:9", 400)])
def test_without_a_provider_the_page_says_so(tmp_path, measure, issuer, status):
    folder = harness.copied("oauth_login", tmp_path)
    with harness.running(harness.SERVE, folder, {**measure, "OIDC_ISSUER": issuer}) as server:
        assert ("Set <code>OIDC_ISSUER" in httpx.get(server.url, timeout=60).text) == (not issuer)
        assert httpx.post(f"{server.url}/login", timeout=60).status_code == status
