"""Routing by name: what a URL may look like, and which method answers it."""

from datetime import date
from enum import Enum
from typing import Any

from micropie import App, methods


class Size(Enum):
    """Converted by value: ``/shirt/small``."""

    SMALL = "small"
    LARGE = "large"


class Routes(App):
    """Each public method is a URL; its parameters say what may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Answer ``/``."""
        return await self._render_template("index.html")

    async def hello(self, name: str, greeting: str = "Hello") -> dict[str, str]:
        """Take one segment or two: ``/hello/Alice`` and ``/hello/Alice/Welcome``."""
        return {"text": f"{greeting}, {name}!"}

    async def search(
        self, *, q: str = "", page: int = 1, tag: list[str] | None = None
    ) -> dict[str, Any]:
        """Take nothing from the path; parameters after ``*`` come by name only."""
        return {"q": q, "page": page, "tags": tag or []}

    async def total(self, *numbers: float) -> dict[str, float]:
        """Take any number of segments: ``/total/1/2.5/3``."""
        return {"total": sum(numbers)}

    async def calendar(self, day: date) -> dict[str, str]:
        """Take a date; a segment that is none is a page that does not exist."""
        return {"day": day.strftime("%d.%m.%Y")}

    async def shirt(self, size: Size) -> dict[str, str]:
        """Take one of the values of an Enum."""
        return {"size": size.name}

    @methods("GET")
    async def echo(self, **anything: str) -> dict[str, str]:
        """Take every name of the query that no parameter has."""
        return anything

    async def about_us(self) -> dict[str, str]:
        """Answer ``/about-us`` as well as ``/about_us``."""
        return {"page": "about us"}

    async def robots_txt(self) -> tuple[int, str, dict[str, str]]:
        """Answer ``/robots.txt``."""
        return (
            200,
            "User-agent: *\nDisallow: /echo\n",
            {"content-type": "text/plain; charset=utf-8"},
        )

    @methods("GET", "PUT", "DELETE")
    async def item(self, number: int, /) -> tuple[int, dict[str, Any]]:
        """Answer these methods, HEAD and OPTIONS; for others MicroPie answers 405."""
        return 200, {"method": self.request.method, "number": number}

    def _url(self, path: str = "") -> str:
        """Return the URL of a page; a name that starts with ``_`` is no URL itself."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Routes()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
