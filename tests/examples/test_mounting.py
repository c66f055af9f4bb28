"""examples/mounting"""

import pytest

from tests.examples.harness import PREFIX, copied, running
from tests.examples.loading import load

pytestmark = pytest.mark.usefixtures("measured")


def test_session_of_the_parent_reaches_the_mounted_app(client):
    assert client.get("/api/pies").json()["visitor"] is None
    client.post("/introduce", data={"name": "Ada"})
    response = client.get("/api/pies")
    assert response.json()["visitor"] == "Ada"
    assert "cookie" in response.headers["vary"].lower()
    evil = client.post("/api/pies", json={}, headers={"origin": "https://evil.example"})
    assert evil.status_code == 422


def test_bodies_have_a_limit(client):
    assert client.post("/api/pies", json={"name": "cherry"}).status_code == 201
    assert client.post("/api/pies", json={"name": "x" * 51}).status_code == 422
    assert client.post("/api/pies", json={"name": "x" * 2**16}).status_code == 413
    for path in ("/api/pies", "/old/", "/introduce"):
        assert client.post(path, content=iter([b"x"])).status_code == 411
    answers = [client.post("/api/pies", json={"name": "plum"}).status_code for _ in range(100)]
    assert answers == 100 * [201]
    assert client.get("/api/pies").json()["pies"] == 100 * ["plum"]


@pytest.mark.parametrize("base", ["", PREFIX])
def test_each_app_knows_its_path(client, base):
    assert client.get(f"{base}/old/a%20b").text == f"{base}/old and /a b\n"
    for path in ("static/nothing", "api/nothing", "api/docs", "static/%2e%2e/app.py", "apis"):
        assert client.get(f"{base}/{path}").status_code == 404
    mounted = client.get(f"{base}/").json()["mounted"]
    assert mounted == [f"{base}/{path}" for path in ("api/pies", "old/page", "static/pie.txt")]
    assert [client.get(path).status_code for path in mounted] == [200, 200, 200]


def test_micropie_in_fastapi(server, tmp_path):
    folder = copied("mounting", tmp_path)
    text = (folder / "inside.py").read_text()
    (folder / "app.py").write_text(f"{text}\nimport uvicorn\nuvicorn.run(app, log_level='info')\n")
    with running("python app.py", folder, server.environment) as inside, inside.client() as client:
        assert client.get("/pages/hello/Ada").json() == {"hello": "Ada", "below": "/pages"}
        assert client.get("/pages/nothing").status_code == 404
        assert client.get("/").status_code == 404


async def test_lifespan_tells_failures_and_leaves_others_alone():
    lifespan = load("mounting", "lifespan").Lifespan

    async def failing(scope, receive, send):
        event = (await receive())["type"]
        await send({"type": f"{event}.failed", "message": "no database"})

    async def ignorant(scope, receive, send):
        raise ValueError("unknown scope")

    async def mute(scope, receive, send):
        await receive()

    with pytest.raises(RuntimeError, match="no database"):
        await lifespan(failing).start()
    for app in (ignorant, mute):
        one = lifespan(app)
        await one.start()
        await one.stop()
    await lifespan(failing).stop()
