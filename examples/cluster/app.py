"""A chat with rooms, as one process or as many; REDIS_URL names what they share."""

import asyncio
import ipaddress
import math
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    Request,
    ServerSentEvent,
    WebSocket,
    event_stream,
    methods,
)

from ending import ending
from passwords import hash_password, verify_password
from tasks import KEEP, broker, bus, result_of, start

LOGIN_TRIES = int(os.environ.get("LOGIN_TRIES", "20"))  # in 15 minutes, of one client
MESSAGES = int(os.environ.get("MESSAGES", "10"))  # in 10 seconds, of a member
MAX_TEXT = 1000  # characters of a message
# It is checked for names that do not exist. So they take as long as a wrong password.
NO_ACCOUNT = hash_password("")
RULES = "A name has 2 to 30 letters and digits, a password 8 to 200 characters."
SAY = "A message has 1 to 1000 characters, and a key 8 to 64.\n"


class NeedsRedis(HttpMiddleware):
    """Answers 503 at once while Redis is down, for all pages that can't do without."""

    async def before_request(self, request: Request) -> None:
        """Let the request pass, or refuse it."""
        if request.route_handler not in {"about", "health"}:
            with bus.link:
                pass


class Chat(App):
    """Visitors read, by event streams. Members read and write, by WebSockets."""

    def __init__(self) -> None:
        fortnight = 14 * 24 * 3600
        super().__init__(bus.sessions, session_timeout=fortnight, max_body_size=2**16)
        self.middlewares.append(NeedsRedis())
        self.env.globals.update(url=self._url, rooms=bus.rooms)
        self.startup_handlers += [ending.notice, self._watch, bus.open, broker.startup]
        self.shutdown_handlers += [broker.shutdown, bus.close, self._unwatch]

    async def index(self) -> str:
        """List the rooms, and who is present."""
        return await self._page("index.html")

    async def about(self) -> str:
        """Answer without a session, so also while Redis is down."""
        return await self._render_template("about.html")

    async def health(self) -> tuple[int, dict[str, str], dict[str, str]]:
        """Tell a load balancer that this process runs."""
        return 200, {"status": "ok"}, {"cache-control": "no-store"}

    @methods("GET", "POST")
    async def sign_up(self) -> Any:
        """Show the form, or make an account and log in to it."""
        if self.request.method != "POST":
            return await self._page("account.html", title="Sign up")
        name, password = await self._name_and_password()
        error = RULES
        if re.fullmatch(r"\w{2,30}", name) and 8 <= len(password) <= 200:
            # A thread, since hashing takes a tenth of a second on purpose.
            hashed = await asyncio.to_thread(hash_password, password)
            if await bus.add_user(name, hashed):
                return self._enter(name)
            error = "This name is taken."
        return 400, await self._page("account.html", title="Sign up", error=error)

    @methods("GET", "POST")
    async def login(self) -> Any:
        """Show the form, or check what it sends."""
        if self.request.method != "POST":
            return await self._page("account.html", title="Log in")
        name, password = await self._name_and_password()
        kept = await bus.password_of(name)
        fits = await asyncio.to_thread(verify_password, password, kept or NO_ACCOUNT)
        if fits and kept:
            return self._enter(name)
        error = "Wrong name or password."
        return 400, await self._page("account.html", title="Log in", error=error)

    @methods("POST")
    async def logout(self) -> Any:
        """Empty the session, which deletes it and its cookie."""
        self.request.session.clear()
        return self._redirect(self._url(), 303)

    async def room(self, name: str, /) -> str:
        """Show a room."""
        return await self._page("room.html", room=_known(name), longest=MAX_TEXT)

    @methods("GET")
    async def events(self, room: str, /, last: str = "") -> Any:
        """Send a room's messages as they come.

        A browser that connects again by itself sends the header. It is newer than the
        query, which the page writes when it makes a new `EventSource`.
        """
        last_id = self.request.headers.get("last-event-id", last)
        return event_stream(self._events(_known(room), last_id))

    async def _events(self, room: str, last_id: str) -> AsyncIterator[ServerSentEvent]:
        async for event in bus.read(room, last_id):
            yield ServerSentEvent(event, id=event.get("id"), retry=1000)

    @methods("POST")
    async def say(
        self, room: str, /, *, name: FromSession, text: str, key: str = ""
    ) -> dict[str, str]:
        """Take a message, and answer when it is stored; programs need no WebSocket."""
        key = key or secrets.token_urlsafe(16)
        return {"id": await self._say(_known(room), name, key, text)}

    async def ws_chat(self, ws: WebSocket, room: str, /, *, last: str = "") -> None:
        """Send a member the events of a room, and take messages."""
        await ws.accept()  # a refusal before that would reach a page without its reason
        name = self.request.session.get("name")
        if room not in bus.rooms or not name:
            return await ws.close(4001, "log in, and choose a room that there is")
        await bus.enter(bus.rooms[room], name)
        try:
            async with (
                asyncio.TaskGroup() as group,
                aclosing(bus.read(room, last)) as events,
            ):
                hearing = group.create_task(self._hear(ws, room, name))
                async for event in events:
                    await ws.send_json(event)  # waits while the client does not read
                hearing.cancel()
        except* ConnectionClosed:
            pass  # the client has left
        finally:
            await bus.leave(bus.rooms[room], name)
        await ws.close(1012, "the server restarts")

    async def _hear(self, ws: WebSocket, room: str, name: str) -> None:
        """Do what the client asks for. Add a case for each new type of message."""
        while True:
            try:
                message = await ws.receive_json()
            except ValueError:
                continue
            match message:
                case {"type": "say", "key": str(key), "text": str(text)}:
                    try:
                        entry_id = await self._say(room, name, key, text)
                        answer = {"type": "stored", "key": key, "id": entry_id}
                    except HTTPError as error:
                        text = str(error.body).strip()
                        answer = {"type": "refused", "key": key, "text": text}
                    await ws.send_json(answer)

    async def _say(self, room: str, name: str, key: str, text: str) -> str:
        if not text.strip() or len(text) > MAX_TEXT or not 8 <= len(key) <= 64:
            raise HTTPError(400, SAY)
        await _limit(f"say:{name}", MESSAGES, 10)
        return await bus.add(room, name, key, text)

    @methods("GET", "POST")
    async def export(self, room: str, /, *, name: FromSession) -> Any:
        """Let a worker write down a room with POST; give the text with GET."""
        session, key = self.request.session, f"export {_known(room)}"
        if self.request.method == "POST":
            await _limit(f"export:{name}", MESSAGES, 60)
            session[key] = [await start(room), time.time() + KEEP]
            return self._redirect(self._url(f"export/{room}"), 303)
        task_id, ends = session.get(key, ["", 0.0])
        if time.time() > ends:
            raise HTTPError(404, "There is no export of this room.\n")
        text = await result_of(task_id)
        if text is None:
            again = {"refresh": "1", "cache-control": "no-store"}
            return 202, "Not ready yet. This page looks again.\n", again
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "content-disposition": f'attachment; filename="{room}.txt"',
        }
        return 200, text.encode(), headers

    async def _name_and_password(self) -> tuple[str, str]:
        await _limit(f"login:{client_of(self.request)}", LOGIN_TRIES, 900)
        # Not parameters, which the URL could fill in: URLs end up in logs.
        form = self.request.form
        return form("name", "").strip(), form("password", "")[:201]

    def _enter(self, name: str) -> Any:
        self.request.session["name"] = name
        self.request.regenerate_session()
        return self._redirect(self._url(), 303)

    async def _page(self, template: str, **context: Any) -> str:
        user = self.request.session.get("name")
        return await self._render_template(template, user=user, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"

    async def _watch(self) -> None:
        self._watcher = asyncio.create_task(self._stop_at_the_end())

    async def _stop_at_the_end(self) -> None:
        """End streams at the signal to stop. Servers wait for them, and tell no app."""
        await ending.wait()
        bus.stop()

    def _unwatch(self) -> None:
        self._watcher.cancel()


def _known(room: str) -> str:
    if room not in bus.rooms:
        raise HTTPError(404)
    return room


async def _limit(key: str, limit: int, seconds: float) -> None:
    wait = math.ceil(await bus.wait(key, limit, seconds))
    if wait:
        text = f"That was too fast. Please wait {wait} seconds.\n"
        raise HTTPError(429, text, {"retry-after": str(wait)})


def client_of(request: Request) -> str:
    """Return the client's address, of IPv6 its network, which one client has whole."""
    host = (request.scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


app = Chat()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
