"""The promises of the guides for mails, object stores and schedules, beyond what they show."""

import asyncio
import base64
import contextlib
import datetime
import email
import importlib
import json
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from email import policy
from pathlib import Path

import asyncpg
import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from docs._ext.blocks import blocks
from tests.clock import VirtualLoop, elapse
from tests.examples import harness
from tests.examples.browsing import Browsing
from tests.examples.crowd import Node
from tests.processes import (
    ROOT,
    certificate,
    environment,
    free_port,
    postgresql,
    redis,
    serving,
    started,
    until,
    wait_until,
)

HOWTO = ROOT / "docs/howto"


def write(page, folder, *changes):
    """Write the files of a guide into a folder; each change is a text and what replaces it."""
    for block in blocks((HOWTO / page).read_text()):
        if block.kind == "file":
            text = (HOWTO / block.file).read_text() if block.file else block.text
            for old, new in changes:
                text = text.replace(old, new)
            path = folder / block.detail
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that imports a file of a guide, with those beside it."""
    known = set(sys.modules)

    def load_one(page, name):
        write(page, tmp_path)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        return importlib.import_module(name)

    yield load_one
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


# --- Mails ---------------------------------------------------------------------------------------


class Mailbox(list):
    """Keeps what a mail server gets: whether it was encrypted, the user, the recipients."""

    answer = "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if not self.answer.startswith("250"):
            return self.answer
        envelope.rcpt_tos.append(address)
        return self.answer

    async def handle_DATA(self, server, session, envelope):
        encrypted = server.transport.get_extra_info("ssl_object") is not None
        user = session.auth_data and session.auth_data.login.decode()
        self.append((encrypted, user, envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def mail(load, monkeypatch):
    module = load("email.md", "mail")
    monkeypatch.setattr(module, "HOST", "localhost")
    monkeypatch.setattr(module, "SECURITY", "none")
    return module


@pytest.fixture
def message(mail):
    return mail.compose("ada@example.com", "A pie", "text", "<p>text")


@contextlib.contextmanager
def mail_server(mail, monkeypatch, port=None, **options):
    """Run a mail server, to which the module sends."""
    box = Mailbox()
    port = port or free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, **options)
    controller.start()
    monkeypatch.setattr(mail, "PORT", port)
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """The context of a server whose certificate the module trusts."""
    chain, key = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    return context


def knows(server, session, envelope, mechanism, data):
    """Let in one user."""
    return AuthResult(success=data.password == b"secret", auth_data=data)


# aiosmtpd doesn't know that the whole connection is encrypted.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_encrypted_and_the_user_is_known(mail, message, tls, security, monkeypatch):
    options = {"authenticator": knows, "auth_required": True}
    if security == "starttls":
        options |= {"tls_context": tls, "require_starttls": True}
    else:
        options |= {"ssl_context": tls, "auth_require_tls": False}
    for name, value in {"SECURITY": security, "USER": "shop", "PASSWORD": "secret"}.items():
        monkeypatch.setattr(mail, name, value)
    with mail_server(mail, monkeypatch, **options) as box:
        mail.send(message)

    [(encrypted, user, recipients, content)] = box
    assert (encrypted, user, recipients) == (True, "shop", ["ada@example.com"])
    assert b"<p>text" in content


@pytest.mark.parametrize(
    ("offered", "trusted", "error"),
    [(False, True, smtplib.SMTPNotSupportedError), (True, False, ssl.SSLCertVerificationError)],
    ids=["no STARTTLS", "a certificate of another"],
)
def test_mail_is_never_sent_without_encryption(
    mail, message, tls, offered, trusted, error, monkeypatch
):
    monkeypatch.setattr(mail, "SECURITY", "starttls")
    if not trusted:
        monkeypatch.delenv("SSL_CERT_FILE")
    options = {"tls_context": tls} if offered else {}
    with mail_server(mail, monkeypatch, **options) as box, pytest.raises(error):
        mail.send(message)

    assert box == []


def test_silent_mail_server_is_given_up(mail, message, monkeypatch):
    monkeypatch.setattr(mail, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(mail, "PORT", silent.getsockname()[1])
        with pytest.raises(OSError, match="timed out"):
            mail.send(message)


@pytest.mark.parametrize(
    "text",
    ["", " ", "ada", "ada@", "@b.se", "a@b.se, c@d.se", "a@b.se\nBcc: c@d.se", "<a@b.se>", "a@b>"]
    + ["a b@c.se", "ä@b.se", "a@b.se\0", "(", '"', "a@b..se", "a@[b"],
)
def test_text_that_is_not_one_address_is_refused(mail, text):
    with pytest.raises(ValueError, match=r"."):
        mail.compose(text, "A pie", "", "")


@pytest.mark.parametrize("subject", ["Ada\n", "Ada\r", "Ada\r\nBcc: a@b.se", "Ada\u2028"])
def test_subject_of_more_than_one_line_is_refused(mail, subject):
    with pytest.raises(ValueError, match="one line"):
        mail.compose("ada@example.com", subject, "", "")


NOISE = st.text('ab@.,:;<>()[]"\\ \t\r\n\0ä=?_-|', max_size=2)


@given(st.builds("{}a@b{}.se{}".format, NOISE, NOISE, NOISE), st.text(max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_mail_that_is_composed_has_one_recipient_and_one_subject(mail, address, subject):
    try:
        content = mail.compose(address, subject, "text", "").as_bytes(policy=policy.SMTP)
    except ValueError:
        return
    parsed = email.message_from_bytes(content, policy=policy.default)

    assert len(parsed["to"].addresses) == len(parsed.get_all("subject")) == 1
    assert len(parsed.keys()) == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [("SECURITY", "ssl"), ("SECURITY", ""), ("SENDER", ""), ("SENDER", "Pie shop")],
)
def test_wrong_settings_are_refused_with_their_name(mail, name, value, monkeypatch):
    monkeypatch.setattr(mail, name, value)
    variable = {"SECURITY": "SMTP_SECURITY", "SENDER": "MAIL_FROM"}[name]
    with pytest.raises(ValueError, match=variable):
        mail.check_settings()


ABROAD = "ada@münchen.example"  # aiosmtpd takes no such address, unless it is told to


@pytest.mark.parametrize(
    ("to", "answer", "status"),
    [
        ("ada@example.com", "550 no such user", 422),
        ("ada@example.com", "450 later, please", 503),
        (ABROAD, "250 OK", 422),
    ],
)
def test_order_tells_a_wrong_address_from_a_server_that_is_busy(
    mail, to, answer, status, monkeypatch
):
    app = importlib.import_module("app").app
    with mail_server(mail, monkeypatch, enable_SMTPUTF8=False) as server:
        server.answer = answer
        assert asyncio.run(order(app, to)).status_code == status


async def order(app, to):
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post("/order", data={"name": "Ada", "email": to})


@pytest.fixture
def outbox(mail, monkeypatch):
    module = importlib.import_module("outbox")
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(module, "DELAYS", [0.05, 0.05])
    return module


async def run_until(boxes, condition):
    for one in boxes:
        await one.start()
    try:
        await until(condition, 30, "the outbox")
    finally:
        for one in boxes:
            await one.stop()


def test_mails_wait_for_the_server_and_each_is_sent_once(mail, outbox, monkeypatch):
    monkeypatch.setattr(outbox, "DELAYS", [0.05] * 1000)
    port = free_port()
    monkeypatch.setattr(mail, "PORT", port)
    box = outbox.Outbox("mails.sqlite3")
    for number in range(20):
        box.add(mail.compose(f"ada{number}@example.com", "A pie", "text", "<p>text"))

    def three():
        return [outbox.Outbox("mails.sqlite3") for _ in range(3)]

    asyncio.run(run_until(three(), lambda: tries(outbox) >= 5))
    assert box.waiting() == (20, 0)
    with mail_server(mail, monkeypatch, port) as received:
        asyncio.run(run_until(three(), lambda: box.waiting() == (0, 0)))

    assert sorted(to for _, _, [to], _ in received) == sorted(
        f"ada{number}@example.com" for number in range(20)
    )


def tries(outbox):
    with outbox.Outbox("mails.sqlite3")._transaction() as db:
        return db.execute("SELECT sum(tries) FROM mails").fetchone()[0]


@pytest.mark.parametrize(
    ("to", "answer", "expected_tries"),
    [
        ("ada@example.com", "550 no such user", 1),
        ("ada@example.com", "450 later, please", 3),
        (ABROAD, "250 OK", 1),
    ],
)
def test_mail_is_given_up_at_once_or_after_some_attempts(
    mail, outbox, to, answer, expected_tries, monkeypatch
):
    box = outbox.Outbox("mails.sqlite3")
    box.add(mail.compose(to, "A pie", "text", "<p>text"))
    with mail_server(mail, monkeypatch, enable_SMTPUTF8=False) as server:
        server.answer = answer
        asyncio.run(run_until([box], lambda: box.waiting() == (0, 1)))

    assert tries(outbox) == expected_tries


def test_mail_of_a_killed_worker_is_sent_by_another_one(mail, message, outbox, monkeypatch):
    box = outbox.Outbox("mails.sqlite3")
    box.add(message)
    assert box._claim() is not None  # and then the worker is killed
    assert box._claim() is None
    with box._transaction() as db:  # the time passes
        db.execute("UPDATE mails SET due = due - ?", (outbox.LEASE,))
    with mail_server(mail, monkeypatch) as server:
        asyncio.run(run_until([box], lambda: box.waiting() == (0, 0)))

    assert len(server) == 1


# --- Object stores -------------------------------------------------------------------------------


STORE = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_DEFAULT_REGION": "us-east-1",
    "BUCKET": "pies",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The variables that lead to a running store."""
    port = free_port()
    folder = tmp_path_factory.mktemp("store")
    command = [str(Path(sys.executable).parent / "moto_server"), "--port", str(port)]
    with started(command, port, folder / "log", env=environment({})):
        yield {**STORE, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}


