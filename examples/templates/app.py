"""Jinja2 templates: a layout, macros, own filters, and messages shown once."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from micropie import App, methods

NOW = datetime.now(UTC)


class Pie(NamedTuple):
    """A pie of the shop."""

    title: str
    price: float
    baked: datetime
    remark: str = ""


PIES = {
    "apple": Pie("Apple pie", 4.5, NOW - timedelta(minutes=20), "with < 50 g of sugar"),
    "cherry": Pie("Cherry pie", 5, NOW - timedelta(hours=3)),
    "plum": Pie("Plum pie", 4.75, NOW, "still hot"),
    "käse": Pie("Käsekuchen", 1234.5, NOW - timedelta(days=2), "the large one"),
}


def euros(value: float) -> str:
    """Return a price as it is written in a shop: ``1,234.50 €``."""
    return f"{value:,.2f} €"


def ago(time: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    seconds = (datetime.now(UTC) - time).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


class Shop(App):
    """A shop window and a basket."""

    def __init__(self) -> None:
        super().__init__()
        self.env.filters |= {"euros": euros, "ago": ago}
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Show all pies."""
        return await self._page("index.html", pies=PIES)

    async def pie(self, name: str, /) -> Any:
        """Show one pie."""
        if name not in PIES:
            return 404, await self._page("missing.html", wanted=name)
        return await self._page("pie.html", name=name, pie=PIES[name])

    @methods("POST")
    async def order(self, name: str, count: int = 1) -> Any:
        """Put a pie into the basket, and say so on the next page."""
        if name not in PIES or not 1 <= count <= 20:
            self._flash("error", f"{count} × {name}: we do not have that.")
        else:
            session = self.request.session
            basket = session.get("basket", {})
            session["basket"] = {**basket, name: basket.get(name, 0) + count}
            self._flash("good", f"{count} × {PIES[name].title} in your basket.")
        return self._redirect(self._url(), 303)

    async def price_list(self) -> tuple[int, str, dict[str, str]]:
        """Send plain text: a template that ends in ``.txt`` escapes nothing."""
        text = await self._render_template("prices.txt", pies=PIES)
        return 200, text, {"content-type": "text/plain; charset=utf-8"}

    async def _page(self, template: str, **context: Any) -> str:
        """Render a page with the parts that every page has."""
        session = self.request.session
        basket = sum(session.get("basket", {}).values())
        flashes = session.pop("flashes", [])
        return await self._render_template(
            template, flashes=flashes, basket=basket, **context
        )

    def _flash(self, kind: str, text: str) -> None:
        """Keep a message for the next page that is shown."""
        session = self.request.session
        session["flashes"] = [*session.get("flashes", []), {"kind": kind, "text": text}]

    def _url(self, *segments: str) -> str:
        """Return a URL of this app, wherever it is mounted; segments are quoted."""
        root = str(self.request.scope.get("root_path", "")).rstrip("/")
        return f"{root}/{'/'.join(quote(item, safe='') for item in segments)}"


app = Shop()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
