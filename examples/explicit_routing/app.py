"""Explicit routing, with a URL, HTTP methods and converters for each method."""

import html
from typing import Any
from uuid import UUID

from micropie import HTTPError, WebSocket

from routing import RoutedApp, delete, get, post, put, route, websocket

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Explicit routing</title>
<style>
:root {{ color-scheme: light dark; font: 1.05rem/1.6 system-ui, sans-serif; }}
:root {{ background: light-dark(#fdfdfb, #15181d);
  color: light-dark(#1d2127, #e6e8eb); }}
body {{ max-width: 46rem; margin: 3rem auto; padding: 0 1.25rem; }}
table {{ width: 100%; border-collapse: collapse; }}
th, td {{ padding: .45rem .8rem .45rem 0; text-align: left;
  border-bottom: 1px solid light-dark(#dcdfe3, #333a44); }}
code {{ font-size: .87em; overflow-wrap: anywhere; }}
a {{ color: light-dark(#0b57a4, #8cc8ff); }}
</style>
<main>
<h1>Explicit routing</h1>
<table>
<thead><tr><th scope="col">Methods</th><th scope="col">Pattern</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</main>
</html>
"""


class Root(RoutedApp):
    """A few notes to read and write, and a route of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: dict[int, str] = {1: "Buy milk"}
        self._last_id = 1

    @get("/")
    async def _home(self) -> str:
        links = {
            "/notes": self._url_for("_list_notes"),
            "/notes/{note_id:int}": self._url_for("_show_note", note_id=1),
            "/celsius/{degrees:float}": self._url_for("_celsius", degrees=-40.0),
            "/users/{user_id:uuid}": self._url_for("_user", user_id=UUID(int=7)),
            "/files/{path:path}": self._url_for("_file", path="music/jazz/so what.ogg"),
        }
        rows = ""
        for one in self._patterns:
            link = links.get(one.pattern) if "GET" in (one.methods or ()) else None
            names = (
                ", ".join(sorted(one.methods - {"HEAD"}))
                if one.methods
                else "WebSocket"
            )
            pattern = f"<code>{html.escape(one.pattern)}</code>"
            shown = f'<a href="{html.escape(link)}">{pattern}</a>' if link else pattern
            rows += f"<tr><td>{names}</td><td>{shown}</td></tr>\n"
        return PAGE.format(rows=rows)

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

    @route("/celsius/{degrees:float}", methods=["GET", "POST"])
    async def _celsius(self, degrees: float) -> dict[str, float]:
        return {"celsius": degrees, "fahrenheit": degrees * 9 / 5 + 32}

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

    @get("/report-{year:int}.{kind}")
    async def _report(self, kind: str, year: int) -> dict[str, Any]:
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
