"""The smallest MicroPie app: two methods, two URLs."""

import html

from micropie import App


class Root(App):
    """Each public method answers the URL of its name."""

    async def index(self) -> str:
        """Answer ``/``."""
        return "Welcome to MicroPie."

    async def greet(self, name: str = "world") -> str:
        """Answer ``/greet/Alice`` and ``/greet?name=Alice``."""
        return f"Hello, {html.escape(name)}!"


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
