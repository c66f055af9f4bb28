"""The deployment page is true: servers stop as it says, and its files make real ones work."""

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from docs._ext.blocks import blocks
from tests.blocks import commands
from tests.processes import (
    ROOT,
    certificate,
    environment,
    free_port,
    nginx,
    serving,
    started,
    stop,
    wait_until,
)

PAGE = ROOT / "docs" / "howto" / "deployment.md"
FILES = PAGE.parent / "files"
BLOCKS = blocks(PAGE.read_text())
PAGE_FILES = {block.detail: block.text for block in BLOCKS if block.kind == "file"}
SERVES = [commands(block.text)[0].line for block in BLOCKS if block.kind == "serves"]
SITE = "shop.example.com"
# The app of the page, and what only a test wants to know of it.
MORE = """
from app import Shop


class More(Shop):
    async def login(self):
        self.request.session["user"] = "ada"

    async def ws_user(self, ws):
        await ws.accept()
        await ws.send_text(self.request.session.get("user", "no user"))

    async def put(self):
        return {"bytes": len(await self.request.body())}


app = More()
"""


UNVERIFIED = ssl._create_unverified_context()


def joined(name: str) -> str:
    """Return a file of the page, lines that go on in the next one put together."""
    return re.sub(r"\\\n\s*", "", (FILES / name).read_text())


def command(program: str) -> str:
    return next(line for line in SERVES if line.split()[0] == program)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, text in {**PAGE_FILES, "more.py": MORE}.items():
        (tmp_path / name).write_text(text.replace("graceful_timeout = 20", "graceful_timeout = 3"))
    return tmp_path


def quick(text: str) -> str:
    """Shorten the time that streams are waited for."""
    return re.sub(
        r'(graceful-shutdown|graceful-timeout|kill-timeout|graceful_shutdown":) 5', r"\1 1", text
    )


@contextlib.contextmanager
def running(line: str, folder: Path, log: Path):
    """Serve, and yield the process and its port."""
    port = free_port()
    variables = environment({"UVICORN_PORT": str(port), "PORT": str(port)})
    with started(
        ["bash", "-euo", "pipefail", "-c", f"exec {line}"], port, log, cwd=folder, env=variables
    ) as server:
        yield server, port


# --- the servers -------------------------------------------------------------------------------


# With the app that each of them serves behind a proxy.
PROGRAMS = {"uvicorn": "app:app", "gunicorn": "app:app", "daphne": "--proxy-headers app:app"}
PROGRAMS |= {"hypercorn": "behind_hypercorn:app", "granian": "behind_granian:app"}


def test_page_has_a_command_for_each_of_five_servers():
    assert {line.split()[0] for line in SERVES} == PROGRAMS.keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_websocket_echoes_under_each_server_of_the_page(program, folder, tmp_path):
    with (
        running(command(program), folder, tmp_path / "log") as (_, port),
        connect(f"ws://127.0.0.1:{port}/echo") as client,
    ):
        client.send("a pie")
        assert client.recv(timeout=60) == "a pie"


def promises() -> dict[str, tuple[bool, bool]]:
    """Read the page's table: by server, whether a stream's finally and the handlers run."""
    lines = PAGE.read_text().split("## Stop without", 1)[1].split("\n\n")
    table = next(part for part in lines if part.startswith("| server"))
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.strip().split("\n")[2:]
    ]
    return {row[0]: ("finally" in row[2], row[3] == "run") for row in rows}


STOPPED = {
    "uvicorn": command("uvicorn"),
    "Hypercorn": command("hypercorn"),
    "Granian": command("granian"),
    "Daphne": command("daphne"),
    "gunicorn, the file above": command("gunicorn"),
    "gunicorn alone": "gunicorn --config /dev/null "
    "--worker-class uvicorn_worker.UvicornWorker --graceful-timeout 5 "
    "--bind 127.0.0.1:${PORT:-8000} app:app",
}


def test_table_of_stops_has_a_row_for_each_server():
    assert promises().keys() == STOPPED.keys()


@pytest.mark.slow
@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="Hypercorn does not stop there while a connection is open"
)
@pytest.mark.parametrize("name", STOPPED)
def test_server_that_is_stopped_during_a_stream_does_what_the_table_says(name, folder, tmp_path):
    (folder / "gunicorn.conf.py").write_text(quick(PAGE_FILES["gunicorn.conf.py"]))
    log = tmp_path / "log"
    with (
        running(quick(STOPPED[name]), folder, log) as (server, port),
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client,
    ):
        client.request("GET", "/ticks")
        assert client.getresponse().readline() == b"data: 0\n"

        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
    text = log.read_text()
    cleaned, closed = promises()[name]
    assert ("the stream is closed" in text) is cleaned, text
    opened = text.count("the shop is open")
    assert (opened > 0 and text.count("the shop is closed") == opened) is closed, text


# --- behind nginx and Caddy --------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """A folder with a certificate for the site, which no authority has signed."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate(folder, SITE)
    return folder


