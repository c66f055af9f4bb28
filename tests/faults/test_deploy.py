"""A deploy: SIGTERM while event streams, WebSockets and uploads are under way."""

from __future__ import annotations

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults.harness import (
    FORM,
    MIB,
    QUICK,
    UPLOAD,
    clients,
    frame,
    read_frame,
    state,
)
from tests.processes import wait_until
from tests.servers.harness import KINDS, RawClient, Server

GRACE = 10  # seconds, in which a busy machine has to finish the uploads
MANY = 100
HALF = len(UPLOAD) // 2
APP = "tests.faults.ending_app:app"
FAILED = " Internal Server Error"  # the text of uvicorn; Hypercorn sends none
WHOLE = f'200 {{"size":{3 * MIB}}}'


@dataclass(frozen=True)
class End:
    """How a server ends."""

    option: str
    code: int
    close_code: str  # of open WebSockets
    stalled: str  # the answer to an upload that is not whole in time
    kills: bool = False  # so that no `finally` of a stream can run


UVICORN = End("--timeout-graceful-shutdown", -signal.SIGTERM, "1012", "500")
ENDS = {
    "uvicorn-h11": UVICORN,
    "uvicorn-httptools": UVICORN,
    "hypercorn": End("--graceful-timeout", 0, "1011", "500"),
    "granian": End("--workers-kill-timeout", 0, "broke off", "broke off", kills=True),
}

each_server = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == QUICK else (pytest.mark.slow,)) for name in ENDS],
)


@dataclass
class Deploy:
    """The end of a server, as its clients and the application saw it."""

    seconds: float
    code: int | None
    log: str
    streams: Counter[str]
    sockets: Counter[str]
    uploads: Counter[str]
    stalled: Counter[str]
    notes: dict[str, Counter[str]]


def end_of_stream(client: RawClient) -> str:
    try:
        while client.read_chunk():
            pass
    except OSError:
        return "broke off"
    return "whole"


def end_of_socket(client: RawClient) -> str:
    try:
        kind, payload = read_frame(client)
    except (OSError, ValueError):
        return "broke off"
    return str(int.from_bytes(payload[:2], "big")) if kind == 8 else "a message"


def end_of_answer(client: RawClient) -> str:
    try:
        response = client.read()
    except OSError:
        return "broke off"
    return f"{response.status} {response.text}"


def end_of_upload(client: RawClient) -> str:
    """Send the second half in pieces; return the answer, or that there is none."""
    try:
        for start in range(HALF, len(UPLOAD), 2**18):
            client.send(UPLOAD[start : start + 2**18])
            time.sleep(0.1)  # the upload takes some of the grace time
    except OSError:
        return "broke off"
    return end_of_answer(client)


def open_streams(streams: list[RawClient]) -> None:
    for client in streams:
        client.send_head("GET", "/events?token=streams")
        assert client.read_head().status == 200
        assert b"first" in client.read_chunk()


def open_sockets(sockets: list[RawClient]) -> None:
    for client in sockets:
        client.handshake("/echo?token=sockets")
        client.send(frame(b"hello"))
        assert read_frame(client) == (1, b"hello")


def begin_uploads(uploads: list[RawClient], token: str) -> None:
    length = ("content-length", str(len(UPLOAD)))
    for client in uploads:
        client.send_head("POST", f"/streamed_upload?token={token}", [FORM, length])
        client.send(UPLOAD[:HALF])


def deploy(server: Server) -> Deploy:
    """Open everything, end the server, and look."""
    with (
        clients(server, MANY) as streams,
        clients(server, MANY) as sockets,
        clients(server, 10) as uploads,
        clients(server, 10) as stalled,
        ThreadPoolExecutor(10) as pool,
    ):
        open_streams(streams)
        open_sockets(sockets)
        begin_uploads(uploads, "uploads")
        begin_uploads(stalled, "stalled")
        wait_until(lambda: state(server)["uploads"] == 20, 60, "the uploads to begin")
        begun = time.monotonic()
        server.wish_end()
        ends = list(pool.map(end_of_upload, uploads))
        code = server.stop()
        return Deploy(
            time.monotonic() - begun,
            code,
            server.log.read_text(),
            Counter(map(end_of_stream, streams)),
            Counter(map(end_of_socket, sockets)),
            Counter(ends),
            Counter(end_of_answer(client).removesuffix(FAILED).strip() for client in stalled),
            {
                token: Counter(server.noted(token))
                for token in ("streams", "sockets", "uploads", "stalled")
            },
        )


@each_server
def test_deploy_with_everything_open(name: str, tmp_path: Path) -> None:
    end = ENDS[name]
    kind = replace(KINDS[name], command=f"{KINDS[name].command} {end.option} {GRACE}")
    with Server(kind, tmp_path, "tests.faults.app:app") as server:
        found = deploy(server)

    assert found.code == end.code
    assert GRACE - 1 < found.seconds < GRACE + 15  # much less than the app's 60 for a body
    assert found.streams == {"broke off": MANY}
    assert found.sockets == {end.close_code: MANY}
    # An upload is whole on both sides, or the client and the handler get to know that it is not.
    assert found.uploads == {WHOLE: 10}
    assert found.stalled == {end.stalled: 10}
    assert found.notes["uploads"]["whole"] == 10
    assert found.notes["stalled"]["whole"] == 0
    # A worker that is killed runs nothing any more.
    assert found.notes["streams"] == ({} if end.kills else {"finally": MANY})
    assert found.notes["stalled"]["CancelledError"] == (0 if end.kills else 10)
    # The application's own sockets end in any case.
    assert found.notes["sockets"] == {"finally": MANY}
    # Nothing left the application but the cancellation, which servers expect.
    assert "failed" not in found.log
    raised = found.log.count("Exception in ASGI application")
    assert raised == found.log.count("CancelledError: Task cancelled, timeout graceful")


@each_server
def test_app_that_notices_the_end_closes_what_is_open(name: str, tmp_path: Path) -> None:
    """With the module of the guide on deployment, each of these servers lets all end well."""
    command = f"{KINDS[name].command} {ENDS[name].option} {GRACE}"
    if name == "hypercorn":
        command += " --workers 0"  # so that its process is the one that gets the signal
    with Server(replace(KINDS[name], command=command), tmp_path, APP) as server:
        found = deploy(server)

    assert found.code == ENDS[name].code
    assert found.streams == {"whole": MANY}
    assert found.sockets == {"1012": MANY}
    assert found.uploads == {WHOLE: 10}
    assert found.notes["streams"] == {"finally": MANY}
    assert found.notes["sockets"] == {"finally": MANY}
