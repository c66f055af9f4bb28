"""Checks of step 7: a chat with WebSockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from checking import Missing, Place, Program, Visitor
from checking_client import Socket

PAGE = Place("templates/index.html")


@asynccontextmanager
async def chatting(visitor: Visitor) -> AsyncIterator[Socket]:
    """Load the page, and open the chat as its script does."""
    await visitor.get("/")
    async with visitor.websocket("/chat") as socket:
        if not socket.accepted:
            raise Missing(socket.place, "The chat must accept a visitor of the page.")
        yield socket


async def message_of(socket: Socket, who: str, seconds: float = 20) -> dict[str, Any]:
    """Return the next message, or say that none came."""
    found = await socket.receive(seconds)
    if socket.code is not None:
        text = f"The chat of {who}, a visitor of the page, was closed with {socket.code}."
        raise Missing(socket.place, f"{text} Give each visitor a `name` in the session.")
    if found is None:
        text = f"{who} got no message. Send each message to all visitors, and to its writer, too."
        raise Missing(socket.place, text)
    if not isinstance(found, dict) or not {"name", "text"} <= set(found):
        text = f'A message must be JSON, `{{"name": …, "text": …}}`, and it was `{found}`.'
        raise Missing(socket.place, text)
    return found


async def check_message(poll: Program) -> None:
    """A message goes to all visitors, with the name of its writer."""
    async with chatting(poll.visitor()) as ada, chatting(poll.visitor()) as bob:
        ada.send("Hello!")
        one, other = await message_of(ada, "The writer"), await message_of(bob, "Another visitor")
        bob.send("Hi!")
        reply = await message_of(ada, "The first visitor")
        if (one["text"], other["text"], reply["text"]) != ("Hello!", "Hello!", "Hi!"):
            text = (
                f'"Hello!" and "Hi!" were sent, and {one["text"]!r}, {other["text"]!r} and '
                f"{reply['text']!r} came."
            )
            raise Missing(ada.place, text)
        if not one["name"] or one["name"] == reply["name"]:
            text = "Each visitor needs a name of their own. `index` puts it into the session."
            raise Missing(poll.handler("/"), text)


async def check_latecomer(poll: Program) -> None:
    """A visitor who comes later gets the earlier messages, also after a restart."""
    async with chatting(poll.visitor()) as ada:
        ada.send("The first")
        await message_of(ada, "The writer")
    await poll.restart()
    async with chatting(poll.visitor()) as bob:
        found = await message_of(bob, "A visitor who came later")
        if found["text"] != "The first":
            raise Missing(bob.place, f"A visitor who came later got {found['text']!r} first.")


async def check_strangers(poll: Program) -> None:
    """Without a session, or from another site, there is no chat, and the page learns why."""
    visitor = poll.visitor()
    async with visitor.websocket("/chat") as socket:
        await expect_closed(socket, "no session")
    await visitor.get("/")
    async with visitor.websocket("/chat", {"origin": "https://evil.example"}) as socket:
        await expect_closed(socket, "another site")


async def expect_closed(socket: Socket, who: str) -> None:
    """See that the app closes a WebSocket as chat.js expects it."""
    await socket.receive(5)
    if socket.code is None:
        text = (
            f"A WebSocket with {who} was let in. Take `name` from the session with "
            "`FromSession`, and close the WebSocket if there is none."
        )
        raise Missing(socket.place, text)
    if not socket.accepted:
        text = (
            "Accept the WebSocket before you close it. Otherwise the page can't see the close code."
        )
        raise Missing(socket.place, text)
    if socket.code != 4403:
        text = f"`chat.js` waits for the close code 4403, and {socket.code} came."
        raise Missing(socket.place, text)


async def check_name(poll: Program) -> None:
    """No visitor can choose another name."""
    visitor = poll.visitor()
    await visitor.get("/")
    async with visitor.websocket("/chat?name=Ada") as socket:
        socket.send("It is me")
        if (await message_of(socket, "The writer"))["name"] == "Ada":
            text = "A URL named the writer. Take `name` from the session alone, with `FromSession`."
            raise Missing(socket.place, text)


async def check_limits(poll: Program) -> None:
    """Blank and binary messages are left out, and long ones are cut to 500 characters."""
    async with chatting(poll.visitor()) as ada:
        for message in (" ", b"bytes", "x" * 1000, "the last"):
            ada.send(message)
        found = await message_of(ada, "The writer of a long message")
        if not found["text"].strip() or "bytes" in found["text"]:
            raise Missing(ada.place, "Leave out messages that are blank or not text.")
        if found["text"] != "x" * 500:
            text = f"Cut a message to 500 characters. One of 1,000 came with {len(found['text'])}."
            raise Missing(ada.place, text)


async def check_pace(poll: Program) -> None:
    """A visitor cannot flood the chat."""
    async with chatting(poll.visitor()) as ada, chatting(poll.visitor()) as bob:
        for number in range(6):
            ada.send(f"{number}")
        count = 0
        while count < 6 and await bob.receive(0.3) is not None:
            count += 1
        if count == 6:
            text = (
                "Six messages of one visitor came at once. Sleep for half a second after each "
                "message."
            )
            raise Missing(bob.place, text)


async def check_page(poll: Program) -> None:
    """The page has the chat and its script."""
    page = (await poll.visitor().get("/")).expect(200, "`/` must show the page.")
    if "new WebSocket(" not in page.text:
        if "templates/chat.js" not in poll.files:
            text = "This file is missing. It opens the WebSocket, and shows the messages."
            raise Missing(Place("templates/chat.js"), text)
        text = (
            'The page must include the script, so write `<script type="module">{% include '
            '"chat.js" %}</script>`.'
        )
        raise Missing(PAGE, text)
    for name in ("messages", "say"):
        if f"#{name}" in poll.text("templates/chat.js") and f'id="{name}"' not in page.text:
            text = f'`chat.js` looks for `#{name}`, and no element of the page has `id="{name}"`.'
            raise Missing(PAGE, text)
