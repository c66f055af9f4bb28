"""Tests of the poll. If the name of a function starts with `test_`, pytest runs it."""

import pytest
from httpx_ws import aconnect_ws

import pictures

PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of a picture"


async def test_each_visitor_has_one_vote(visitor):
    ada, bob = visitor(), visitor()
    await ada.fill_in("/vote", pie="Apple")
    await ada.fill_in("/vote", pie="Cherry")
    await bob.fill_in("/vote", pie="Cherry")

    assert (await bob.get("/results")).json() == {
        "Apple": 0,
        "Cherry": 2,
        "Pumpkin": 0,
        "Rhubarb": 0,
    }


async def test_a_vote_from_another_site_is_refused(visitor):
    ada = visitor()
    await ada.get("/")
    answer = await ada.post(
        "/vote", data={"pie": "Apple"}, headers={"origin": "https://evil.example"}
    )

    assert answer.status_code == 403
    assert "This page is too old" in answer.text
    assert (await ada.get("/results?at_least=1")).json() == {}


@pytest.mark.parametrize("pie", ["", "Cake", "<script>"])
async def test_other_pies_are_refused(visitor, pie):
    assert (await visitor().fill_in("/vote", pie=pie)).status_code == 400


async def test_a_vote_is_news(app, visitor):
    changes = app._changes()  # the source of the event stream, without a server
    assert (await anext(changes))["votes"]["Apple"] == 0
    await visitor().fill_in("/vote", pie="Apple")
    assert (await anext(changes))["votes"]["Apple"] == 1
    await changes.aclose()


async def test_all_visitors_get_a_message(visitor):
    async with visitor() as ada, visitor() as bob:
        await ada.get("/")  # the first visit makes the session, and the name
        await bob.get("/")
        async with (
            aconnect_ws("http://localhost/chat", ada) as one,
            aconnect_ws("http://localhost/chat", bob) as other,
        ):
            await one.send_text("Hello!")
            received = await other.receive_json()
            assert received["text"] == "Hello!"
            assert await one.receive_json() == received


async def test_a_picture_comes_back_as_it_was(visitor):
    ada = visitor()
    answer = await ada.fill_in(
        "/upload", picture=PNG, description='A "pie" & <custard>'
    )
    assert answer.status_code == 303
    page = (await ada.get("/")).text
    assert "A &#34;pie&#34; &amp; &lt;custard&gt;" in page

    picture = await ada.get(page.partition('<img src="')[2].partition('"')[0])
    assert (picture.headers["content-type"], picture.content) == ("image/png", PNG)


@pytest.mark.parametrize(("content", "status"), [(b"<html>", 422), (PNG * 100, 413)])
async def test_a_bad_or_too_large_picture_is_not_kept(
    visitor, monkeypatch, content, status
):
    monkeypatch.setattr(pictures, "MAX_SIZE", 1000)
    assert (
        await visitor().fill_in("/upload", picture=content, description="A pie")
    ).status_code == status
    assert list(pictures.folder().iterdir()) == []


async def test_old_pictures_make_room(visitor):
    ada = visitor()
    for number in range(14):
        await ada.fill_in("/upload", picture=PNG, description=f"Picture {number}")

    assert (
        (await ada.get("/")).text.count("<img")
        == len(list(pictures.folder().iterdir()))
        == 12
    )
