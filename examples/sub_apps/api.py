"""An API in its own module, mounted below a path with its version."""

from micropie import App, WebSocket


class Api(App):
    """Answers in JSON, and over a WebSocket."""

    async def hello(self, name: str, /) -> dict[str, str]:
        """Greet, and tell the path at which this app is mounted."""
        return {"hello": name, "below": self.request.scope.get("root_path", "")}

    async def ws_shout(self, ws: WebSocket) -> None:
        """Answer each message in capitals."""
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message).upper())
