"""The guide to databases, with PostgreSQL. Its apps sell a pie once, even if many want it."""

import asyncio

import httpx
import pytest

from docs._ext.blocks import blocks
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
