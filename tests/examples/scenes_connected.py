"""Scenes of the examples that talk to other programs."""

import functools
import json

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.examples import harness
from tests.examples.accounts import signed
from tests.examples.browsing import file_named, fill_in
from tests.examples.loading import run
from tests.examples.scenes import pretty, scene
from tests.processes import wait_until

EVENTS = {
    "msg_3": {"type": "order.paid", "order": 1707},
    "msg_4": {"type": "order.shipped", "order": 1707},
    "msg_5": {"type": "order.returned", "order": 1650},
}


#: A function for a page, which gets 50 bytes of an answer. The rest never comes.
HOLD = """() => {
  const ask = window.fetch;
  window.fetch = async (...request) => {
    const answer = await ask(...request);
    let left = 50;
    const held = new TransformStream({transform(piece, pieces) {
      pieces.enqueue(piece.subarray(0, left));
      left -= piece.length;
      return left > 0 ? undefined : new Promise(() => {});
    }});
    return new Response(answer.body.pipeThrough(held), answer);
  };
}
"""


@scene(1.15)
def llm_chat(scene):
    """A question about apple pie, and an answer that is still coming, with a button to stop it."""
    scene.open()
    scene.fill(question="How do I bake an apple pie that does not get soggy?")
    scene.press("Ask")
    scene.page.get_by_text("soggy? ").last.wait_for()
    scene.page.evaluate(HOLD)
    scene.fill(question="And which apples? " * 6)
    scene.press("Ask")
    scene.page.get_by_text("You say: And which apples? And which").wait_for()


@scene(1.6)
def oauth_login(scene):
    """The page Hello, stranger, with a button to log in at another site."""
    scene.open()


@scene(1.5)
def webhook(scene):
    """Three events as JSON with their types and times, all of them done."""
    key = (scene.data / "webhook" / "secret").read_bytes()
    for event_id, event in EVENTS.items():
        body = json.dumps(event).encode()
        url = f"{scene.base}/receive"
        response = scene.page.request.post(url, data=body, headers=signed(key, event_id, body))
        assert response.status == 202
        wait_until(functools.partial(are_done, scene), what="the event to be done")
    scene.open()
    pretty(scene)
    scene.page.locator("pre").evaluate(
        "shown => { shown.textContent = shown.textContent.replace(/20..-[-: 0-9]+/g,"
        " '2026-03-14 15:09:26'); }"
    )


def are_done(scene):
    """Say whether the app has worked on all events that it has got."""
    events = scene.page.request.get(f"{scene.base}/").json()["events"]
    return {event["state"] for event in events} == {"done"}


@scene(1.4)
def observability(scene):
    """The answers of a fast, a slow and a broken handler, with their times and request ids."""
    folder = harness.copied("observability", scene.data / "observability")
    # The gallery doesn't mount it, since it writes the log of its whole process.
    with harness.running(harness.SERVE, folder, {}) as server:
        scene.page.context.route(f"{server.url}/**", lambda route: route.continue_())
        scene.page.goto(server.url)
        scene.browsing.expected.append("500 (Internal Server Error)")
        for count, name in enumerate(("Fast answer", "Slow answer", "Exception", "Fast answer")):
            scene.press(name)
            scene.page.locator("#answers tr").nth(count).wait_for()


@scene(2)
def mcp_server(scene):
    """The notes of an agent as JSON, in the browser's own view of it."""
    headers = {"authorization": "Bearer " + (scene.data / "mcp_server" / "token").read_text()}

    async def talk():
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            for text in ("Buy plums", "The oven is too hot by 10 degrees"):
                await client.call_tool("add_note", {"text": text})

    url = f"{scene.browsing.url}{scene.base}/mcp/"
    run(talk())
    scene.open()
    pretty(scene)


@scene(0.85)
def deploy(scene):
    """A greeting by name, an upload, an answer of a WebSocket and the number of an event."""
    scene.open()
    fill_in(scene.page, {"Your name": "Ada"}, "Keep it", "Hello, Ada")
    scene.page.set_input_files("#file", file_named("menu.pdf", b"x" * 83_000))
    scene.press("Upload")
    scene.page.get_by_text("menu.pdf").wait_for()
    fill_in(scene.page, {"A message to the WebSocket": "Is it open?"}, "Send", "Ada says")
    scene.page.locator("#tick", has_text="1").wait_for()