def replaced(text: str, changes: dict[str, str], count: int = -1) -> str:
    """Return a text with changes, each of which must be possible."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, count)
    return text


@contextlib.contextmanager
def behind_nginx(folder: Path, certificates: Path, app_port: int, change=lambda site: site):
    """Run nginx with the page's file, and yield the ports of HTTPS and of HTTP."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    secure, plain = free_port(), free_port()
    changes = {
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
        "127.0.0.1:8000": f"127.0.0.1:{app_port}",
        f"/etc/letsencrypt/live/{SITE}": str(certificates),
        "/srv/shop/static/": f"{folder}/static/",
    }
    with nginx(folder, replaced(change((FILES / "nginx.conf").read_text()), changes), secure):
        yield secure, plain


def client_of(port: int, **headers: str) -> httpx.Client:
    """Return a client at another address than the proxy's."""
    transport = httpx.HTTPTransport(verify=False, local_address="127.0.0.2")
    return httpx.Client(
        transport=transport, base_url=f"https://127.0.0.1:{port}", headers={"host": SITE, **headers}
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_server_believes_headers_of_the_proxy_and_not_of_the_client(
    program, folder, certificates, tmp_path
):
    line = command(program).replace("app:app", PROGRAMS[program])
    with (
        running(line, folder, tmp_path / "log") as (_, app_port),
        behind_nginx(tmp_path, certificates, app_port) as (port, _),
        client_of(
            port, **{"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"}
        ) as client,
    ):
        seen = client.get("/").json()

    assert (seen["scheme"], seen["client"]) == ("https", "127.0.0.2")


@pytest.fixture
def more(folder, tmp_path):
    line = command("uvicorn").replace("app:app", "more:app")
    with running(line, folder, tmp_path / "log") as (_, port):
        yield port


def websocket_user(port: int, cookie: str) -> str:
    """Return the name of the user with a cookie, as a WebSocket of a page learns it."""
    options: dict[str, Any] = {"additional_headers": {"cookie": cookie}, "ssl": UNVERIFIED}
    options["origin"] = Origin(f"https://{SITE}")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        connect(f"wss://{SITE}/user", sock=connection, **options) as client,
    ):
        return str(client.recv(timeout=60))


def make_style(folder: Path) -> None:
    (folder / "static").mkdir()
    (folder / "static" / "style.css").write_text("body {}")


def check_file_stream_session_and_websocket(port: int, client: httpx.Client, **name: Any) -> None:
    assert client.get("/static/style.css", **name).text == "body {}"
    # Buffered, it takes minutes.
    with client.stream("GET", "/ticks", timeout=60, **name) as response:
        assert next(response.iter_lines()) == "data: 0"
    cookie = client.get("/login", **name).headers["set-cookie"]
    assert "Secure" in cookie
    assert websocket_user(port, cookie.partition(";")[0]) == "ada"


def test_nginx_carries_files_streams_bodies_sessions_and_websockets(more, certificates, tmp_path):
    make_style(tmp_path)
    with behind_nginx(tmp_path, certificates, more) as (port, plain), client_of(port) as client:
        check_file_stream_session_and_websocket(port, client)
        assert client.get("/static/style.css").headers["cache-control"] == "max-age=3600"

        assert client.post("/put", content=b"x" * 2**20).json() == {"bytes": 2**20}
        assert client.post("/put", content=b"x" * (17 * 2**20)).status_code == 413

        moved = httpx.get(f"http://127.0.0.1:{plain}/a?b=c", headers={"host": SITE})
        assert (moved.status_code, moved.headers["location"]) == (308, f"https://{SITE}/a?b=c")


def test_websocket_has_no_session_if_nginx_does_not_pass_the_host(more, certificates, tmp_path):
    without_host = functools.partial(re.sub, r".*proxy_set_header Host .*\n", "")
    with (
        behind_nginx(tmp_path, certificates, more, without_host) as (port, _),
        client_of(port) as client,
    ):
        cookie = client.get("/login").headers["set-cookie"].partition(";")[0]
        assert websocket_user(port, cookie) == "no user"


def test_app_below_a_path_of_nginx_has_its_root_path_and_cookie_path(
    folder, certificates, tmp_path
):
    root = "    location / {"
    prefix = (FILES / "nginx-prefix.conf").read_text()
    line = next(line for line in SERVES if "--root-path" in line).replace("app:app", "more:app")
    with (
        running(line, folder, tmp_path / "log") as (_, app_port),
        behind_nginx(
            tmp_path, certificates, app_port, lambda site: site.replace(root, f"{prefix}\n{root}")
        ) as (port, _),
        client_of(port) as client,
    ):
        assert client.get("/shop/").json()["root_path"] == "/shop"
        assert "Path=/shop;" in client.get("/shop/login").headers["set-cookie"]


