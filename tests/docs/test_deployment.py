"""The pages on deployment are true. Servers stop as they say, and their files make real ones work.

tests/docs/test_pages.py runs what each page shows on one's own machine. Here are the files for
servers and platforms.
"""

import contextlib
import functools
import http.client
import ipaddress
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.sync.client import connect

from docs._ext.blocks import blocks
from tests.blocks import commands
from tests.containers import contained, joined
from tests.examples.crowd import Node
from tests.processes import (
    ROOT,
    certificate,
    environment,
    free_port,
    nginx,
    redis,
    serving,
    started,
    stop,
    wait_until,
)
from tests.proxies import NAME, SITE, caddy, client_of, replaced, websocket_of

HOWTO = ROOT / "docs" / "howto"
PAGE = HOWTO / "deployment.md"
FILES = HOWTO / "files"


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page has, by name."""
    found = blocks((HOWTO / page).read_text())
    return {
        block.detail: (HOWTO / block.file).read_text() if block.file else block.text
        for block in found
        if block.kind == "file"
    }


PAGE_FILES = files_of("deployment.md")
TRIAL, DEBIAN = files_of("nginx.md"), files_of("debian.md")
DOCKER, PAAS = files_of("docker.md"), files_of("paas.md")
SERVES = [
    commands(block.text)[0].line for block in blocks(PAGE.read_text()) if block.kind == "serves"
]
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


LARGE = """
from micropie import App


class Large(App):
    async def index(self):
        return bytes(30_000_000)


app = Large()
"""


get = functools.partial(httpx.get, timeout=60)


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
    variables = environment({"UVICORN_PORT": str(port)})
    typed = line.replace("8000", str(port))
    with started(
        ["bash", "-euo", "pipefail", "-c", f"exec {typed}"], port, log, cwd=folder, env=variables
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
    lines = PAGE.read_text().split("## Stop gracefully", 1)[1].split("\n\n")
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
    "--bind 127.0.0.1:8000 app:app",
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


@contextlib.contextmanager
def behind_nginx(folder: Path, certificates: Path, app_port: int, change=lambda site: site):
    """Run nginx with the page's file, and yield the ports of HTTPS and of HTTP."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    secure, plain = free_port(), free_port()
    changes = {
        "listen [::]:80;": "",
        "listen [::]:443 ssl http2;": "",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{secure} ssl http2;",
        "127.0.0.1:8000": f"127.0.0.1:{app_port}",
        f"/etc/letsencrypt/live/{SITE}": str(certificates),
        "/srv/shop/current/static/": f"{folder}/static/",
        "/var/www/html": str(folder),
    }
    with nginx(folder, replaced(change(DEBIAN["shop.nginx"]), changes), secure):
        yield secure, plain


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
    with websocket_of(port, "/user", cookie) as client:
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

        challenge = tmp_path / ".well-known" / "acme-challenge" / "token"
        challenge.parent.mkdir(parents=True)
        challenge.write_text("for certbot")
        path = "/.well-known/acme-challenge/token"
        answer = get(f"http://127.0.0.1:{plain}{path}", headers={"host": SITE})
        assert answer.text == "for certbot"
        moved = get(f"http://127.0.0.1:{plain}/a?b=c", headers={"host": SITE})
        assert (moved.status_code, moved.headers["location"]) == (308, f"https://{SITE}/a?b=c")


