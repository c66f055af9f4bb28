"""A thousand of everything at once on one server: all answers right, nothing left over."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.processes import wait_until
from tests.servers.harness import HOST, KINDS, Server

MANY = 1000
# Opening a thousand connections in one go would overflow the kernel's queue of half-open ones,
# which is not the point.
AT_A_TIME = 100

T = TypeVar("T")
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MANY
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the system allows {hard} open files, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        with Server(
            KINDS["uvicorn-h11"], tmp_path_factory.mktemp("load"), "tests.servers.load_app:app"
        ) as running:
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def state(server: Server) -> dict[str, int]:
    return dict(server.get("/state").json())


@pytest.fixture(autouse=True)
def nothing_is_left_over(server: Server) -> Iterator[None]:
    """The server still answers after a test, with no stream and as many tasks as it had before."""
    before = state(server)
    assert before["streams"] == 0
    yield

    def is_as_before() -> bool:
        now = state(server)
        return all(now[kind] <= before[kind] for kind in before)

    wait_until(is_as_before, 60, f"the server to be in the state {before}")
    assert server.log.read_text() == ""


async def opened(open_one: Callable[[int], Awaitable[T]]) -> list[T]:
    """Call `open_one(number)` for many numbers, some at a time."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> T:
        async with gate:
            return await open_one(number)

    return await asyncio.gather(*[one(number) for number in range(MANY)])


async def ask(server: Server, target: str) -> Stream:
    """Open a connection and send a request on it."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    writer.write(f"GET {target} HTTP/1.1\r\nhost: {HOST}:{server.port}\r\n\r\n".encode())
    return reader, writer


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    return int(lines[0].split(" ")[1]), headers


async def read_event(reader: asyncio.StreamReader) -> dict[str, int]:
    """The next chunk of the body that carries an event."""
    while True:
        size = int(await reader.readline(), 16)
        chunk = await reader.readexactly(size + 2)
        if chunk.startswith(b"data: "):
            return dict(json.loads(chunk.removeprefix(b"data: ")))


async def close(streams: list[Stream]) -> None:
    for _, writer in streams:
        writer.close()
    await asyncio.gather(*[writer.wait_closed() for _, writer in streams])


def test_1000_requests_at_once(server: Server) -> None:
    async def main() -> None:
        target = f"/meet?name=requests&size={MANY}&number="
        # No answer comes before all of them are asked.
        streams = await opened(lambda number: ask(server, f"{target}{number}"))
        for number, (reader, _) in enumerate(streams):
            status, headers = await read_head(reader)
            body = await reader.readexactly(int(headers["content-length"]))
            assert (status, json.loads(body)) == (200, {"number": number})
        await close(streams)

    asyncio.run(asyncio.wait_for(main(), 120))


def test_1000_websockets_at_once(server: Server) -> None:
    async def main() -> None:
        target = f"{server.ws_url}/meet?name=sockets&size={MANY}"
        options: dict[str, Any] = {"compression": None, "ping_interval": None, "open_timeout": 60}
        sockets = await opened(lambda number: connect(target, **options))

        async def talk(number: int) -> list[str | bytes]:
            await sockets[number].send(f"{number} a")
            await sockets[number].send(f"{number} b")
            return [await sockets[number].recv(), await sockets[number].recv()]

        answers = await asyncio.gather(*[talk(number) for number in range(MANY)])
        assert answers == [[f"echo {number} a", f"echo {number} b"] for number in range(MANY)]
        await asyncio.gather(*[socket.close() for socket in sockets])

    asyncio.run(asyncio.wait_for(main(), 120))


def test_1000_event_streams_at_once(server: Server) -> None:
    async def main() -> None:
        target = f"/events?name=streams&size={MANY}&number="
        streams = await opened(lambda number: ask(server, f"{target}{number}"))
        for number, (reader, _) in enumerate(streams):
            status, headers = await read_head(reader)
            assert status == 200
            assert headers["content-type"].startswith("text/event-stream")
            assert await read_event(reader) == {"number": number}
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            assert (await client.get("/state")).json()["streams"] == MANY
            assert (await client.get("/publish?name=streams")).status_code == 204
        for number, (reader, _) in enumerate(streams):
            assert await read_event(reader) == {"published": number}
        await close(streams)

    asyncio.run(asyncio.wait_for(main(), 120))
