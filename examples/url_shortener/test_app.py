"""Run them with ``pytest``; they keep their links in their own database."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import app
import checks
import database

TARGET = "https://example.com/a/long/way?x=1&y=2#there"


@pytest.fixture(autouse=True)
def own_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "DATABASE", tmp_path / "links.sqlite3")


@pytest.fixture
def client() -> Iterator[TestClient]:
    yield from visitor(app.Shortener())


def visitor(shortener: app.Shortener) -> Iterator[TestClient]:
    """A visitor over HTTPS, since session cookies are secure."""
    with TestClient(shortener, "https://testserver", follow_redirects=False) as client:
        yield client


def shorten(client: TestClient, url: str = TARGET, **values: str) -> tuple[int, str]:
    """Send the form; return the status, and the name of the link or the page."""
    response = client.post("/shorten", data={"url": url, **values})
    page = response.headers.get("location", response.text)
    return response.status_code, page.removeprefix("/links/")


def rows(table: str) -> int:
    with database.connected() as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_owner_makes_lists_and_deletes_a_link(client: TestClient) -> None:
    assert shorten(client, alias="Summer-Party") == (303, "summer-party")
    for path in ("/summer-party", "/Summer-Party"):
        response = client.get(path)
        assert (response.status_code, response.headers["location"]) == (302, TARGET)
        assert response.headers["cache-control"] == "no-store"
    assert "clicks: 2" in client.get("/links").text
    assert "in the last 30 days: 2," in client.get("/links/summer-party").text
    assert client.post("/delete/summer-party").status_code == 303
    assert client.get("/summer-party").status_code == 404
    assert rows("links") == rows("clicks") == 0


def test_other_visitors_see_and_delete_nothing(client: TestClient) -> None:
    shorten(client, alias="mine")
    client.cookies.clear()
    for _ in range(2):  # without a session, and with one
        assert "mine" not in client.get("/links").text
        assert client.get("/links/mine").status_code == 404
        assert client.post("/delete/mine").status_code == 404
        shorten(client)
    assert client.get("/mine").status_code == 302


def test_visits_store_nothing(client: TestClient) -> None:
    for path in ("/", "/links", "/links/nothing", "/nothing", "/?url=x", "/shorten"):
        assert "set-cookie" not in client.get(path).headers
    assert rows("sessions") == rows("links") == rows("clicks") == 0


def test_taken_name_is_refused_and_a_random_one_is_drawn_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["same", "same", "links", "other"])
    monkeypatch.setattr(app, "random_alias", lambda: next(names))
    assert shorten(client) == (303, "same")
    status, page = shorten(client, "https://example.com/kept", alias="same")
    assert status == 409
    assert "is taken" in page
    assert 'value="https://example.com/kept"' in page
    assert shorten(client) == (303, "other")


def test_names_of_all_handlers_are_reserved() -> None:
    class More(app.Shortener):
        sign_in = app.Shortener.links

    class Most(More):
        pass

    shortener = Most()
    shortener.mounts["/Admin-Area/x"] = app.Shortener()
    for client in visitor(shortener):
        for name in ("shorten", "links", "delete", "static", "sign-in", "Admin-area"):
            status, page = shorten(client, alias=name)
            assert status == 422, name
            assert "is reserved" in page
        assert shorten(client, alias="signing") == (303, "signing")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("  HTTPS://Example.COM.:443/A?b#c  ", "https://example.com/A?b#c"),
        ("http://bücher.de/ß?ü#€", "http://xn--bcher-kva.de/%C3%9F?%C3%BC#%E2%82%AC"),
        ('http://[2606:4700::1111]:8080/"<', "http://[2606:4700::1111]:8080/%22%3C"),
    ],
)
def test_targets_are_kept_as_they_are_sent(url: str, kept: str) -> None:
    assert checks.target(url) == checks.target(kept) == kept


REFUSED = r"""
    example.com //example.com/ javascript:alert(1) data:text/html,x ftp://x.org http:///x
    http://me:secret@x.org/ http://x.org\@y.org/ http://127.1/ http://0x7f000001/
    http://2130706433/ http://[::1 http://x.org:99999/ http://straße.de/
"""
ODD = ["", "http://x y.org", f"http://x.org/{'ä' * 400}"]


@pytest.mark.parametrize("url", [*REFUSED.split(), *ODD])
def test_other_targets_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        checks.target(url)


def test_link_to_this_site_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PUBLIC_URL", "https://s.example:443/x")
    for url in ("https://TestServer/way", "http://s.example/x/way"):
        status, page = shorten(client, url)
        assert status == 422
        assert "is short already" in page
    shorten(client, "https://two.example/way", alias="way")
    response = client.get("/way", headers={"host": "two.example"})
    assert response.status_code == 404


def test_expired_link_is_gone_and_its_name_is_kept_a_while(client: TestClient) -> None:
    shorten(client, alias="old", expires="1d")
    assert client.get("/old").status_code == 302
    for ago, status in ((1, 409), (91 * app.DAY, 303)):
        with database.connected(write=True) as connection:
            connection.execute("UPDATE links SET expires = ?", (time.time() - ago,))
        assert client.get("/old").status_code == 410
        assert ", expired" in client.get("/links").text
        assert shorten(client, alias="old", expires="1d")[0] == status
    assert rows("clicks") == 0


def test_new_migration_keeps_what_is_there(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(client, alias="way")
    more = [*database.MIGRATIONS, "ALTER TABLE links ADD COLUMN note TEXT"]
    monkeypatch.setattr(database, "MIGRATIONS", more)
    for _ in range(2):
        database.migrate()
    assert client.get("/way").status_code == 302
    assert shorten(client, alias="new")[0] == 303