def test_websocket_has_no_session_if_nginx_does_not_pass_the_host(more, certificates, tmp_path):
    without_host = functools.partial(re.sub, r".*proxy_set_header Host .*\n", "")
    with (
        behind_nginx(tmp_path, certificates, more, without_host) as (port, _),
        client_of(port) as client,
    ):
        cookie = client.get("/login").headers["set-cookie"].partition(";")[0]
        assert websocket_user(port, cookie) == "no user"


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_during_a_stop_wait_for_workers_and_not_for_a_single_process(
    workers, folder, certificates, tmp_path
):
    line, log = f"{command('uvicorn')} --workers {workers}", tmp_path / "log"
    patient = replaced(line, {"graceful-shutdown 5": "graceful-shutdown 60"})
    with (
        running(quick(line) if workers > 1 else patient, folder, log) as (server, app_port),
        behind_nginx(tmp_path, certificates, app_port) as (port, _),
        client_of(port) as visitor,
        client_of(port) as client,
        visitor.stream("GET", "/ticks", timeout=60) as response,
    ):
        lines = response.iter_lines()  # without this name, the stream would end after a line
        next(lines)
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: "Waiting for connections to close" in log.read_text())
        # The worker without a connection answers until it ends.
        wait_until(lambda: log.read_text().count("Finished server process") >= workers - 1)

        assert client.get("/health", timeout=60).status_code == 502
        # Workers have ended by then, and a single process still waits for the stream.
        ended = "Cancel 1 running task" in log.read_text()
        assert ended is (workers > 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's nginx changes to another user")
@pytest.mark.parametrize("line", ["", "user root;\n"])
def test_large_responses_of_the_trial_need_a_line_if_root_starts_nginx(
    line, folder, certificates, tmp_path
):
    trial = tmp_path / "trial"
    trial.mkdir(mode=0o700)
    shutil.copy(certificates / "fullchain.pem", trial / "certificate.pem")
    shutil.copy(certificates / "privkey.pem", trial / "key.pem")
    (folder / "large.py").write_text(LARGE)
    secure = free_port()
    with running("uvicorn large:app", folder, tmp_path / "log") as (_, app_port):
        changes = {"8443": str(secure), "8080": str(free_port()), "8000": str(app_port)}
        (trial / "nginx.conf").write_text(line + replaced(TRIAL["trial/nginx.conf"], changes))
        start = ["nginx", "-p", trial, "-e", "error.log", "-c", "nginx.conf", "-g", "daemon off;"]
        with started(start, secure, tmp_path / "nginx.log"), client_of(secure) as client:
            whole = False
            # nginx needs its folder only if the client is slower than the app.
            needed = trial / "error.log" if line == "" else tmp_path / "log"
            with contextlib.suppress(httpx.RemoteProtocolError), client.stream("GET", "/") as got:
                wait_until(lambda: re.search("Permission denied|200 OK", needed.read_text()))
                whole = sum(map(len, got.iter_bytes())) == 30_000_000
    assert whole is (line != "")
    refused = "Permission denied" in (trial / "error.log").read_text()
    assert refused is not whole


@pytest.mark.parametrize("page", ["nginx.md", "caddy.md"])
def test_page_behind_a_proxy_goes_on_after_a_restart_of_the_app(
    page, browser, certificates, tmp_path
):
    for name, text in files_of(page).items():
        if name.endswith(".py"):
            (tmp_path / name).write_text(text)
    port = free_port()
    run = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    app = Node(run, port, tmp_path, tmp_path / "log").start()
    with (
        contextlib.closing(app),
        behind_nginx(tmp_path, certificates, port) as (secure, _),
        contextlib.closing(browser.new_context(ignore_https_errors=True)) as context,
    ):
        visitor = context.new_page()
        visitor.goto(f"https://127.0.0.1:{secure}/")
        for _ in range(2):
            visitor.get_by_text("Tick 2").wait_for()
            if page == "nginx.md":
                visitor.wait_for_function("echo.textContent === 'Connected'")
                visitor.get_by_label("Message").fill("hello")
                visitor.get_by_role("button", name="Send").click()
            visitor.get_by_text("The shop says hello").wait_for()
            with visitor.expect_response(lambda got: "ticks" in got.url and got.status == 502):
                app.kill()
            visitor.get_by_text("Connection lost").wait_for()
            app.start()


def test_certificate_for_a_name_that_is_not_public_is_where_the_site_has_it(tmp_path):
    [block] = [
        block.text for block in blocks((HOWTO / "debian.md").read_text()) if "openssl" in block.text
    ]
    (tmp_path / "shop.nginx").write_text(DEBIAN["shop.nginx"])
    changes = {"/etc/ssl/shop": str(tmp_path), "/srv/shop/current": str(tmp_path)}
    lines = [command.line for command in commands(replaced(block, changes))]
    subprocess.run(["bash", "-euc", "\n".join(lines)], check=True, timeout=60)

    site = (tmp_path / "shop.nginx").read_text()
    [certificate_file, key] = re.findall(r"ssl_certificate(?:_key)? +(.*);", site)
    check = ["openssl", "x509", "-noout", "-checkhost", SITE, "-in", certificate_file]
    assert "does match" in subprocess.check_output(check, text=True)
    assert Path(key).stat().st_mode & 0o077 == 0


def test_trial_and_server_of_the_page_pass_the_same_on():
    """Both files have the same lines for the app."""

    def lines(site: str) -> list[str]:
        location = site.rpartition("location / {")[2].partition("}")[0]
        return [line.partition("#")[0].strip() for line in location.strip().splitlines()]

    assert lines(TRIAL["trial/nginx.conf"]) == lines(DEBIAN["shop.nginx"])
    assert any("X-Forwarded-For" in line for line in lines(DEBIAN["shop.nginx"]))


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


def check_scheme_and_client(client: httpx.Client, path: str = "/") -> None:
    seen = client.get(path, **NAME).json()
    assert (seen["scheme"], seen["client"]) == ("https", "127.0.0.2")


def test_caddy_carries_files_streams_sessions_and_websockets(more, tmp_path):
    port = free_port()
    make_style(tmp_path)
    changes = {SITE: f"https://{SITE}:{port}", "127.0.0.1:8000": f"127.0.0.1:{more}"}
    changes["/srv/shop/current/static"] = f"{tmp_path}/static"
    site = replaced((FILES / "Caddyfile").read_text(), changes, 1)
    with caddy(tmp_path, site, port, {}), client_of(port) as client:
        check_scheme_and_client(client)
        check_file_stream_session_and_websocket(port, client, **NAME)


def test_caddy_of_the_containers_passes_requests_on(more, tmp_path):
    port = free_port()
    site = replaced(DOCKER["Caddyfile"], {"shop:8000": f"127.0.0.1:{more}"})
    variables = {"SITE": f"https://{SITE}:{port}"}
    with caddy(tmp_path, site, port, variables), client_of(port) as client:
        check_scheme_and_client(client)
        assert client.post("/put", content=b"x" * 2**20, **NAME).json() == {"bytes": 2**20}


def test_caddy_takes_the_path_away(more, tmp_path):
    port = free_port()
    changes = {"example.com": f"https://{SITE}:{port}", "127.0.0.1:8000": f"127.0.0.1:{more}"}
    site = replaced((FILES / "Caddyfile.prefix").read_text(), changes)
    with caddy(tmp_path, site, port, {}), client_of(port) as client:
        check_scheme_and_client(client, "/shop/")
        assert client.get("/", **NAME).text == "The rest of the site"


# --- systemd -----------------------------------------------------------------------------------


PROGRAM = "/srv/shop/current/.venv/bin/"


def test_systemd_finds_no_fault_in_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = replaced(DEBIAN["shop.service"], {f"{PROGRAM}uvicorn": "/bin/true"})
    path = tmp_path / "shop.service"
    path.write_text(unit)
    command = ["systemd-analyze", "verify", path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stderr) == (0, "")


def test_command_of_the_unit_serves_the_app_with_its_settings(tmp_path):
    found = re.search(rf"^ExecStart={PROGRAM}(.*)$", joined(DEBIAN["shop.service"]), re.MULTILINE)
    assert found
    port = free_port()
    for name in ("app.py", "database.py", "sqlite_sessions.py"):
        (tmp_path / name).write_text(TRIAL[name])
    state = tmp_path / "state"
    settings = dict(line.split("=", 1) for line in DEBIAN["shop.env"].split())
    settings["DATA"] = str(state)

    with serving(found[1].replace("8000", str(port)), tmp_path, port, settings):
        assert get(f"http://127.0.0.1:{port}/health").text == "ready\n"
        first = get(f"http://127.0.0.1:{port}/")
        cookie = first.headers["set-cookie"]
        assert "Secure" in cookie
        headers = {"cookie": cookie.partition(";")[0]}
        assert "yours: 2<" in get(f"http://127.0.0.1:{port}/", headers=headers).text
    assert "shop.sqlite3" in {path.name for path in state.iterdir()}


def test_line_for_cron_saves_the_database(tmp_path):
    if shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed")
    target = tmp_path / "backup"
    target.mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.sqlite3")) as database, database:
        database.execute("CREATE TABLE visits (id INTEGER)")
        database.execute("INSERT INTO visits VALUES (7)")
    changes = {"/var/lib/shop": str(tmp_path), "/var/backups/shop": str(target)}
    _, variable, line = replaced(DEBIAN["shop.cron"], changes).splitlines()
    key, value = variable.split("=")
    found = re.fullmatch(r"(?:[\d*]+ ){5}shop (.*)", line)
    assert found, line
    command = ["/bin/sh", "-c", found[1]]
    subprocess.run(command, env={"PATH": "/usr/bin:/bin", key: value}, check=True, timeout=60)

    assert [path.name for path in target.iterdir()] == ["shop.sqlite3"]
    with contextlib.closing(sqlite3.connect(target / "shop.sqlite3")) as copy:
        assert copy.execute("SELECT id FROM visits").fetchone() == (7,)


def seconds(text: str, pattern: str) -> int:
    found = re.search(pattern, joined(text))
    assert found, pattern
    return int(found[1])


def test_supervisors_wait_longer_than_the_server_for_its_end():
    waits = r'graceful-shutdown"?,? "?(\d+)'
    unit = DEBIAN["shop.service"]
    assert seconds(unit, r"TimeoutStopSec=(\d+)") > seconds(unit, waits)
    container = seconds(DOCKER["compose.yaml"], r"stop_grace_period: (\d+)s")
    assert container > seconds(DOCKER["Dockerfile"], waits)
    assert seconds(PAAS["fly.toml"], r"kill_timeout = (\d+)") > seconds(PAAS["Dockerfile"], waits)
    for name, key in {
        "render.yaml": "maxShutdownDelaySeconds",
        "railway.json": "drainingSeconds",
    }.items():
        assert seconds(PAAS[name], rf'{key}"?: (\d+)') > seconds(PAAS["Procfile"], waits)


# --- Docker ------------------------------------------------------------------------------------


@contextlib.contextmanager
def image_of(page: dict[str, str], folder: Path, more: dict[str, str]):
    """Run the image of a page, whose files are in a folder then."""
    context = folder / "context"
    context.mkdir()
    for name, text in page.items():
        (context / name).write_text(text)
    (context / "micropie-1-py3-none-any.whl").touch()
    with contained(context, folder, more) as running:
        yield running


def test_commands_of_the_dockerfile_serve_and_check_the_app(tmp_path):
    """The Dockerfile's COPY, CMD and HEALTHCHECK do what they say, without Docker."""
    data = {"DATA": str(tmp_path / "data")}
    with image_of(DOCKER, tmp_path, data) as image:
        [check] = image.checks
        subprocess.run(check, cwd=image.folder, env=image.environment, timeout=60, check=True)
        assert get(f"http://127.0.0.1:{image.port}/health").text == "ready\n"
        assert get(f"http://127.0.0.1:{image.port}/").text == "Visits: 1\n"
    assert (tmp_path / "data" / "shop.db").exists()
    assert "DATA=/data" in DOCKER["Dockerfile"]
    assert "/data" in DOCKER["compose.yaml"]


def test_compose_defines_everything_that_it_names(tmp_path):
    composed = yaml.safe_load(DOCKER["compose.yaml"])
    services = composed["services"]
    for service in services.values():
        assert service.keys() & {"build", "image"}
        assert service.get("depends_on", {}).keys() <= services.keys()
        assert set(service.get("networks", [])) <= composed["networks"].keys()
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            known = source.removeprefix("./") in DOCKER if source.startswith(".") else False
            assert known or source in composed["volumes"], source
    assert {"80:80", "443:443"} == set(services["caddy"]["ports"])
    assert "ports" not in services["shop"]
    assert "reverse_proxy shop:8000" in DOCKER["Caddyfile"]
    [network] = composed["networks"]["inside"]["ipam"]["config"]
    assert network["subnet"] == services["shop"]["environment"]["FORWARDED_ALLOW_IPS"]
    # Compose waits for the health check, so the image must have one.
    assert services["caddy"]["depends_on"]["shop"]["condition"] == "service_healthy"
    assert "HEALTHCHECK" in DOCKER["Dockerfile"]


# --- platforms ---------------------------------------------------------------------------------


def test_all_platforms_start_the_app_of_the_procfile():
    processes = dict(line.split(": ", 1) for line in PAAS["Procfile"].splitlines())
    render = yaml.safe_load(PAAS["render.yaml"])["services"]
    fly, railway = tomllib.loads(PAAS["fly.toml"]), json.loads(PAAS["railway.json"])["deploy"]
    web, store = render

    assert web["startCommand"] == processes["web"]
    assert "Procfile" in railway["startCommand"]
    releases = [web["preDeployCommand"], fly["deploy"]["release_command"]]
    assert {*releases, *railway["preDeployCommand"]} == {processes["release"]}
    [check] = fly["http_service"]["checks"]
    paths = {web["healthCheckPath"], check["path"], railway["healthcheckPath"]}
    assert paths == {"/health"}
    assert f'"{fly["http_service"]["internal_port"]}"' in PAAS["Dockerfile"]
    assert store["name"] in {each.get("fromService", {}).get("name") for each in web["envVars"]}


def test_image_for_a_platform_serves_the_app(tmp_path):
    with redis() as variables, image_of(PAAS, tmp_path, variables) as image:
        assert get(f"http://127.0.0.1:{image.port}/health").text == "ready\n"


def test_session_backend_of_the_page_is_the_one_of_the_example():
    example = ROOT / "examples" / "session_backends" / "redis_sessions.py"

    assert PAAS["redis_sessions.py"] == example.read_text()


def test_forwarded_addresses_of_the_platforms_are_networks():
    fly = tomllib.loads(PAAS["fly.toml"])["env"]["FORWARDED_ALLOW_IPS"]
    for page in (HOWTO / "paas.md").read_text(), f"FORWARDED_ALLOW_IPS={fly}":
        for found in re.findall(r"FORWARDED_ALLOW_IPS=([\w.:/,]+)", page):
            for network in found.split(","):
                assert not ipaddress.ip_network(network).is_global
