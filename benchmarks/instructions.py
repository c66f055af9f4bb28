"""Count the instructions per request of MicroPie beside a hand-written ASGI callable.

    python benchmarks/instructions.py             the table: hello, JSON, one path argument
    python benchmarks/instructions.py --all       with a query and a form, which have no aim here
    python benchmarks/instructions.py --check     exit 1 when a ratio is over its aim

Instructions, counted by valgrind, repeat to a fraction of a percent on a busy machine; times do
not. Each number is the difference between a short and a long run in processes of their own, so
that start-up, imports and the first request cancel. Both apps get the same scopes from the same
driver and must answer the same bytes before anything is counted.
"""

import argparse
import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import orjson  # noqa: E402

import micropie  # noqa: E402

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

SHORT, LONG = 500, 2500
WARM_UP = 50

TEXT = (b"content-type", b"text/html; charset=utf-8")
JSON = (b"content-type", b"application/json")
ITEM = {"message": "Hello, World!", "numbers": [1, 2, 3], "ok": True}


class Workload(NamedTuple):
    """One kind of request, and how many times the hand-written callable's instructions it may take."""

    title: str
    path: str
    aim: float | None
    method: str = "GET"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


FORM = b"name=Alice+Smith&email=alice%40example.com"
FORM_HEADERS = ((b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"%d" % len(FORM)))
WORKLOADS = {
    "hello": Workload("hello", "/", 3.0),
    "json": Workload("JSON", "/item", 4.0),
    "path": Workload("path argument", "/greet/Alice", 3.3),
    "query": Workload("query argument", "/greet", None, query=b"name=Alice"),
    "form": Workload("form", "/register", None, "POST", headers=FORM_HEADERS, body=FORM),
}
AIMED = [name for name, workload in WORKLOADS.items() if workload.aim is not None]


class Root(micropie.App):
    """The app that is measured."""

    async def index(self) -> str:
        """Answer hello."""
        return "Hello, World!"

    async def item(self) -> dict[str, Any]:
        """Answer JSON."""
        return ITEM

    async def greet(self, name: str) -> str:
        """Answer with an argument from the path or the query."""
        return f"Hello, {name}!"

    async def register(self, name: str, email: str) -> str:
        """Answer with two form fields."""
        return f"{name} {email}"


async def respond(send: Send, content_type: tuple[bytes, bytes], body: bytes) -> None:
    """Send a whole response, as the hand-written apps do."""
    headers = [content_type, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def floor_hello(scope: Message, receive: Receive, send: Send) -> None:
    """Answer hello by hand: even the length is known beforehand."""
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT, (b"content-length", b"13")]})
    await send({"type": "http.response.body", "body": b"Hello, World!"})


async def floor_json(scope: Message, receive: Receive, send: Send) -> None:
    """Answer JSON by hand."""
    body = orjson.dumps(ITEM)
    headers = [JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def floor_path(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with an argument from the path, by hand."""
    body = f"Hello, {scope['path'][7:]}!".encode()
    headers = [TEXT, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def floor_query(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with an argument from the query, by hand."""
    query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    await respond(send, TEXT, f"Hello, {query['name']}!".encode())


async def floor_form(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with two form fields, by hand."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
    await respond(send, TEXT, f"{fields['name']} {fields['email']}".encode())


FLOORS: dict[str, Asgi] = {
    "hello": floor_hello,
    "json": floor_json,
    "path": floor_path,
    "query": floor_query,
    "form": floor_form,
}


def make_scope(workload: Workload) -> Message:
    """Build the scope that uvicorn would build."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "root_path": "",
        "method": workload.method,
        "path": workload.path,
        "raw_path": workload.path.encode(),
        "query_string": workload.query,
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            (b"accept-language", b"en-GB,en;q=0.5"),
            (b"accept-encoding", b"gzip, deflate, br, zstd"),
            (b"connection", b"keep-alive"),
            *workload.headers,
        ],
        "state": {},
    }


class Exchange:
    """One request as a server keeps it: what the app may still receive, and what it has sent."""

    __slots__ = ("body", "sent")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        """Hand over the body, which is all there is."""
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Take a message of the response."""
        self.sent.append(message)

    def answer(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Put the response together, its headers in one order for all apps."""
        start, *rest = self.sent
        return start["status"], sorted(start["headers"]), b"".join(message["body"] for message in rest)


async def drive(app: Asgi, workload: Workload, count: int) -> Exchange:
    """Send the request ``count`` times, each with a scope of its own; return the last exchange."""
    template = make_scope(workload)
    for _ in range(count):
        exchange = Exchange(workload.body)
        scope = dict(template)
        scope["headers"] = list(template["headers"])
        scope["state"] = dict(template["state"])
        await app(scope, exchange.receive, exchange.send)
    return exchange


async def work(who: str, name: str, count: int) -> None:
    """Check that both apps answer the same, then send one of them ``count`` requests."""
    workload = WORKLOADS[name]
    apps: dict[str, Asgi] = {"floor": FLOORS[name], "micropie": Root()}
    answers = {key: (await drive(app, workload, WARM_UP)).answer() for key, app in apps.items()}
    if answers["floor"] != answers["micropie"]:
        raise SystemExit(f"{name}: the answers differ: {answers}")
    gc.collect()
    gc.freeze()
    gc.disable()
    await drive(apps[who], workload, count)


def count_instructions(job: tuple[str, str, int]) -> int:
    """Run this script under callgrind in a process of its own and return the instructions it took."""
    who, name, count = job
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        command += [sys.executable, __file__, "--worker", who, name, str(count)]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    total = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or total is None:
        raise SystemExit(f"counting {name} for {who} failed:\n{run.stdout}{run.stderr}")
    return int(total[1])


def measure(names: list[str]) -> dict[str, dict[str, float]]:
    """Return the instructions per request of both apps, for each workload."""
    jobs = [(who, name, count) for name in names for who in ("floor", "micropie") for count in (SHORT, LONG)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        totals = dict(zip(jobs, pool.map(count_instructions, jobs), strict=True))
    return {
        name: {
            who: (totals[who, name, LONG] - totals[who, name, SHORT]) / (LONG - SHORT) for who in ("floor", "micropie")
        }
        for name in names
    }


def report(results: dict[str, dict[str, float]]) -> list[str]:
    """Print the table; return the titles of the workloads that are over their aims."""
    over = []
    print(f"{'instructions per request':26}{'by hand':>10}{'MicroPie':>10}{'ratio':>8}{'at most':>9}")
    for name, counts in results.items():
        workload = WORKLOADS[name]
        ratio = counts["micropie"] / counts["floor"]
        aim = "-" if workload.aim is None else f"{workload.aim:.1f}"
        print(f"{workload.title:26}{counts['floor']:10,.0f}{counts['micropie']:10,.0f}{ratio:8.2f}{aim:>9}")
        if workload.aim is not None and ratio > workload.aim:
            over.append(workload.title)
    return over


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Count instructions per request.")
    parser.add_argument("--all", action="store_true", help="also a query argument and a form")
    parser.add_argument("--check", action="store_true", help="exit 1 when a ratio is over its aim")
    parser.add_argument("--worker", nargs=3, metavar=("APP", "WORKLOAD", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        who, name, count = options.worker
        asyncio.run(work(who, name, int(count)))
        return 0
    if shutil.which("valgrind") is None:
        print("No valgrind here: install it (on Debian or Ubuntu: apt-get install valgrind).", file=sys.stderr)
        return 2
    over = report(measure(list(WORKLOADS) if options.all else AIMED))
    if over:
        print(f"over the aim: {', '.join(over)}")
    return 1 if over and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