@pytest.fixture
def files(store, tmp_path):
    """Return a function that serves the app of the guide, and returns its client."""
    with contextlib.ExitStack() as stack:

        def serve(changes=(), *, errors=False, **variables):
            write("object-storage.md", tmp_path, *changes)
            (tmp_path / ".env").unlink()
            port = free_port()
            more = {**store, "BASE_URL": f"http://127.0.0.1:{port}", **variables}
            if not variables:
                command = [sys.executable, "make_bucket.py"]
                subprocess.run(command, cwd=tmp_path, env=environment(more), check=True, timeout=60)
            line = f"uvicorn app:app --port {port} & echo $! > pid; wait"
            stack.enter_context(serving(line, tmp_path, port, more, errors=errors))
            return stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
            )

        yield serve


def most_memory(folder):
    """Return the most bytes that the server has ever had in memory."""
    status = Path(f"/proc/{(folder / 'pid').read_text().strip()}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_large_file_is_never_in_memory_as_a_whole(files, tmp_path):
    size = 150_000_000
    client = files([("LIMIT = 50_000_000", "LIMIT = 500_000_000")])
    (tmp_path / "small.bin").write_bytes(bytes(9_000_000))
    (tmp_path / "large.bin").write_bytes(bytes(size))

    def there_and_back(name):
        with (tmp_path / name).open("rb") as file:
            key = client.post("/upload", files={"file": file}).json()["key"]
        with client.stream("GET", f"/through/{key}") as response:
            return sum(map(len, response.iter_raw()))

    there_and_back("small.bin")
    before = most_memory(tmp_path)
    assert there_and_back("large.bin") == size
    assert most_memory(tmp_path) - before < 40_000_000


def test_file_over_the_limit_is_refused_both_ways(files):
    client = files([("LIMIT = 50_000_000", "LIMIT = 1000"), ("+ 10_000", "+ 500")])
    refused = client.post("/upload", files={"file": bytes(2000)})
    ticket = client.post("/ticket").json()
    sent = httpx.post(ticket["url"], data=ticket["fields"], files={"file": bytes(2000)}, timeout=60)
    finished = client.post("/finish", data={"key": ticket["key"], "name": "pie.png"})
    again = client.post("/finish", data={"key": ticket["key"], "name": "pie.png"})

    assert (refused.status_code, sent.status_code) == (413, 204)  # moto takes any size
    assert (finished.status_code, again.status_code) == (413, 404)
    assert client.get(f"/through/{ticket['key']}").status_code == 404


def test_empty_file_is_refused(files):
    client = files()
    ticket = client.post("/ticket").json()
    sent = httpx.post(ticket["url"], data=ticket["fields"], files={"file": b""}, timeout=60)
    finished = client.post("/finish", data={"key": ticket["key"], "name": "pie.png"})

    assert (sent.status_code, finished.status_code) == (204, 422)
    assert "1 to 50000000 bytes" in finished.text


def test_unknown_file_is_a_404_of_the_app(files):
    response = files().get("/files/" + "x" * 22)

    assert (response.status_code, response.text) == (404, "There is no such file.\n")


def test_file_that_a_script_has_put_without_headers_can_be_read(files, store, tmp_path):
    client = files()
    key = "y" * 22
    code = (
        f"import storage as s; s.client.put_object(Bucket=s.BUCKET, Key='files/{key}', Body=b'x')"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=tmp_path, env=environment(store), check=True, timeout=60)
    response = client.get(f"/through/{key}")

    assert (response.status_code, response.content) == (200, b"x")
    assert response.headers["content-disposition"] == "attachment"


def test_ticket_is_for_one_key_and_a_range_of_sizes(files):
    fields = files().post("/ticket").json()["fields"]
    policy = json.loads(base64.b64decode(fields["policy"]))
    expires = datetime.datetime.fromisoformat(policy["expiration"])
    left = (expires - datetime.datetime.now(datetime.UTC)).total_seconds()

    assert ["content-length-range", 1, 50_000_000] in policy["conditions"]
    assert {"key": fields["key"]} in policy["conditions"]
    assert fields["key"].startswith("incoming/")
    assert 200 < left <= 300


def test_file_has_the_name_of_the_visitor_and_is_never_shown(files):
    client = files()
    sent = client.post("/upload", files={"file": ("Käse & <b>.html", b"<script>", "text/html")})
    for way in ("files", "through"):
        url = f"/{way}/{sent.json()['key']}"
        response = client.get(url, follow_redirects=True)

        assert response.headers["content-type"] == "application/octet-stream"
        disposition = response.headers["content-disposition"]
        assert disposition == "attachment; filename*=UTF-8''K%C3%A4se%20%26%20%3Cb%3E.html"
        assert response.content == b"<script>"


def waiting_connections(server):
    """Return how many clients have connected to a server that has accepted none."""
    server.settimeout(0)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_silent_store_costs_the_others_nothing(files):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = files([("read_timeout=5", "read_timeout=3")], AWS_ENDPOINT_URL_S3=endpoint)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.post, "/upload", files={"file": b"pie"})
            page = client.get("/")
            page_came = not waiting.done()
            response = waiting.result()
        attempts = waiting_connections(silent)

    assert (page.status_code, page_came) == (200, True)
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")
    assert attempts == 2


