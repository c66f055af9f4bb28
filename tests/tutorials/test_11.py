"""Tests the files of a server in tutorials/11-server, with the real nginx."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time

import httpx
import pytest
from playwright.sync_api import expect
from websockets.sync.client import connect

from tests.examples.browsing import noted_errors
from tests.processes import certificate, environment, free_port, nginx, wait_until
from tests.proxies import FOR_WEBSOCKETS, UNVERIFIED
from tests.tutorials import steps
from tests.tutorials.steps import pie, run_tests, send_picture

UNIT = (steps.TUTORIALS / "11-server" / "poll.service").read_text()
WORKERS = (
    re.search(r"^ExecStart=/srv/poll/.venv/bin/((?:.*\\\n)*.*)$", UNIT, re.M)[1]
    .replace("\\\n", "")
    .replace("--workers 4", "--workers 2")
)


def events(response):
    return (
        json.loads(line.removeprefix("data: "))
        for line in response.iter_lines()
        if line.startswith("data: ")
    )


def test_its_own_tests_pass(server):
    code, output = run_tests(server.folder)
    assert code == 0, output
    assert "17 passed" in output


def check_plain_http(url, folder):
    """See to it that plain HTTP leads to HTTPS, but for the proof that certbot shows."""
    proof = folder / ".well-known" / "acme-challenge" / "proof"
    proof.parent.mkdir(parents=True)
    proof.write_text("the name is mine")
    with httpx.Client(base_url=url, headers={"Host": "localhost"}, timeout=60) as client:
        answer = client.get("/results?at_least=1")
        assert (answer.status_code, answer.headers["location"]) == (
            308,
            "https://localhost/results?at_least=1",
        )
        assert client.get("/.well-known/acme-challenge/proof").text == "the name is mine"


@pytest.fixture(scope="module")
def site(server, tmp_path_factory):
    """The poll as its page says: two workers, and nginx with the tutorial's file."""
    if shutil.which("nginx") is None:
        pytest.skip("no nginx")
    folder = tmp_path_factory.mktemp("nginx")
    chain, key = certificate(folder, "localhost")
    text = (server.folder / "nginx.conf").read_text()
    plain, secure = free_port(), free_port()
    with steps.running(WORKERS, server.folder, {"POLL_DATA": str(folder / "data")}) as workers:
        for old, new in {
            "    listen [::]:80;\n": "",  # a container might have no IPv6
            "    listen [::]:443 ssl http2;\n": "",
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
            "/etc/letsencrypt/live/poll.example.com/fullchain.pem": str(chain),
            "/etc/letsencrypt/live/poll.example.com/privkey.pem": str(key),
            "root /var/www/html;": f"root {folder};",
            "poll.example.com": "localhost",
            "http://127.0.0.1:8000": workers.url,
        }.items():
            assert old in text
            text = text.replace(old, new)
        with nginx(folder, text, secure):
            check_plain_http(f"http://127.0.0.1:{plain}", folder)
            yield f"https://localhost:{secure}"


def test_cookie_behind_the_proxy_is_secure(site):
    answer = httpx.get(site, verify=False, timeout=60)
    assert re.fullmatch(
        r"session_id=[\w-]+; Path=/; HttpOnly; Secure; SameSite=Lax", answer.headers["set-cookie"]
    )
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"


def test_events_and_messages_pass_the_proxy_at_once(site, vote):
    with (
        httpx.Client(base_url=site, verify=UNVERIFIED, timeout=60) as ada,
        ada.stream("GET", "/events") as response,
    ):
        data = events(response)
        before = next(data)["votes"]["Cherry"]
        started = time.monotonic()
        assert vote(ada, "Cherry").status_code == 303
        while next(data)["votes"]["Cherry"] == before:
            pass
        headers = {"Cookie": f"session_id={ada.cookies['session_id']}"}
        address = f"wss{site.removeprefix('https')}/chat"
        with connect(address, additional_headers=headers, origin=site, ssl=FOR_WEBSOCKETS) as ws:
            ws.send("Hello through the proxy")
            assert json.loads(ws.recv(timeout=60))["text"] == "Hello through the proxy"
        assert time.monotonic() - started < 30, "the proxy keeps things back"


def test_page_goes_on_after_the_502_of_a_restart(browser, site):
    """The browser's EventSource gives up after a 502, and the page starts a new one."""
    refused: list[str] = []
    context = browser.new_context(ignore_https_errors=True, base_url=site)
    page = context.new_page()

    def refuse(route):
        refused.append(route.request.url)
        route.fulfill(status=502, body="Bad Gateway")

    page.route("**/events", refuse)
    page.goto("/")
    expect(page.locator("#state")).to_contain_text("Trying again")
    page.unroute("**/events")
    expect(page.locator("#state")).to_contain_text("counted live")
    context.close()
    assert refused


def test_proxy_refuses_large_bodies(site):
    large = b"x" * (6 * 2**20 + 1)
    answer = httpx.post(f"{site}/upload", content=large, verify=False, timeout=60)
    assert answer.status_code == 413


def test_caddyfile_is_valid(server):
    if shutil.which("caddy") is None:
        pytest.skip("no caddy")
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", "Caddyfile"]
    result = subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_unit_is_valid(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd")
    unit = tmp_path / "poll.service"
    unit.write_text(UNIT.replace("/srv/poll/.venv/bin/uvicorn", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_backup_has_what_visitors_have_sent(client, server, vote, tmp_path):
    vote(client, "Rhubarb")
    client.post("/upload", data={"description": "Pie"}, files={"picture": ("a.png", pie("red", 9))})
    command = [sys.executable, "backup.py", str(tmp_path / "copy")]
    subprocess.run(command, cwd=server.folder, check=True, env=environment({}), timeout=60)
    with contextlib.closing(sqlite3.connect(tmp_path / "copy" / "poll.db")) as db:
        assert ("Rhubarb",) in db.execute("SELECT pie FROM votes").fetchall()
    assert len(list((tmp_path / "copy" / "pictures").iterdir())) == 1


def test_vote_chat_and_picture_work_over_https(browser, site, picture):
    context = browser.new_context(
        ignore_https_errors=True,
        base_url=site,
        viewport={"width": 800, "height": 1490},
        reduced_motion="reduce",
    )
    ada = context.new_page()
    errors = noted_errors(ada)
    ada.on("response", lambda response: response.status >= 400 and errors.append(response.url))
    ada.goto("/")
    ada.locator("#state", has_text="counted live").wait_for()
    ada.get_by_label("Pumpkin").check()
    ada.get_by_role("button", name="Vote").click()
    ada.get_by_role("button", name="Change my vote").wait_for()
    ada.locator("#say input").fill("Live, over HTTPS!")
    ada.get_by_role("button", name="Send", exact=True).click()
    expect(ada.locator("#messages li").last).to_contain_text("Live, over HTTPS!")
    send_picture(ada, "Pumpkin pie", pie("#e07a1f"))
    shown = ada.locator("#pictures li", has_text="Pumpkin pie").locator("img")
    wait_until(lambda: shown.count() and shown.evaluate("image => image.naturalWidth") == 400)
    ada.get_by_role("button", name="Send the picture").blur()
    picture(ada)
    context.close()
    assert errors == []
