"""The parts of the site share pages and URLs."""

from typing import Any

from micropie import App


class Site(App):
    """The base of the parts, which app.py puts together."""

    async def _page(self, template: str, status: int = 200, **context: Any) -> Any:
        """Render a page; if a plain `def` handler returns this, MicroPie awaits it."""
        context["url"] = self._url
        context["user_name"] = self.request.session.get("user_name")
        return status, await self._render_template(template, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"