@contextlib.contextmanager
def store_that_breaks_off():
    """Run a store that sends half a file and closes the connection; yield its address."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: x/y\r\ncontent-disposition: attachment\r\n"

    def answer(server):
        with contextlib.suppress(OSError):  # the test has closed the server
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(head + b"content-length: 2000000\r\n\r\n" + bytes(10**6))

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(answer, server)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_download_that_breaks_off_never_looks_whole(files):
    with store_that_breaks_off() as endpoint:
        client = files(errors=True, AWS_ENDPOINT_URL_S3=endpoint)
        with (
            pytest.raises(httpx.RemoteProtocolError),
            client.stream("GET", "/through/" + "x" * 22) as response,
        ):
            status = response.status_code
            response.read()

    assert status == 200


def test_link_for_put_is_for_one_size(files, store, tmp_path):
    files()
    code = (
        "import storage; what = {'Bucket': 'b', 'Key': 'k', 'ContentLength': 5000};"
        "print(storage.client.generate_presigned_url('put_object', what))"
    )
    command = [sys.executable, "-c", code]
    link = subprocess.run(
        command, cwd=tmp_path, env=environment(store), check=True, timeout=60, capture_output=True
    ).stdout

    assert b"X-Amz-SignedHeaders=content-length%3Bhost" in link


# --- Schedules -----------------------------------------------------------------------------------


# Claims one run, and tells in files what it does: it starts, and is done after a while.
WORKER = """
import asyncio, os, sys
from pathlib import Path

