"""The smallest MicroPie app: two methods, two URLs."""

from micropie import App


class Root(App):
    """Each public method answers the URL of its name."""

    async def index(self) -> str:
        """Answer ``/``."""
        return "Welcome to MicroPie."

    async def greet(self, name: str = "world") -> str:
        """Answer ``/greet/Alice`` and ``/greet?name=Alice`` in plain text."""
        return f"Hello, {name}!"


app = Root()
