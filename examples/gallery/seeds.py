"""Fills some examples when the gallery starts, so that their rooms are not empty."""

import logging
from typing import Any

import httpx2
from micropie import App

_log = logging.getLogger("uvicorn.error")

ARTICLE = """\
There is a *right* way to let a sourdough rest, and there are the ways people find at
two in the morning.

1. 500 g of flour, the plain kind
2. 350 g of water, lukewarm
3. Patience
"""
CODE = """\
def minutes(weight: float, oven: int = 180) -> int:
    return round(45 * weight**0.5 * 180 / oven)


print(minutes(1.2))
"""
# By example: the path, and what a browser or a program sends to it.
SEEDS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "file_uploads": [
        ("upload", {"files": {"file": ("menu.txt", b"Plum pie\nApple tart\n")}}),
    ],
    "json_api": [
        ("notes", {"json": {"title": "Flour", "text": "Two bags, the plain kind"}}),
        ("notes", {"json": {"title": "Plums", "text": "Ripe ones"}}),
    ],
    "lifespan": [
        ("add", {"json": {"title": "Bread, and Waiting for It", "copies": 3}}),
        ("add", {"json": {"title": "The Art of the Pie", "copies": 5}}),
    ],
    "todo_htmx": [
        ("add", {"data": {"title": "Buy plums"}}),
        ("add", {"data": {"title": "Bake a pie"}}),
    ],
    "pastebin": [
        ("create", {"data": {"text": CODE, "title": "pie.py", "language": "guess"}}),
    ],
    "crud_sql": [
        ("contacts", {"json": {"name": "Ada", "email": "ada@example.org"}}),
    ],
}


class Seeds(App):
    """Sends the requests when everything before it in `mounts` has started.

    Args:
        gallery: The app that has the examples in its mounts.
    """

    def __init__(self, gallery: App) -> None:
        super().__init__()
        self._gallery = gallery
        self.startup_handlers.append(self._sow)

    async def _sow(self) -> None:
        transport = httpx2.ASGITransport(self._gallery)
        for name, requests in SEEDS.items():
            if f"/examples/{name}" not in self._gallery.mounts:
                continue
            base = f"http://127.0.0.1:8000/examples/{name}/"
            async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
                for path, options in requests:
                    response = await client.post(path, **options)
                    if response.status_code >= 400:
                        text = f"{response.status_code} {response.text[:200]}"
                        _log.warning("%s/%s was not filled: %s", name, path, text)