async def job():
    Path(f"started-{os.getpid()}").touch()
    await asyncio.sleep(float(sys.argv[1]))

async def main():
    while True:  # as `Every` does
        if await claim(job):
            Path(f"done-{os.getpid()}").touch()
            return
        await asyncio.sleep(0.05)
"""
WITH_REDIS = """
from redis.asyncio import Redis
import once
once.LONGEST = float(sys.argv[2])

async def claim(job):
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        return await once.once(redis, "report", job)

asyncio.run(main())
"""
WITH_POSTGRESQL = """
import asyncpg
import once_postgresql

async def claim(job):
    async with asyncpg.create_pool(os.environ["POSTGRESQL_URL"], min_size=1) as pool:
        return await once_postgresql.once(pool, "report", lambda db: job())

asyncio.run(main())
"""


@pytest.fixture(params=["redis", "postgresql"])
def worker(request, tmp_path):
    """Return a function that starts a process which wants to do the job of the day."""
    write("scheduled-jobs.md", tmp_path, ("ex=LONGEST + 10", "px=int(LONGEST * 1500)"))
    processes = []
    with {"redis": redis, "postgresql": postgresql}[request.param]() as variables:
        url = variables.get("POSTGRESQL_URL", "").replace("+asyncpg", "")
        more = {**variables, "POSTGRESQL_URL": url}
        script = WITH_REDIS if request.param == "redis" else WITH_POSTGRESQL
        (tmp_path / "worker.py").write_text(WORKER + script)
        if url:
            asyncio.run(make_table(url, tmp_path))

        def start(seconds, longest=60):
            command = [sys.executable, "worker.py", str(seconds), str(longest)]
            process = subprocess.Popen(command, cwd=tmp_path, env=environment(more))
            processes.append(process)
            return process

        yield start
        for process in processes:
            process.kill()
            process.wait(30)


async def make_table(url, folder):
    found = {}
    exec((folder / "once_postgresql.py").read_text(), found)  # noqa: S102
    connection = await asyncpg.connect(url)
    await connection.execute(found["TABLE"])
    await connection.close()


def seen(folder, what):
    return sorted(path.name for path in folder.glob(f"{what}-*"))


def test_one_of_two_processes_does_the_job(worker, tmp_path):
    processes = [worker(0.3), worker(0.3)]
    wait_until(lambda: seen(tmp_path, "done"), 30, "the job")
    # The other one looks again and again. It has looked once more after this one's end.
    [finished] = [one for one in processes if seen(tmp_path, "done") == [f"done-{one.pid}"]]
    finished.wait(30)
    late = worker(0)
    with pytest.raises(subprocess.TimeoutExpired):
        late.wait(2)

    assert len(seen(tmp_path, "started")) == len(seen(tmp_path, "done")) == 1


def test_job_of_a_killed_process_is_done_by_the_other(worker, tmp_path):
    first = worker(60, longest=1)
    wait_until(lambda: seen(tmp_path, "started"), 30, "the job")
    second = worker(0)
    first.send_signal(signal.SIGKILL)
    second.wait(30)

    assert seen(tmp_path, "done") == [f"done-{second.pid}"]


def test_app_with_postgresql_makes_one_report(load, monkeypatch):
    with postgresql() as variables:
        url = variables["POSTGRESQL_URL"].replace("+asyncpg", "")
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("HOUR", "0")
        monkeypatch.setenv("PAUSE", "0.01")
        module = load("scheduled-jobs.md", "shared_postgresql")
        first, second = module.Root(), module.Root()
        asyncio.run(look_until_done(first, second))

    assert first._reports + second._reports == 1


async def look_until_done(*apps):
    for app in apps:
        await app._open()
    await asyncio.gather(*(app._look() for app in apps))
    await apps[0]._look()
    for app in apps:
        await app._close()


def test_wrong_hour_gives_one_error(load, monkeypatch):
    module = load("scheduled-jobs.md", "nightly")
    monkeypatch.setattr(module, "HOUR", "25")

    async def start_and_stop():
        app = module.Root()
        with pytest.raises(ValueError, match="25"):
            await app._start()
        await app._stop()

    asyncio.run(start_and_stop())


def test_job_that_fails_is_tried_again(load):
    once = load("scheduled-jobs.md", "once").once
    from redis.asyncio import Redis

    async def fail():
        raise ValueError("a bug")

    async def work():
        done.append(1)

    async def look():
        async with Redis.from_url(variables["REDIS_URL"]) as client:
            with pytest.raises(ValueError, match="a bug"):
                await once(client, "report", fail)
            return [await once(client, "report", work) for _ in range(2)]

    done = []
    with redis() as variables:
        assert asyncio.run(look()) == [True, False]
    assert done == [1]


@contextlib.contextmanager
def virtual_loop():
    """An event loop without waiting, and the wall clock that goes with it."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


