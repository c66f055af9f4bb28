"""What users call their own helpers and attributes never gets in the way of the App's insides."""

import inspect
from typing import Any

from micropie import App, WebSocket
from tests.asgi import get, lifespan, run, websocket

DOCUMENTED = {
    "_asgi_app_http",
    "_asgi_app_websocket",
    "_asgi_app_lifespan",
    "_parse_cookies",
    "_parse_multipart",
    "_send_response",
    "_send_websocket_close",
    "_redirect",
    "_render_template",
    "_started",
}


def test_the_underscore_names_of_the_app_are_the_documented_ones() -> None:
    names = {name for name in {*dir(App), *vars(App())} if name.startswith("_")}
    assert {name for name in names if not name.startswith(("__", "_App__"))} == DOCUMENTED


def test_helpers_and_attributes_may_have_any_other_name() -> None:
    class Root(App):
        def __init__(self) -> None:
            super().__init__()
            self._settings = self._routes = self._env = self._debug = "mine"
            self.startup_handlers.append(self._open)

        async def _open(self) -> None:
            self.opened = True

        async def _load(self) -> str:
            return "loaded"

        def _call(self, *_: Any) -> str:
            return "called"

        async def index(self) -> str:
            return f"{self.opened} {await self._load()} {self._call()} {self._settings}"

        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.send_text(await self._load())

    async def main() -> None:
        app = Root()
        async with lifespan(app):
            assert (await get(app, "/")).text == "True loaded called mine"
            async with websocket(app, "/") as ws:
                assert await ws.receive() == "loaded"

    run(main())
    assert inspect.iscoroutinefunction(Root._open)
