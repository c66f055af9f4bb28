"""The guide to databases, with PostgreSQL. Its apps sell a pie once, even if many want it."""

import asyncio
import importlib
import shutil
import sys
from typing import Any

import httpx
import pytest

from docs._ext.blocks import blocks
from tests import asgi
from tests.examples.copied import check_first_starts
from tests.processes import ROOT, free_port, serving

PAGE = ROOT / "docs/howto/databases.md"


@pytest.fixture
def folder(tmp_path):
    for block in blocks(PAGE.read_text()):
        if block.kind == "file":
            (tmp_path / block.detail).write_text(block.text)
    return tmp_path


def order(port, pies, times):
    async def run():
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            sent = [client.post("/order", data={"pie": pies}) for _ in range(times)]
            statuses = [answer.status_code for answer in await asyncio.gather(*sent)]
            return sorted(statuses), (await client.get("/")).json()

    return asyncio.run(run())


def test_shop_and_pool_sell_no_pie_twice_on_postgresql(folder, services):
    url = services.environment("crud_sql")["POSTGRESQL_URL"]
    plain = url.replace("+asyncpg", "")

    port = free_port()
    with serving("uvicorn shop:app", folder, port, {"DATABASE_URL": url}):
        assert order(port, ["Plum", "Apple"], 20) == ([201] + [409] * 19, {"Apple": 1, "Plum": 0})
    port = free_port()
    with serving("uvicorn pool:app", folder, port, {"POSTGRESQL_URL": plain}):
        # A plum pie is missing, so no apple pie is taken.
        assert order(port, ["Plum", "Apple"], 5) == ([409] * 5, {"Apple": 1, "Plum": 0})
        assert order(port, ["Apple"], 20) == ([201] + [409] * 19, {"Apple": 0, "Plum": 0})


@pytest.mark.parametrize(("app", "mode"), [("app.py", "wal"), ("shop.py", "delete")])
def test_workers_that_start_together_all_start(folder, tmp_path, app, mode):
    folders = [tmp_path / str(number) for number in range(3)]
    for one in folders:
        one.mkdir()
        shutil.copy(folder / app, one / "app.py")

    check_first_starts(folders, mode)


def test_connection_is_given_back_if_the_client_leaves_early_is_cancelled_or_a_mount_answers(
    folder, monkeypatch
):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    shop: Any = importlib.import_module("shop")
    monkeypatch.delitem(sys.modules, "shop")

    class User(shop.HttpMiddleware):
        async def before_request(self, request):
            await request.db.scalars(shop.select(shop.Pie))
            taken.append(app._engine.pool.checkedout())

    class Shop(shop.Shop):
        async def keep(self):
            return len(await self.request.body())

        async def wait(self):
            waits.set()
            await asyncio.Event().wait()

    async def static(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    app = Shop("sqlite+aiosqlite:///early.sqlite3")
    app.middlewares.append(User())
    app.mounts["/static"] = static
    taken, left, waits = [], [], asyncio.Event()

    async def run():
        async with asgi.lifespan(app):
            cut = await asgi.post(app, "/keep", body=[b"a", b"b"], disconnect_after=1)
            left.append((cut.status, app._engine.pool.checkedout()))
            mounted = await asgi.get(app, "/static/x")
            left.append((mounted.status, app._engine.pool.checkedout()))
            async with asgi.exchange(app, path="/wait") as exchange:
                await waits.wait()
                exchange.cancel()
            left.append((exchange.response.status, app._engine.pool.checkedout()))

    asgi.run(run(), real_time=True)

    assert taken == [1, 1, 1]
    assert left == [(None, 0), (204, 0), (None, 0)]