class Wall:
    """The clock of APScheduler: the loop's time from an evening on, and what it jumped."""

    MODULES = ("apscheduler.schedulers.base", "apscheduler.executors.base")

    def __init__(self, monkeypatch):
        self.jumped = datetime.timedelta()
        wall = self

        class Clock(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return wall.now().astimezone(tz)

        for module in self.MODULES:
            monkeypatch.setattr(importlib.import_module(module), "datetime", Clock)

    def now(self):
        evening = datetime.datetime(2027, 3, 14, 20, tzinfo=datetime.UTC)
        passed = datetime.timedelta(seconds=asyncio.get_running_loop().time())
        return evening + passed + self.jumped


def test_job_runs_after_a_jump_of_the_clock_and_not_again_after_a_jump_back(load, monkeypatch):
    app = load("scheduled-jobs.md", "nightly").app
    wall = Wall(monkeypatch)
    seen_reports = []

    async def nights():
        await app._start()
        await elapse(120)  # so that the scheduler has computed how long it waits
        for hours in (6.5, -6.5, 0):  # to 2:30 UTC, half an hour after three in Berlin, and back
            wall.jumped += datetime.timedelta(hours=hours)
            await elapse(120)
            seen_reports.append(app._reports)
        await elapse(24 * 3600)
        seen_reports.append(app._reports)
        await app._stop()

    with virtual_loop() as runner:
        runner.run(nights())

    assert seen_reports == [1, 1, 1, 1]


def test_job_in_a_loop_goes_on_after_an_error_and_ends_with_the_app(load):
    every = load("scheduled-jobs.md", "every")
    rounds = []

    class Hooks:
        startup_handlers: list = []
        shutdown_handlers: list = []

    async def job():
        rounds.append(asyncio.get_running_loop().time())
        await elapse(90)  # longer than the pause
        raise ValueError("a bug")

    async def hours():
        every.Every(Hooks, 60, job)
        await Hooks.startup_handlers[0]()
        await elapse(400)
        await Hooks.shutdown_handlers[0]()
        await elapse(400)

    with virtual_loop() as runner:
        runner.run(hours())

    assert rounds == [60, 210, 360]


@pytest.mark.parametrize(
    "page, names",
    [
        ("background-jobs.md", ["shop-worker.service"]),
        ("scheduled-jobs.md", ["report.service", "report.timer"]),
        ("scheduled-jobs.md", ["shop-scheduler.service"]),
    ],
)
def test_systemd_finds_no_fault_in_the_units(page, names, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    programs = [f"/srv/shop/current/.venv/bin/{name}" for name in ("python", "taskiq")]
    write(page, tmp_path, *((program, "/bin/true") for program in programs))
    command = ["systemd-analyze", "verify", *(tmp_path / name for name in names)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stderr) == (0, "")


@contextlib.contextmanager
def queue_of(page, folder):
    """Give Redis, which a test can restart, and variables for a program of a page."""
    write(page, folder)
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    node = Node(command, port, folder, folder / "redis").start()
    with contextlib.closing(node):
        yield node, {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}


def state_of(client, answer):
    assert answer.status_code == 202, answer.text
    return client.get(f"/result/{answer.json()['job']}").json()["state"]


def test_app_with_a_queue_says_that_redis_is_down_and_goes_on_after_its_restart(tmp_path):
    with (
        queue_of("background-jobs.md", tmp_path) as (node, variables),
        serving("uvicorn queued:app", tmp_path, port := free_port(), variables),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        for is_asked_meanwhile in (False, True, False):
            assert state_of(client, client.post("/count", data={"limit": 9})) == "waiting"
            node.kill()
            if is_asked_meanwhile:
                for answer in (client.post("/count", data={"limit": 9}), client.get("/result/1")):
                    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            node.start()
        assert state_of(client, client.post("/count", data={"limit": 9})) == "waiting"


def test_worker_of_a_queue_ends_its_job_when_it_is_told_to_stop(tmp_path):
    with (
        queue_of("background-jobs.md", tmp_path) as (_, variables),
        serving("uvicorn queued:app", tmp_path, port := free_port(), variables),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        harness.queue_worker("tasks", tmp_path, variables) as (worker, log),
    ):
        wait_until(lambda: "Listening started" in log.read_text())
        job = client.post("/count", data={"limit": 20_000_000})
        wait_until(lambda: "Executing task" in log.read_text())
        os.killpg(worker.pid, signal.SIGSTOP)  # or it might be done before the next line is
        assert state_of(client, job) == "waiting"
        worker.send_signal(signal.SIGTERM)
        os.killpg(worker.pid, signal.SIGCONT)
        assert worker.wait(60) == 0
        assert state_of(client, job) == "done"


def test_report_of_a_night_is_made_once_though_it_waits_twice_in_the_queue(load, monkeypatch):
    made = []

    async def make_report():
        made.append(1)

    async def runs():
        try:
            return [await module.report() for _ in range(3)]
        finally:
            await module.broker.shutdown()

    with redis() as variables:
        monkeypatch.setenv("REDIS_URL", variables["REDIS_URL"])
        module = load("scheduled-jobs.md", "nightly_tasks")
        monkeypatch.setattr(module, "make_report", make_report)
        assert asyncio.run(runs()) == [True, False, False]
    assert made == [1]


def lost_runs(log):
    return log.read_text().count("taskiq.exceptions.SendTaskError:")


def test_runs_wait_for_a_worker_and_are_lost_while_redis_is_down(tmp_path):
    cleaned, log = tmp_path / "cleaned.txt", tmp_path / "log"
    command = [sys.executable, "-m", "taskiq", "scheduler", "nightly_tasks:scheduler"]
    with (
        queue_of("scheduled-jobs.md", tmp_path) as (node, variables),
        Redis.from_url(variables["REDIS_URL"]) as queue,
        log.open("wb") as file,
        subprocess.Popen(
            command, cwd=tmp_path, env=environment(variables), stdout=file, stderr=file
        ) as scheduler,
    ):
        try:
            wait_until(lambda: queue.llen("nightly") >= 3)
            with harness.queue_worker("nightly_tasks", tmp_path, variables):
                wait_until(lambda: cleaned.exists() and len(cleaned.read_text().split()) >= 3)
            node.kill()
            wait_until(lambda: lost_runs(log) >= 5)  # one each second
            begun = time.monotonic()
            node.start()
            waiting = wait_until(lambda: queue.llen("nightly"))
            assert waiting <= time.monotonic() - begun + 2  # none of those that were lost
        finally:
            scheduler.terminate()


# --- Functions -----------------------------------------------------------------------------------


@pytest.fixture
def event_loop_of_a_function():
    """The event loop that Mangum uses, and would otherwise leave open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
    asyncio.set_event_loop(None)


def rest_event(path, query):
    """Return an event of API Gateway's older kind, with a stage."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "GET",
        "headers": {"host": "abc.execute-api.eu-central-1.amazonaws.com"},
        "multiValueHeaders": {"host": ["abc.execute-api.eu-central-1.amazonaws.com"]},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
        "requestContext": {"stage": "prod", "identity": {"sourceIp": "203.0.113.9"}},
        "body": None,
        "isBase64Encoded": False,
    }


def balancer_event(path, query):
    """Return an event of a load balancer, with values in lists."""
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "httpMethod": "GET",
        "path": path,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
        "multiValueHeaders": {"host": ["shop.example.com"], "x-forwarded-for": ["203.0.113.9"]},
        "body": "",
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("event", [rest_event, balancer_event], ids=["REST", "balancer"])
@pytest.mark.usefixtures("event_loop_of_a_function")
def test_function_answers_events_of_other_gateways(load, event):
    handler = load("serverless.md", "lambda_function").handler
    hello = handler(event("/", {"name": "Ada"}), None)
    moved = handler(event("/theme", {"color": "dark"}), None)

    assert (hello["statusCode"], hello["body"]) == (200, "Hello, Ada!\n")
    headers = {**moved.get("headers", {}), **moved["multiValueHeaders"]}
    assert headers["set-cookie"] in ("theme=dark; Secure", ["theme=dark; Secure"])
    assert headers["location"] in ("/", ["/"])


@pytest.mark.usefixtures("event_loop_of_a_function")
def test_function_below_a_stage_finds_its_handlers(load):
    load("serverless.md", "lambda_function")
    from app import app  # type: ignore[import-not-found]
    from mangum import Mangum

    handler = Mangum(app, api_gateway_base_path="/prod")

    assert handler(rest_event("/prod/", {"name": "Ada"}), None)["body"] == "Hello, Ada!\n"


@pytest.mark.usefixtures("event_loop_of_a_function")
def test_startup_handlers_of_a_function_run_before_each_call(load):
    module = load("serverless.md", "lambda_function")
    calls = []
    module.app.startup_handlers.append(lambda: calls.append("startup"))
    module.app.shutdown_handlers.append(lambda: calls.append("shutdown"))
    for _ in range(2):
        module.handler(rest_event("/", {}), None)

    assert calls == ["startup", "shutdown"] * 2


# --- Languages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "language"),
    [("DE", "de"), ("de-AT, en;q=0.5", "de"), ("en; q=0.5, de; q=0.8", "de"), ("de;q=0", "en")]
    + [
        (header, "en")
        for header in ("", "*", ";q=1", "de;q=nan", "a" * 10_000, "de;q=0.5;x", "\xff")
    ]
    + [("de;q=inf," * 1000, "de")],
)
def test_language_is_that_of_any_header(load, header, language):
    i18n = load("i18n.md", "i18n")

    visitor = types.SimpleNamespace(cookies={}, headers={"accept-language": header})
    asyncio.run(i18n.Language().before_request(visitor))

    assert visitor.language == language


def test_text_without_a_request_is_in_the_first_language(load):
    assert load("i18n.md", "i18n").gettext("Our pies") == "Our pies"


# --- In a browser: while it runs, no test can run another event loop -----------------------------


def test_browser_sends_a_file_to_the_store(files, browser, tmp_path):
    client = files()
    (tmp_path / "pie.png").write_bytes(b"x" * 5000)
    session = Browsing(browser, str(client.base_url).rstrip("/"))
    session.check_look("/")
    page = session.page()
    page.context.unroute_all()  # the store is at another address
    page.goto("/")
    page.get_by_label("File").set_input_files(tmp_path / "pie.png")
    with page.expect_request(lambda request: "/pies" in request.url):
        page.get_by_role("button", name="Send").click()
    page.get_by_text("Saved.").wait_for()
    link = page.get_by_role("link", name="Download it").get_attribute("href")
    session.close()

    assert client.get(link, follow_redirects=True).content == b"x" * 5000
