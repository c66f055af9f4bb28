"""examples/llm_chat"""

import httpx
import pytest

from tests.examples import harness
from tests.examples.browsing import fill_in
from tests.processes import wait_until

LONG = " ".join(map(str, range(1000)))


@pytest.mark.parametrize("place", ["/", f"{harness.PREFIX}/"])
def test_page_streams_and_stops_an_answer(page, browsing, server, place):
    fake = server.environment["OPENAI_BASE_URL"].removesuffix("/v1")
    before = httpx.get(fake, timeout=60).json()["words"]
    page.goto(place)
    assert page.context.cookies() == []
    fill_in(page, {"Your question": "<b>pie</b>"}, "Ask", "You say: <b>pie</b>")
    page.get_by_role("button", name="Ask").wait_for()
    page.get_by_label("Your question").fill(LONG)
    page.get_by_label("Your question").press("Enter")
    page.get_by_text("You say: 0 1 2").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Ask").wait_for()
    wait_until(lambda: httpx.get(fake, timeout=60).json()["answering"] == 0)
    assert httpx.get(fake, timeout=60).json()["words"] - before < 500
    wait_until(lambda: LONG in page.request.get(place).text(), what="the chat to be kept")
    fill_in(page, {"Your question": "fail"}, "Ask", "failed (400)")
    page.get_by_role("button", name="Ask").wait_for()
    messages = page.locator("#messages li").count()
    page.get_by_label("Your question").fill(" \n ")
    page.get_by_role("button", name="Ask").click()
    assert page.locator("#messages li").count() == messages
    browsing.expected.append("422")
    fill_in(page, {"Your question": "x" * 4001}, "Ask", "1 to 4000 characters")
    assert page.locator("#messages .error").count() == 1
    page.reload()
    assert page.locator(".user").all_inner_texts() == ["<b>pie</b>", LONG]
    assert page.locator(".assistant").last.inner_text().startswith("(gpt-5-mini) You say: 0 1 2")
    browsing.check_look(place, like=page)
    with page.expect_navigation():
        page.get_by_role("button", name="New chat").click()
    assert page.locator("#messages li").count() == 0


def test_chats_of_others_are_not_shown(server):
    with server.client() as ada, server.client() as eve:
        for visitor in (ada, eve):
            assert visitor.post("/ask", data={"question": str(id(visitor))}).status_code == 200
        assert str(id(ada)) not in eve.get("/").text


def test_history_is_bounded(client, measured):
    for number in range(12):
        client.post("/ask", data={"question": f"q{number}-"})
    assert ">q1-<" not in client.get("/").text
    assert ">q2-<" in client.get("/").text


def test_model_is_told_its_part_as_the_readme_says(tmp_path, services, measure):
    folder = harness.copied("llm_chat", tmp_path)
    told = '{"role": "system", "content": "Be brief."}'
    source = (folder / "app.py").read_text()
    assert source.count("messages=messages, stream") == 1
    source = source.replace("messages=messages, stream", f"messages=[{told}, *messages], stream")
    (folder / "app.py").write_text(source)
    environment = {**measure, **services.environment("llm_chat"), "MODEL": "other"}
    with harness.running(harness.SERVE, folder, environment) as server:
        answer = httpx.post(f"{server.url}/ask", data={"question": "Hi"}, timeout=60)
    assert answer.text == "(other Be brief.) You say: Hi "


def test_without_a_key_the_page_says_so(tmp_path, measure):
    folder = harness.copied("llm_chat", tmp_path)
    with harness.running(harness.SERVE, folder, {**measure, "OPENAI_API_KEY": ""}) as server:
        assert "Set OPENAI_API_KEY" in httpx.get(server.url, timeout=60).text
        assert (
            httpx.post(f"{server.url}/ask", data={"question": "x"}, timeout=60).status_code == 503
        )
