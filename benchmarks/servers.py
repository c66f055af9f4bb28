"""Requests per second and server CPU under real servers: uvicorn and Granian, one process each.

The server is pinned to one core and the client (wrk for requests, this process for uploads) to
another. The frameworks take turns, so that a busy moment of the machine falls on all alike.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.inprocess import session_cookie
from benchmarks.peers import BARE, ROOT, PeerError, environment
from benchmarks.workloads import (
    MIB,
    UPLOAD_TYPE,
    WORKLOADS,
    Answer,
    Workload,
    upload_body,
    upload_length,
)

SERVER_CORE, CLIENT_CORE = 0, 1
CONNECTIONS = 32
PLAIN = "uvicorn without uvloop and httptools"  # what `pip install uvicorn` gives


def missing_tool() -> str | None:
    """Return what has to be installed before servers can be measured, or None."""
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            return f"{tool} (apt-get install wrk util-linux)"
    return None if (os.cpu_count() or 1) > 1 else "a second core"


def _command(server: str, target: str, port: int, lifespan: bool) -> list[str]:
    python = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m"]
    if server == "granian":
        interface = "asgi" if lifespan else "asginl"
        options = [
            "--interface",
            interface,
            "--workers",
            "1",
            "--loop",
            "uvloop",
            "--log-level",
            "critical",
        ]
        return [*python, "granian", *options, "--host", "127.0.0.1", "--port", str(port), target]
    loop, protocol = ("asyncio", "h11") if server == PLAIN else ("uvloop", "httptools")
    options = ["--loop", loop, "--http", protocol, "--log-level", "critical", "--no-access-log"]
    options += ["--lifespan", "on" if lifespan else "off", "--timeout-graceful-shutdown", "1"]
    return [*python, "uvicorn", *options, "--host", "127.0.0.1", "--port", str(port), target]


class Server:
    """One framework behind one server, on a free port, until the block ends.

    The floor has an app, and so a server, for each workload. It knows nothing of a lifespan, nor
    does the barest app.
    """

    def __init__(self, server: str, peer: str, workload: str) -> None:
        self.name = f"{peer} under {server}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        app = "table_app" if workload == "table" else "app"
        target = f"benchmarks.apps.{peer}:{workload if peer == 'floor' else app}"
        command = _command(server, target, self.port, peer not in ("floor", BARE))
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
        )

    def __enter__(self) -> Server:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        self.__exit__()
        raise PeerError(f"{self.name} did not start")

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            for pid in reversed(self._pids()):
                os.kill(pid, 9)
            self.process.wait()

    def _pids(self) -> list[int]:
        """Return the server's processes; Granian serves from a child of the one started here."""
        pids = [self.process.pid]
        for pid in pids:
            pids += [
                int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            ]
        return pids

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has taken, in user and in kernel mode."""
        tasks = (task for pid in self._pids() for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory(self, what: str) -> int:
        """Return ``VmRSS`` or ``VmHWM`` of the process that serves, in bytes."""
        status = Path(f"/proc/{self._pids()[-1]}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def reset_peak(self) -> None:
        """Let the peak of memory (``VmHWM``) start from what is in use now."""
        Path(f"/proc/{self._pids()[-1]}/clear_refs").write_text("5")

    def ask(self, asked: Workload, body: bytes | None = None) -> Answer:
        """Ask once, with this body or the workload's own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(asked.method, _target(asked), body or asked.body, _headers(asked))
        response = connection.getresponse()
        headers = [(name.lower().encode(), value.encode()) for name, value in response.getheaders()]
        answer = Answer(response.status, headers, response.read(), [])
        connection.close()
        return answer

    def check(self, asked: Workload) -> bytes | None:
        """Check one answer, and that bad requests are refused; return the session's cookie."""
        answer = self.ask(asked)
        asked.check(answer)
        if asked.refused:
            status = self.ask(asked, asked.refused).status
            assert status in (400, 422), f"{self.name}: a wrong value was answered with {status}"
        return session_cookie(answer)

    def load(self, asked: Workload, seconds: int, cookie: bytes | None = None) -> dict[str, float]:
        """Let wrk ask as fast as it can; return requests per second and CPU seconds per request."""
        url = f"http://127.0.0.1:{self.port}{_target(asked)}"
        headers = _headers(asked) | ({"cookie": cookie.decode()} if cookie else {})
        wrk = [
            "taskset",
            "-c",
            str(CLIENT_CORE),
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            *(option for name in headers for option in ("-H", f"{name}: {headers[name]}")),
            url,
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            if asked.body:
                script.write(
                    f"wrk.method = {asked.method!r}\nwrk.body = [==[{asked.body.decode()}]==]"
                )
                script.flush()
                wrk += ["-s", script.name]
            before = self.cpu_seconds()
            output = subprocess.run(
                wrk, capture_output=True, text=True, check=True, timeout=seconds + 60
            ).stdout
            spent = self.cpu_seconds() - before
        if "Non-2xx" in output or "Socket errors" in output:
            raise PeerError(f"{self.name}: {output}")
        requests = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])  # type: ignore[index]
        return {"requests_per_second": rate, "cpu_per_request": spent / requests}

    def upload(self, mib: int, path: str = "/upload") -> dict[str, float]:
        """Send one upload; return MiB per second, CPU seconds per MiB and the growth in memory."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n"
            f"Content-Type: {UPLOAD_TYPE.decode()}\r\nContent-Length: {upload_length(mib)}\r\n\r\n"
        )
        self.reset_peak()
        memory, cpu, started = self.memory("VmRSS"), self.cpu_seconds(), time.perf_counter()
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as client:
            client.sendall(head.encode())
            for chunk in upload_body(mib):
                client.sendall(chunk)
            response = b"".join(iter(lambda: client.recv(65536), b""))
        seconds = time.perf_counter() - started
        if not (response.startswith(b"HTTP/1.1 200") and str(mib * MIB).encode() in response):
            raise PeerError(f"{self.name}: {response[:300]!r}")
        return {
            "mib_per_second": mib / seconds,
            "cpu_per_mib": (self.cpu_seconds() - cpu) / mib,
            "memory": self.memory("VmHWM") - memory,
        }


def _target(asked: Workload) -> str:
    return f"{asked.path}?{asked.query.decode()}" if asked.query else asked.path


def _headers(asked: Workload) -> dict[str, str]:
    # The clients set the length themselves.
    return {
        name.decode(): value.decode() for name, value in asked.headers if name != b"content-length"
    }


@contextmanager
def pinned(core: int) -> Any:
    """Keep this process, the client, on one core until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _collect(samples: list[dict[str, float]]) -> dict[str, list[float]]:
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def measure_requests(
    server: str, names: list[str], workloads: list[str], rounds: int, seconds: int
) -> dict[str, Any]:
    """Return for each workload and framework what every round gave.

    Each round has servers of its own: where the memory of a process happens to lie makes it faster
    or slower by two or three percent for as long as it lives.
    """
    results: dict[str, Any] = {}
    for workload in workloads:
        samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                with Server(server, name, workload) as running:
                    cookie = running.check(WORKLOADS[workload])
                    running.load(WORKLOADS[workload], 1, cookie)
                    samples[name].append(running.load(WORKLOADS[workload], seconds, cookie))
        results[workload] = {name: _collect(found) for name, found in samples.items()}
    return results


def measure_uploads(names: list[str], rounds: int, mib: int) -> dict[str, Any]:
    """Return for each framework what every upload under uvicorn gave."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Server("uvicorn", name, "upload")) for name in names}
        stack.enter_context(pinned(CLIENT_CORE))
        for running in servers.values():
            running.upload(1)
        for _ in range(rounds):
            for name, running in servers.items():
                samples[name].append(running.upload(mib))
    return {name: _collect(found) for name, found in samples.items()}


def median_ratio(results: dict[str, Any], key: str, name: str, base: str) -> float:
    """Return the median over the rounds of one framework's value in another's."""
    pairs = zip(results[name][key], results[base][key], strict=True)
    return float(statistics.median(ours / theirs for ours, theirs in pairs))
