"""Socket.IO: python-socketio mounted in an App, with its real JavaScript client."""

from pathlib import Path
from typing import Any

import socketio
from micropie import App

CLIENT = (Path(__file__).parent / "static" / "socket.io.min.js").read_bytes()
SCRIPT = {
    "content-type": "text/javascript; charset=utf-8",
    "cache-control": "max-age=86400",
}
MAX_TEXT = 1000  # characters of one message

# Pages of other origins are refused: `cors_allowed_origins` would list who may connect.
sio = socketio.AsyncServer(async_mode="asgi", max_http_buffer_size=2**16)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
    """Let a client in if it has a name."""
    name = auth.get("name") if isinstance(auth, dict) else None
    if not isinstance(name, str) or not 0 < len(name.strip()) <= 30:
        error = "a name has 1 to 30 characters"
        raise socketio.exceptions.ConnectionRefusedError(error)
    await sio.save_session(sid, {"name": name.strip(), "room": None})


@sio.event
async def enter(sid: str, room: Any = None, *_: Any) -> dict[str, Any]:
    """Go to a room; the returned dict reaches the client as the acknowledgement.

    The arguments can be anything, since clients send what they like.
    """
    async with sio.session(sid) as session:
        if session["room"] or not isinstance(room, str) or not 0 < len(room) <= 30:
            return {"error": "enter one room, with a name of 1 to 30 characters"}
        session["room"] = room
    await sio.enter_room(sid, room)
    await sio.emit("entered", {"name": session["name"]}, room=room, skip_sid=sid)
    return {"ok": True}


@sio.event
async def say(sid: str, text: Any = None, *_: Any) -> dict[str, Any]:
    """Say something to all members of the room."""
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
        await sio.emit("left", {"name": session["name"]}, room=session["room"])


class Root(App):
    """One page and its client; the rest is Socket.IO's."""

    def __init__(self) -> None:
        super().__init__()
        self.env.globals["url"] = self._url
        # No path, since the mount has taken it away already.
        self.mounts["/socket.io"] = socketio.ASGIApp(sio, socketio_path=None)
        self.shutdown_handlers.append(sio.shutdown)

    async def index(self) -> str:
        """Show the page."""
        return await self._render_template("index.html")

    async def client_js(self) -> tuple[int, bytes, dict[str, str]]:
        """Serve the client at ``/client.js``, so that no other site is asked for it."""
        return 200, CLIENT, SCRIPT

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
