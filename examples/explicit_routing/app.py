"""Explicit routing, with a URL, HTTP methods and converters for each method."""

from typing import Any
from uuid import UUID

from micropie import HTTPError, WebSocket

from routing import RoutedApp, delete, get, post, put, route, websocket


class Root(RoutedApp):
    """A few notes to read and write, and a route of every kind."""

    def __init__(self) -> None:
        super().__init__(max_body_size=64 * 1024)
        self._notes: dict[int, str] = {1: "Buy milk"}
        self._last_id = 1

    @get("/")
    async def _home(self) -> dict[str, list[str]]:
        listed = [
            (one.pattern, sorted(one.methods or ["WS"])) for one in self._patterns
        ]
        return {"routes": [f"{'/'.join(names)} {url}" for url, names in listed]}

    @get("/notes")
    async def _list_notes(self) -> list[dict[str, Any]]:
        return [{"id": note_id, "text": text} for note_id, text in self._notes.items()]

    @post("/notes")
    async def _add_note(self, text: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        self._last_id += 1
        self._notes[self._last_id] = text
        location = self._url_for("_show_note", note_id=self._last_id)
        return 201, {"id": self._last_id, "text": text}, {"location": location}

    @get("/notes/{note_id:int}")
    async def _show_note(self, note_id: int) -> dict[str, Any]:
        if note_id not in self._notes:
            raise HTTPError(404, {"error": "no such note"})
        return {"id": note_id, "text": self._notes[note_id]}

    @put("/notes/{note_id:int}")
    async def _change_note(self, note_id: int, text: str) -> dict[str, Any]:
        await self._show_note(note_id)
        self._notes[note_id] = text
        return {"id": note_id, "text": text}

    @delete("/notes/{note_id:int}")
    async def _delete_note(self, note_id: int) -> None:
        await self._show_note(note_id)
        del self._notes[note_id]

    @get("/users/me")
    async def _me(self) -> dict[str, str]:
        return {"user": "that is you"}

    @get("/users/{user_id:uuid}")
    async def _user(self, user_id: UUID) -> dict[str, Any]:
        return {"user": user_id}

    @get("/users/{name}")
    async def _user_by_name(self, name: str) -> dict[str, str]:
        return {"name": name}

    @get("/files/{path:path}")
    async def _file(self, path: str) -> dict[str, str]:
        return {"path": path}

    @route("/report-{year:int}.{kind}", methods=["GET", "POST"])
    async def _report(self, year: int, kind: str) -> dict[str, Any]:
        return {"year": year, "kind": kind}

    @websocket("/rooms/{room}/{seat:int}")
    async def _room(self, ws: WebSocket, room: str, seat: int) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_json({"room": room, "seat": seat, "message": message})


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
