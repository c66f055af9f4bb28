"""Socket.IO: python-socketio mounted in an App, with its real JavaScript client."""

import html
from pathlib import Path
from typing import Any

import socketio
from micropie import App

HERE = Path(__file__).parent
PAGE = (HERE / "index.html").read_text(encoding="utf-8")
CLIENT = (HERE / "static" / "socket.io.min.js").read_bytes()
MAX_TEXT = 1000  # characters of one message

# Pages of other origins are refused: `cors_allowed_origins` would list who may connect.
sio = socketio.AsyncServer(async_mode="asgi", max_http_buffer_size=2**16)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
    """Let in who has a name."""
    name = auth.get("name") if isinstance(auth, dict) else None
    if not isinstance(name, str) or not 0 < len(name.strip()) <= 30:
        raise socketio.exceptions.ConnectionRefusedError(
            "a name has 1 to 30 characters"
        )
    await sio.save_session(sid, {"name": name.strip(), "room": None})


@sio.event
async def enter(sid: str, room: Any = None, *_: Any) -> dict[str, Any]:
    """Go to another room; what is returned reaches the client as the acknowledgement.

    The arguments may be anything: clients send what they like.
    """
    if not isinstance(room, str) or not 0 < len(room) <= 30:
        return {"error": "a room has 1 to 30 characters"}
    async with sio.session(sid) as session:
        if session["room"]:
            await _leave(sid, session)
        session["room"] = room
        name = session["name"]
    await sio.enter_room(sid, room)
    await sio.emit("entered", {"name": name}, room=room, skip_sid=sid)
    return {"members": await _members(room)}


@sio.event
async def say(sid: str, text: Any = None, *_: Any) -> dict[str, Any]:
    """Say something to everybody in the room."""
    session = await sio.get_session(sid)
    if not session["room"] or not isinstance(text, str) or not text.strip():
        return {"error": "enter a room, and say something"}
    said = {"name": session["name"], "text": text[:MAX_TEXT]}
    await sio.emit("said", said, room=session["room"])
    return {"ok": True}


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    """Tell the others; python-socketio itself takes the client out of its rooms."""
    session = await sio.get_session(sid)
    if session["room"]:
        await _leave(sid, session)


async def _leave(sid: str, session: dict[str, Any]) -> None:
    await sio.leave_room(sid, session["room"])
    await sio.emit("left", {"name": session["name"]}, room=session["room"])


async def _members(room: str) -> list[str]:
    present = sio.manager.get_participants("/", room)
    found = [await sio.get_session(sid) for sid, _ in present]
    return sorted(session["name"] for session in found)


class Root(App):
    """One page and its client; the rest is Socket.IO's."""

    def __init__(self) -> None:
        super().__init__()
        # No path of its own: the mount leaves it just what it should answer.
        self.mounts["/socket.io"] = socketio.ASGIApp(sio, socketio_path=None)
        self.shutdown_handlers.append(sio.shutdown)

    async def index(self) -> str:
        """Show the page."""
        root = self.request.scope.get("root_path", "").rstrip("/")
        return PAGE.replace("{{ root }}", html.escape(root))

    async def client_js(self) -> tuple[int, bytes, dict[str, str]]:
        """Serve the client at ``/client.js``: no other site has to be asked for it."""
        headers = {
            "content-type": "text/javascript; charset=utf-8",
            "cache-control": "max-age=86400",
        }
        return 200, CLIENT, headers


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
