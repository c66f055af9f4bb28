"""Tests tutorials/10-workers with several processes on the same data."""

import json

import httpx
import pytest
from websockets.sync.client import connect

from tests.tutorials import steps
from tests.tutorials.steps import run_tests


@pytest.fixture(scope="module")
def other(server):
    """Another process on the same data."""
    with steps.running(steps.SERVE, server.folder) as started:
        yield started


def events(response):
    return (
        json.loads(line.removeprefix("data: "))
        for line in response.iter_lines()
        if line.startswith("data: ")
    )


def test_its_own_tests_pass(server):
    code, output = run_tests(server.folder)
    assert code == 0, output
    assert "16 passed" in output


def test_votes_and_sessions_go_from_process_to_process(client, other, vote):
    client.get("/")
    with (
        httpx.Client(base_url=other.url, cookies=client.cookies, timeout=60) as there,
        there.stream("GET", "/events") as response,
    ):
        data = events(response)
        assert next(data)["votes"]["Apple"] == 0
        vote(client, "Apple")
        while next(data)["votes"]["Apple"] == 0:  # the first look at the database is news too
            pass
    page = httpx.get(other.url, cookies=dict(client.cookies), timeout=60).text
    assert "Change my vote" in page


def test_chat_goes_from_process_to_process(client, server, other):
    client.get("/")
    headers = {"Cookie": f"session_id={client.cookies['session_id']}"}
    here, there = (f"ws{url.removeprefix('http')}/chat" for url in (server.url, other.url))
    with (
        connect(here, additional_headers=headers) as one,
        connect(there, additional_headers=headers) as two,
    ):
        one.send("Can you hear me?")
        assert json.loads(two.recv(timeout=60))["text"] == "Can you hear me?"


def test_page_of_before_a_restart_still_votes(client, server, vote):
    client.get("/")
    with steps.running(f"{steps.SERVE} --workers 2", server.folder) as again:
        answer = client.post(f"{again.url}/vote", data={"pie": "Cherry"})
    assert answer.status_code == 303


def test_page_looks_like_its_picture(browsing, picture, visitor, vote):
    for pie in ("Pumpkin", "Apple", "Pumpkin"):
        vote(visitor(), pie)
    page = browsing.page((800, 1280))
    page.goto("/")
    page.locator("#state", has_text="counted live").wait_for()
    picture(page)
