"""examples/deploy: its app, and its files for nginx, Caddy, systemd, Docker and two servers.

test_deploy_script.py runs its script on a new Debian, where systemd runs its units.
"""

import contextlib
import http.client
import http.server
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import httpx
import pytest
import yaml

from docs._ext.blocks import blocks
from tests.blocks import commands
from tests.containers import contained, joined
from tests.examples import harness
from tests.examples.browsing import file_named, fill_in
from tests.examples.loading import load
from tests.processes import certificate, environment, free_port, nginx, started, wait_until
from tests.proxies import NAME, SITE, caddy, client_of, replaced, websocket_of

example = load("deploy")
DEPLOY = harness.EXAMPLES / "deploy"
UNITS = ["shop.service", "shop-backup.service", "shop-backup.timer"]
GRACE = 20  # seconds that the servers wait for requests, in all files
UPLOAD = b"""--b\r
content-disposition: form-data; name="file"; filename="slow.txt"\r
\r
"""


def text_of(name):
    return (DEPLOY / name).read_text()


# --- the app -----------------------------------------------------------------------------------


def test_page_carries_session_upload_events_and_websocket(page, browsing):
    page.goto("/")
    page.get_by_text("No file yet").wait_for()
    fill_in(page, {"Your name": "<b>Ada"}, "Keep it", "Hello, <b>Ada")
    page.set_input_files("#file", file_named("pie.txt", b"apple"))
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("listitem").filter(has_text="pie.txt").wait_for()
    fill_in(page, {"A message to the WebSocket": "hello"}, "Send", "<b>Ada says hello")
    page.locator("#tick", has_text=re.compile(r"\d")).wait_for()
    browsing.check_look("/")


