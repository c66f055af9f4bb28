"""Clients of all kinds at once: no rule of ASGI is broken, and no client sees another's session."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable

import httpx
import pytest
from websockets.asyncio.client import connect

from micropie import InMemorySessionBackend
from tests.asgi import Browser, exchange, get, post, websocket
from tests.faults.app import Root
from tests.faults.harness import unharmed
from tests.servers.harness import Server

VISITORS = 20
SEED = random.SystemRandom().randrange(10**6)


class Visitor:
    """A browser with a secret in its session; each step says whose answer it has got."""

    def __init__(self, app: Root, number: int, chance: random.Random) -> None:
        self.browser, self.app = Browser(app), app
        self.secret = f"secret-{number}"
        self.number = number
        self.count = 0
        self.chance = chance
        self.is_known = False

    async def visit(self, steps: int) -> None:
        kinds = [
            self.see_secret,
            self.see_count,
            self.see_number,
            self.send_form,
            self.upload,
            self.talk,
            self.leave_a_stream,
            self.leave_an_upload,
            self.go_wrong,
        ]
        for _ in range(steps):
            await self.chance.choice(kinds)()

    async def see_secret(self) -> None:
        query = "" if self.is_known else f"?secret={self.secret}"
        self.is_known = True
        assert (await self.browser.get(f"/mine{query}")).text == self.secret

    async def see_count(self) -> None:
        self.count += 1
        assert (await self.browser.get("/count")).json() == {"count": self.count}

    async def see_number(self) -> None:
        assert (await get(self.app, f"/number?number={self.number}")).json() == {
            "number": self.number
        }

    async def send_form(self) -> None:
        found = await self.browser.post("/form", form={"name": self.secret})
        assert found.json() == {"name": self.secret}

    async def upload(self) -> None:
        file = ("file", "f.bin", "text/plain", b"x" * self.number)
        found = await self.browser.post("/upload", multipart=[file, ("text", self.secret)])
        assert found.json() == {"size": self.number, "text": self.secret}

    async def talk(self) -> None:
        headers = self.browser.with_cookies("/secret")
        async with websocket(self.app, "/secret", headers=headers) as ws:
            await ws.send_text(self.secret)
            wanted = self.secret if self.is_known else ""
            assert await ws.receive_json() == [self.secret, wanted]

    async def leave_a_stream(self) -> None:
        async with exchange(self.app, "GET", "/events") as ex:
            assert await ex.next_chunk()
            await ex.disconnect()

    async def leave_an_upload(self) -> None:
        headers = {"content-length": "1000"}
        await post(self.app, "/body", body=[b"x"], headers=headers, disconnect_after=1)

    async def go_wrong(self) -> None:
        target, status = self.chance.choice(
            [("/no/such/page", 404), ("/number?number=x", 400), ("/fails", 500)]
        )
        assert (await self.browser.get(target)).status == status


@pytest.mark.parametrize("steps", [10, pytest.param(100, marks=pytest.mark.slow)])
async def test_visitors_at_once_break_no_rule_and_see_their_own(
    steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    print("seed", SEED)  # shown if the test fails
    caplog.set_level(logging.CRITICAL, "micropie")  # /fails is logged
    backend = InMemorySessionBackend()
    app = Root(backend)
    visitors = [Visitor(app, number, random.Random(SEED + number)) for number in range(VISITORS)]
    await asyncio.gather(*[visitor.visit(steps) for visitor in visitors])
    assert +app.open == {}
    secrets = [data["secret"] for _, data in backend._sessions.values() if "secret" in data]
    assert sorted(secrets) == sorted(one.secret for one in visitors if one.is_known)


# --- the same with real clients ---------------------------------------------------------------


async def visit(server: Server, number: int, steps: int) -> None:
    chance, secret = random.Random(SEED + number), f"secret-{number}"
    # `verify` builds a list of authorities, which takes long, for each client. A connection that is
    # kept could be closed by the server, after a second, just when the client sends.
    fresh = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=server.url, timeout=60, verify=False, limits=fresh
    ) as client:
        assert (await client.get("/mine", params={"secret": secret})).text == secret

        async def see() -> None:
            assert (await client.get("/mine")).text == secret

        async def upload() -> None:
            found = await client.post(
                "/upload", files={"file": b"x" * number}, data={"text": secret}
            )
            assert found.json() == {"size": number, "text": secret}

        async def talk() -> None:
            cookie = f"session_id={client.cookies['session_id']}"
            address = f"{server.ws_url}/secret"
            async with connect(
                address, additional_headers={"cookie": cookie}, open_timeout=60
            ) as ws:
                await ws.send(secret)
                assert json.loads(await ws.recv()) == [secret, secret]

        async def leave() -> None:
            async with client.stream("GET", "/events") as response:
                assert response.status_code == 200

        kinds: list[Callable[[], Awaitable[None]]] = [see, see, upload, talk, leave]
        for _ in range(steps):
            await chance.choice(kinds)()


@pytest.mark.real_time
async def test_real_clients_at_once_see_their_own(server: Server) -> None:
    print("seed", SEED)  # shown if the test fails
    with unharmed(server):
        await asyncio.gather(*[visit(server, number, 5) for number in range(VISITORS)])
