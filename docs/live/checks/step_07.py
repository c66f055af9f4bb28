"""Checks of step 7: a chat with WebSockets."""

from checking import Missing, Program, statements
from checking_client import Socket
from checking_poll import STEP_7, chatting, expect_known, message_of

# More checks: what the steps up to this one have added still works.
MORE = STEP_7


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


async def check_leaving(poll: Program) -> None:
    """The chat of a visitor ends when the visitor leaves."""
    async with chatting(poll.visitor()) as socket:
        socket.send("Good night!")
        await message_of(socket, "The writer")
    if socket.goes_on:
        text = "The visitor has left, and the method goes on. Cancel the task that sends."
        raise Missing(socket.place, text)


async def check_messages_in_sql(poll: Program) -> None:
    """Neither a message nor its writer's name is a part of the SQL."""
    with statements(poll) as found:
        await poll.restart()
        for earlier, message in enumerate(("Hello!", "Hi!", "It's me")):
            known = set(found)
            async with chatting(poll.visitor()) as visitor:
                for _ in range(earlier):
                    await message_of(visitor, "A visitor who came later")
                visitor.send(message)
                came = (await message_of(visitor, "The writer"))["text"]
                if came != message:
                    raise Missing(visitor.place, f"{message!r} was sent, and {came!r} came.")
    expect_known(found, known)