def test_nginx_serves_from_the_other_machine_when_one_is_down(folder, certificates, tmp_path):
    line = command("uvicorn")
    with (
        running(line, folder, tmp_path / "one") as (one, first),
        running(line, folder, tmp_path / "two") as (_, second),
    ):
        upstream = (FILES / "nginx-upstream.conf").read_text()
        upstream = upstream.replace("10.0.0.11:8000", f"127.0.0.1:{first}").replace(
            "10.0.0.12:8000", "127.0.0.1:8000"
        )
        with_two = functools.partial(re.sub, r"upstream shop \{[^}]*\}", lambda _: upstream)
        with (
            behind_nginx(tmp_path, certificates, second, with_two) as (port, _),
            client_of(port) as client,
        ):
            assert [client.get("/health").status_code for _ in range(4)] == [200] * 4
            stop(one)
            assert [client.get("/health").status_code for _ in range(4)] == [200] * 4
    logs = [(tmp_path / name).read_text() for name in ("one", "two")]
    assert all("GET /health" in text for text in logs)


def test_caddy_carries_files_streams_sessions_and_websockets(more, tmp_path):
    if shutil.which("caddy") is None:
        pytest.skip("caddy is not installed")
    port = free_port()
    make_style(tmp_path)
    changes = {SITE: f"https://{SITE}:{port}", "127.0.0.1:8000": f"127.0.0.1:{more}"}
    changes["/srv/shop/static"] = f"{tmp_path}/static"
    site = replaced((FILES / "Caddyfile").read_text(), changes, 1)
    own = "{\n\tadmin off\n\tskip_install_trust\n\tlocal_certs\n\tauto_https disable_redirects\n}\n"
    (tmp_path / "Caddyfile").write_text(own + site)
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    with started(
        ["caddy", "run", "--config", tmp_path / "Caddyfile"],
        port,
        tmp_path / "caddy.log",
        env=environ,
    ):
        wait_until(
            lambda: speaks_tls(port),
            what="Caddy's certificate, which it makes when it listens already",
        )
        with client_of(port) as client:
            name: dict[str, Any] = {"extensions": {"sni_hostname": SITE}}
            seen = client.get("/", **name).json()
            assert (seen["scheme"], seen["client"]) == ("https", "127.0.0.2")
            check_file_stream_session_and_websocket(port, client, **name)


def speaks_tls(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        UNVERIFIED.wrap_socket(connection, server_hostname=SITE),
    ):
        return True
    return False


# --- the other files ---------------------------------------------------------------------------


def test_systemd_finds_no_fault_in_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (FILES / "micropie.service").read_text()
    program = "/srv/shop/.venv/bin/uvicorn"
    assert program in unit
    path = tmp_path / "shop.service"
    path.write_text(unit.replace(program, "/bin/true"))
    command = ["systemd-analyze", "verify", path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (result.returncode, result.stderr) == (0, "")


def test_command_of_the_unit_serves_the_app(folder):
    unit = joined("micropie.service")
    line = re.search(r"^ExecStart=/srv/shop/\.venv/bin/(.*)$", unit, re.MULTILINE)[1]
    port = free_port()

    with serving(line.replace("8000", str(port)), folder, port, {}):
        assert httpx.get(f"http://127.0.0.1:{port}/health").text == "ready\n"


def test_supervisors_wait_longer_than_the_server_for_its_end():
    def seconds(name: str, pattern: str) -> int:
        return int(re.search(pattern, joined(name))[1])

    unit, image = "micropie.service", "Dockerfile"
    assert seconds(unit, r"TimeoutStopSec=(\d+)") > seconds(unit, r"graceful-shutdown (\d+)")
    container = seconds("compose.yaml", r"stop_grace_period: (\d+)s")
    assert container > seconds(image, r'graceful-shutdown", "(\d+)"')


def test_commands_of_the_dockerfile_serve_and_check_the_app(folder, tmp_path):
    """The Dockerfile's COPY, CMD and HEALTHCHECK do what they say, without Docker."""
    text = joined("Dockerfile")
    inside, port = tmp_path / "image", free_port()
    inside.mkdir()
    shutil.copy(ROOT / "micropie.py", folder)
    shutil.copy(FILES / "docker-requirements.txt", folder / "requirements.txt")
    for copied in re.findall(r"^COPY (.*) \./?$", text, re.MULTILINE):
        for name in copied.split():
            shutil.copy(folder / name, inside)
    starts, checks = re.findall(r"CMD (\[.*\])$", text, re.MULTILINE)[::-1]
    start = [
        part.replace("0.0.0.0", "127.0.0.1").replace("8000", str(port))
        for part in json.loads(starts)
    ]
    check = [part.replace("8000", str(port)) for part in json.loads(checks)]
    environ = {key: value for key, value in environment({}).items() if key != "PYTHONPATH"}
    with started(start, port, tmp_path / "log", cwd=inside, env=environ):
        assert subprocess.run(check, cwd=inside, env=environ, timeout=60).returncode == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
            assert answer.read() == b"ready\n"
    assert {path.name for path in inside.iterdir()} >= {"app.py", "micropie.py", "requirements.txt"}