@pytest.mark.usefixtures("measured")
def test_command_line_makes_a_backup(client, server, tmp_path):
    client.post("/upload", files={"file": ("a.txt", b"a")})
    command = [sys.executable, "backup.py", str(tmp_path / "backups")]
    done = subprocess.run(
        command,
        cwd=server.folder,
        env=environment(server.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    [folder] = (tmp_path / "backups").iterdir()
    assert done.stdout == f"{folder}\n"
    assert {path.name for path in folder.iterdir()} == {"shop.sqlite3", "uploads"}


@pytest.mark.usefixtures("measured")
async def test_copied_sessions_are_saved_and_deleted(tmp_path, monkeypatch):
    database, sessions = load("deploy", "database"), load("deploy", "sqlite_sessions")
    monkeypatch.setattr(database, "DATA", tmp_path)
    monkeypatch.setattr(database, "DATABASE", tmp_path / "shop.sqlite3")
    database.create()
    backend = sessions.SQLiteSessions()
    await backend.save("one", {"name": "Ada"}, 60)
    assert await backend.load("one") == {"name": "Ada"}
    await backend.save("one", {}, 60)
    assert await backend.load("one") == {}


@pytest.mark.usefixtures("measured")
def test_granian_serves_the_same_app():
    """Its workers end without a word on what they have run, so this does not come from them."""
    assert load("deploy", "behind_granian").shop is example.app


# --- what is copied ----------------------------------------------------------------------------

PRIVATE = [
    ".env",
    "data/shop.sqlite3",
    "backups/2026-03-14/shop.sqlite3",
    "trial/key.pem",
    "trial/notes.txt",
    "privkey.pem",
]


@pytest.mark.parametrize("which", ["script", "readme"])
def test_private_files_beside_the_app_are_not_copied(which, tmp_path):
    """All users of the server could read them in the folder of the version."""
    folder = harness.copied("deploy", tmp_path)
    for name in PRIVATE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("private")
    if which == "script":
        line = re.search(r"(?ms)^pack\(\) \{$.*?^\}$", text_of("install.sh"))[0] + "\npack"
    else:
        [block] = [one.text for one in blocks(text_of("README.md")) if "ssh root@" in one.text]
        line = commands(block)[0].line.partition("| ")[0].partition("|\n")[0]
    packed = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; here=$PWD\n{line} | tar -t"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    files = {name.removeprefix("./") for name in packed if not name.endswith("/")}
    assert {"app.py", "templates/index.html", "nginx/shop.conf", "requirements.txt"} <= files
    assert not [name for name in files if name in PRIVATE or name.startswith(("backups", "trial"))]


# --- behind nginx and Caddy --------------------------------------------------------------------


def site_for(app_port, folder, port):
    """Return the site of the example with free ports, and with a certificate in a folder."""
    certificate(folder, SITE)
    changes = {
        "listen [::]:80;": "",
        "listen [::]:443 ssl http2;": "",
        "listen [::]:443 ssl http2 default_server;": "",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl http2": f"listen 127.0.0.1:{port} ssl http2",
        "127.0.0.1:8000": f"127.0.0.1:{app_port}",
        f"/etc/letsencrypt/live/{SITE}": str(folder),
    }
    return replaced(text_of("nginx/shop.conf"), changes)


@contextlib.contextmanager
def behind_nginx(app_port, folder, more=lambda site: site):
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    with nginx(folder, more(site_for(app_port, folder, port)), port):
        yield port


@contextlib.contextmanager
def behind_caddy(app_port, folder):
    port = free_port()
    variables = {"SITE": f"https://{SITE}:{port}", "APP": f"127.0.0.1:{app_port}"}
    with caddy(folder, text_of("Caddyfile"), port, variables):
        yield port


@pytest.fixture
def two_workers(tmp_path, measure):
    """The app with two workers, as the unit starts it, and with its settings."""
    found = re.search(r"bin/(uvicorn .*)", joined(text_of("systemd/shop.service")))
    settings = dict(line.split("=") for line in re.findall(r"^\w+=.+", text_of("shop.env"), re.M))
    folder = harness.copied("deploy", tmp_path)
    with harness.running(found[1], folder, {**measure, **settings}) as server:
        yield server


@pytest.mark.parametrize("proxy", [behind_nginx, behind_caddy])
def test_proxy_carries_everything_and_believes_no_visitor(proxy, two_workers, tmp_path):
    forged = {
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-proto": "http",
        "forwarded": "for=203.0.113.9;proto=http",
    }
    with proxy(two_workers.port, tmp_path) as port, client_of(port, **forged) as client:
        seen = client.get("/client", **NAME).json()
        assert (seen["scheme"], seen["address"]) == ("https", "127.0.0.2")
        check_uploads(client)
        check_events(client)
        origin = {"origin": f"https://{SITE}"}
        named = client.post("/name", data={"name": "Ada"}, headers=origin, **NAME)
        assert "Secure" in named.headers["set-cookie"]
        cookie = named.headers["set-cookie"].partition(";")[0]
        for _ in range(4):  # connections of their own, which either worker takes
            with websocket_of(port, "/echo", cookie) as ws:
                ws.send("hello")
                assert ws.recv(timeout=60) == "Ada says hello"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers with the headers that it has got."""

    def do_GET(self):
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Keep quiet."""


@pytest.mark.parametrize("proxy", [behind_nginx, behind_caddy])
def test_proxy_replaces_what_a_visitor_says_of_itself(proxy, tmp_path):
    forged = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as mirror:
        threading.Thread(target=mirror.serve_forever, daemon=True).start()
        with proxy(mirror.server_port, tmp_path) as port, client_of(port, **forged) as client:
            got = client.get("/", **NAME).json()
        mirror.shutdown()

    said = [(name, value) for name, value in got if name in {*forged, "host"}]
    assert sorted(said) == [
        ("host", SITE),
        ("x-forwarded-for", "127.0.0.2"),
        ("x-forwarded-proto", "https"),
    ]


def check_uploads(client):
    """The app has a limit for files, and the proxy one for bodies."""

    def status(size):
        # A proxy that refuses a body might close the connection before it has read all of it.
        with contextlib.suppress(httpx.WriteError):
            files = {"file": ("pie.bin", b"x" * size)}
            return client.post("/upload", files=files, timeout=60, **NAME).status_code
        return 413

    assert [status(size) for size in (2**20, example.LIMIT, example.LIMIT + 1)] == [201, 201, 413]
    assert status(17 * 2**20) in {413, 502}  # 502: Caddy of Debian 12, see the README


def check_events(client):
    """Each event comes when it is sent, half a second after the one before.

    If this process stands still meanwhile, it finds them together, so it may try some times.
    """

    def spread():
        with client.stream("GET", "/ticks", timeout=60, **NAME) as response:
            times = {}
            for line in response.iter_lines():
                if line:
                    times[line] = time.monotonic()
                if len(times) == 3:
                    break
        assert list(times) == ["data: 0", "data: 1", "data: 2"]
        first, _, third = times.values()
        return third - first

    assert any(spread() > 0.6 for _ in range(5)), "the events came together"


def test_nginx_answers_no_other_name(two_workers, tmp_path):
    with behind_nginx(two_workers.port, tmp_path) as port, client_of(port) as client:
        assert client.get("/health", **NAME).text == "ready\n"
        assert client.get("/health", headers={"host": "evil.example"}, **NAME).status_code == 421
        other: dict[str, Any] = {"extensions": {"sni_hostname": "evil.example"}}
        # Or the connection of before, by its right name, would carry it.
        with client_of(port) as stranger, pytest.raises(httpx.ConnectError, match="UNRECOGNIZED"):
            stranger.get("/health", **other)


def test_plain_http_leads_to_the_name_of_the_site_whatever_the_visitor_says(tmp_path):
    sites: list[str] = []

    def kept(site):
        sites.append(site)
        return site

    with behind_nginx(free_port(), tmp_path, kept):
        plain = re.findall(r"listen 127\.0\.0\.1:(\d+);", sites[0])[0]
        named = {"host": "evil.example"}
        answer = httpx.get(f"http://127.0.0.1:{plain}/a?b=c", headers=named, timeout=60)
    assert (answer.status_code, answer.headers["location"]) == (308, f"https://{SITE}/a?b=c")


def test_app_below_a_path_has_links_redirects_and_cookies_of_the_path(tmp_path, measure):
    folder = harness.copied("deploy", tmp_path)
    variables = {**measure, "UVICORN_ROOT_PATH": "/shop", "HTTPS_ONLY": "1"}
    assert "UVICORN_ROOT_PATH=/shop" in text_of("nginx/below-path.conf")
    with harness.running(harness.SERVE, folder, variables) as server:
        below = replaced(
            text_of("nginx/below-path.conf"), {"127.0.0.1:8000": f"127.0.0.1:{server.port}"}
        )

        def with_path(site):
            rest = 'location / { return 200 "the rest"; }'
            return re.sub(r"location / \{\s+proxy_pass[^}]*\}", lambda _: f"{rest}\n{below}", site)

        with behind_nginx(server.port, tmp_path, with_path) as port, client_of(port) as client:
            origin = {"origin": f"https://{SITE}"}
            named = client.post("/shop/name", data={"name": "Ada"}, headers=origin, **NAME)
            assert named.headers["location"] == "/shop/"
            assert "; Path=/shop;" in named.headers["set-cookie"]
            page = client.get("/shop/", **NAME).text
            assert set(re.findall(r'(?:action|data-ticks|data-echo)="([^"]*)"', page)) == {
                f"/shop/{path}" for path in ("name", "upload", "ticks", "echo")
            }
            cookie = named.headers["set-cookie"].partition(";")[0]
            with websocket_of(port, "/shop/echo", cookie) as ws:
                ws.send("hello")
                assert ws.recv(timeout=60) == "Ada says hello"
            assert client.get("/", **NAME).text == "the rest"


def test_nginx_passes_the_same_on_as_in_the_guides():
    """So the reasons that the guides give for each line are those of the example."""
    guide = (harness.ROOT / "docs" / "howto" / "debian.md").read_text()
    [site] = [block.text for block in blocks(guide) if block.detail == "shop.nginx"]

    def lines(text):
        location = text.rpartition("{")[2].partition("}")[0]
        return {line.partition("#")[0].strip() for line in location.splitlines()} - {""}

    own = text_of("nginx/shop.conf")
    assert lines(own) == lines(site)
    below = lines(text_of("nginx/below-path.conf")) - {"client_max_body_size 16m;"}
    passed = {line for line in lines(own) if not line.startswith("proxy_pass")}
    assert {line for line in below if not line.startswith("proxy_pass")} == passed
    for line in ("server_name shop.example.com;", "client_max_body_size 16m;"):
        assert line in own
        assert line in site


# --- servers that stop -------------------------------------------------------------------------


def drop_in(name):
    """Return the last command of a drop-in of the unit, for a free port."""
    return re.findall(r"^ExecStart=\S+/bin/(.+)$", joined(text_of(f"systemd/{name}.conf")), re.M)[
        -1
    ]


SERVERS = {
    "uvicorn": lambda: re.search(r"bin/(uvicorn .*)", joined(text_of("systemd/shop.service")))[1],
    "gunicorn": lambda: drop_in("gunicorn"),
    "granian": lambda: drop_in("granian"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_server_that_is_told_to_stop_finishes_the_upload_that_is_under_way(name, tmp_path, measure):
    folder = harness.copied("deploy", tmp_path)
    port = free_port()
    line = SERVERS[name]().replace("8000", str(port))
    with started(
        ["bash", "-c", f"exec {line}"],
        port,
        tmp_path / "log",
        cwd=folder,
        env=environment(measure),
    ) as server:
        proxied = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
        seen = httpx.get(f"http://127.0.0.1:{port}/client", headers=proxied, timeout=60).json()
        assert (seen["scheme"], seen["address"]) == ("https", "203.0.113.9")

        with socket.create_connection(("127.0.0.1", port), timeout=60) as upload:
            content = UPLOAD + b"x" * 50_000
            rest = b"y" * 50_000 + b"\r\n--b--\r\n"
            upload.sendall(
                b"POST /upload HTTP/1.1\r\nhost: shop.example.com\r\n"
                b"content-type: multipart/form-data; boundary=b\r\n"
                b"content-length: %d\r\n\r\n" % (len(content) + len(rest)) + content
            )
            uploads = folder / "data" / "uploads"
            wait_until(lambda: list(uploads.iterdir()), what="the upload to begin")

            server.send_signal(signal.SIGTERM)
            wait_until(lambda: not accepts_new(port), what="the server to refuse new visitors")
            time.sleep(3)  # as long as a slow visitor takes; a server that does not wait has ended
            upload.sendall(rest)
            response = http.client.HTTPResponse(upload)
            response.begin()
            answer = response.status, json.loads(response.read())
        server.wait(timeout=60)
    assert answer == (201, {"name": "slow.txt", "bytes": 100_000})
    assert "Traceback" not in (tmp_path / "log").read_text()


def accepts_new(port):
    """Tell whether a server answers a new connection within a second."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code == 200
    return False


# --- systemd -----------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path):
    """The units, with programs that are here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in UNITS:
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text_of(f"systemd/{name}"))
        (tmp_path / name).write_text(text)
    return tmp_path


def analyzed(*arguments):
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("server", ["", "gunicorn", "granian"])
def test_systemd_finds_no_fault_in_the_units(units, server):
    if server:
        folder = units / "shop.service.d"
        folder.mkdir()
        changed = re.sub(r"/srv/shop\S+", "/bin/true", text_of(f"systemd/{server}.conf"))
        (folder / "server.conf").write_text(changed)
    result = analyzed("verify", "--man=no", *(units / name for name in UNITS))

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_service_is_exposed_little(units, name):
    """systemd gives 0.0 to 10.0; a unit without any protection gets 9.6."""
    result = analyzed("security", "--offline=true", "--threshold=20", str(units / name))

    assert result.returncode == 0, result.stdout + result.stderr


def test_everything_that_stops_a_server_waits_longer_than_the_server():
    unit = joined(text_of("systemd/shop.service"))
    assert f"--timeout-graceful-shutdown {GRACE}" in unit
    assert f"--workers-kill-timeout {GRACE} " in joined(text_of("systemd/granian.conf"))
    assert f"graceful_timeout = {GRACE} " in text_of("gunicorn.conf.py")
    assert f'"--timeout-graceful-shutdown", "{GRACE}"' in joined(text_of("Dockerfile"))
    for text, pattern in (
        (unit, r"TimeoutStopSec=(\d+)"),
        (text_of("compose.yaml"), r"stop_grace_period: (\d+)s"),
    ):
        assert int(re.search(pattern, text)[1]) > GRACE


# --- Docker ------------------------------------------------------------------------------------


def test_image_serves_the_app_and_its_check_passes(tmp_path, measure):
    context = harness.copied("deploy", tmp_path)
    (context / "micropie-1-py3-none-any.whl").touch()
    variables = {**measure, "DATA": str(tmp_path / "data"), "HTTPS_ONLY": "1"}
    with contained(context, tmp_path, variables) as image:
        [check] = image.checks
        subprocess.run(check, cwd=image.folder, env=image.environment, timeout=60, check=True)
        url = f"http://127.0.0.1:{image.port}"
        assert httpx.post(f"{url}/upload", files={"file": b"pie"}, timeout=60).status_code == 201
        assert not (image.folder / "data").exists()
        assert "Hello" in httpx.get(url, timeout=60).text
    assert (tmp_path / "data" / "shop.sqlite3").exists()
    for line in ("ENV PYTHONUNBUFFERED=1 DATA=/data HTTPS_ONLY=1", "USER 10001", "VOLUME /data"):
        assert f"\n{line}\n" in text_of("Dockerfile")


@pytest.mark.parametrize(
    "line",
    [
        "hadolint Dockerfile",
        "check-jsonschema --builtin-schema vendor.compose-spec compose.yaml",
        "shellcheck install.sh",
    ],
)
def test_checker_finds_no_fault(line):
    program, *arguments = line.split()
    variables = environment({})
    if shutil.which(program, path=variables["PATH"]) is None:
        pytest.skip(f"{program} is not installed")
    result = subprocess.run(
        [program, *arguments],
        cwd=DEPLOY,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_compose_file_is_as_in_the_guide_and_the_app_can_do_less():
    own = yaml.safe_load(text_of("compose.yaml"))
    guide = (harness.ROOT / "docs" / "howto" / "docker.md").read_text()
    [text] = [block.text for block in blocks(guide) if block.detail == "compose.yaml"]
    same = yaml.safe_load(text)
    shop, proxy = own["services"]["shop"], own["services"]["caddy"]
    limits = {"read_only", "tmpfs", "cap_drop", "security_opt"}

    assert shop.keys() - same["services"]["shop"].keys() == limits
    assert proxy.keys() == same["services"]["caddy"].keys()
    assert own["volumes"] == same["volumes"]
    [network] = own["networks"]["inside"]["ipam"]["config"]
    assert shop["environment"]["FORWARDED_ALLOW_IPS"] == network["subnet"]
    assert "ports" not in shop
    assert set(proxy["environment"]) == set(re.findall(r"\{\$(\w+):", text_of("Caddyfile")))
    assert proxy["environment"]["APP"] == "shop:8000"
    assert "HEALTHCHECK" in text_of("Dockerfile")
