"""Puts a bar that leads back to the gallery into the pages of other apps."""

import html
from typing import Any
from urllib.parse import quote


def with_bar(app: Any, name: str) -> Any:
    """Return an ASGI app that adds the bar to the HTML pages of another one.

    Args:
        app: The app of an example.
        name: The example.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            send = _Page(scope, name, send).send
        await app(scope, receive, send)

    return serve


class _Page:
    """One response; the bar goes into its first chunk, behind the tag `<body>`."""

    def __init__(self, scope: Any, name: str, send: Any) -> None:
        self._base = scope.get("root_path", "").removesuffix(f"/examples/{name}")
        self._name = name
        self._send = send
        self._start: dict[str, Any] | None = None

    async def send(self, message: dict[str, Any]) -> None:
        """Hold back the start of a page until its first chunk is there."""
        if message["type"] == "http.response.start" and self._is_page(message):
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            message, added = self._with_bar(message)
            headers = [(name, value) for name, value in start["headers"]]
            for place, (key, value) in enumerate(headers):
                if key.lower() == b"content-length":
                    headers[place] = (key, b"%d" % (int(value) + added))
            await self._send({**start, "headers": headers})
        await self._send(message)

    def _is_page(self, start: dict[str, Any]) -> bool:
        headers = {key.lower(): value for key, value in start.get("headers", ())}
        return (
            start["status"] != 206
            and headers.get(b"content-type", b"").startswith(b"text/html")
            and b"content-encoding" not in headers
        )

    def _with_bar(self, message: dict[str, Any]) -> tuple[dict[str, Any], int]:
        body: bytes = message.get("body", b"")
        end = body.find(b">", body.find(b"<body")) + 1
        if b"<body" not in body or not end:
            return message, 0
        bar = bar_html(self._base, self._name).encode()
        return {**message, "body": body[:end] + bar + body[end:]}, len(bar)


def bar_html(base: str, name: str) -> str:
    """Return the bar; most policies for pages allow its style sheet."""
    base, name = html.escape(quote(base)), html.escape(quote(name, safe=""))
    return (
        f'<link rel="stylesheet" href="{base}/bar_css">'
        '<nav class="gallery-bar" aria-label="Gallery">'
        f'<a href="{base}/">&larr; All examples</a>'
        f'<a href="{base}/readme/{name}">README</a>'
        f'<a href="{base}/source/{name}">Source</a></nav>'
    )


CSS = """\
nav.gallery-bar { position: fixed; inset: auto 0 0; z-index: 1000; display: flex;
  gap: 1.2rem; margin: 0; padding: .3rem 1rem; font: 14px/1.5 system-ui, sans-serif;
  color: #e6e8eb; background: #1d2127; border: 0; }
nav.gallery-bar a { margin: 0; padding: 0; color: #8cc8ff; text-decoration: none;
  font: inherit; background: none; border: 0; }
nav.gallery-bar a:hover { text-decoration: underline; }
nav.gallery-bar a:focus-visible { outline: 2px solid #ffc46b; outline-offset: 2px; }
body { padding-bottom: 3rem; }
"""
