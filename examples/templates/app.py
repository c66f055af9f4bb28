"""Jinja2 templates: inheritance, macros, own filters, and messages shown once."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from micropie import App, HTTPError, methods

PIES: dict[str, dict[str, Any]] = {
    "apple": {
        "name": "Apple pie",
        "price": 4.5,
        "baked": timedelta(minutes=20),
        "notes": "with < 50 g of sugar",
    },
    "cherry": {
        "name": "Cherry pie",
        "price": 5,
        "baked": timedelta(hours=3),
        "notes": "",
    },
    "plum": {
        "name": "Plum pie",
        "price": 4.75,
        "baked": timedelta(),
        "notes": "still hot",
    },
    "käse": {
        "name": "Käsekuchen",
        "price": 1234.5,
        "baked": timedelta(days=2),
        "notes": "the large one",
    },
}


def euros(value: float) -> str:
    """Return a price as it is written in a shop: ``1,234.50 €``."""
    return f"{value:,.2f} €"


def ago(moment: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
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
        self._opened = datetime.now(UTC)

    async def index(self) -> str:
        """Show all pies."""
        return await self._page("index.html", pies=PIES)

    async def pie(self, name: str) -> Any:
        """Show one pie."""
        if name not in PIES:
            return 404, await self._page("missing.html", wanted=name)
        return await self._page(
            "pie.html",
            name=name,
            pie=PIES[name],
            baked=self._opened - PIES[name]["baked"],
        )

    @methods("POST")
    async def order(self, name: str, count: int = 1) -> Any:
        """Put a pie into the basket, and say so on the next page."""
        self._check_csrf()
        if name not in PIES or not 1 <= count <= 20:
            self._flash("bad", f"{count} × {name}: that we do not have.")
        else:
            basket = self.request.session.get("basket", {})
            self.request.session["basket"] = {
                **basket,
                name: basket.get(name, 0) + count,
            }
            self._flash("good", f"{count} × {PIES[name]['name']} in your basket.")
        return self._redirect(self._url(), status=303)

    async def price_list(self) -> tuple[int, str, dict[str, str]]:
        """Send plain text: a template that ends in ``.txt`` escapes nothing."""
        text = await self._render_template("prices.txt", pies=PIES)
        return 200, text, {"content-type": "text/plain; charset=utf-8"}

    async def _page(self, template: str, **context: Any) -> str:
        """Render a page with what every page shows."""
        session = self.request.session
        basket = sum(session.get("basket", {}).values())
        flashes = session.pop("flashes", [])
        return await self._render_template(
            template,
            flashes=flashes,
            basket=basket,
            csrf_token=self._csrf_token(),
            **context,
        )

    def _flash(self, kind: str, text: str) -> None:
        """Keep a message for the next page that is shown."""
        # Assigned, not appended, since a list that two requests change in place at once
        # would lose one.
        self.request.session["flashes"] = [
            *self.request.session.get("flashes", []),
            {"kind": kind, "text": text},
        ]

    def _url(self, *segments: str) -> str:
        """Return a URL of this app, wherever it is mounted."""
        return (
            str(self.request.scope.get("root_path", ""))
            + "/"
            + "/".join(quote(item, safe="") for item in segments)
        )

    def _csrf_token(self) -> str:
        """Return the token of this visitor, made at the first form."""
        return str(self.request.session.setdefault("csrf", secrets.token_urlsafe(32)))

    def _check_csrf(self) -> None:
        """Refuse a post from another site's page, which cannot know the token."""
        sent = self.request.form("csrf_token", "")
        known = self.request.session.get("csrf", "")
        if not known or not secrets.compare_digest(sent.encode(), known.encode()):
            raise HTTPError(403, "This form is too old. Please load the page again.")


app = Shop()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
