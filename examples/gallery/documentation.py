"""The documentation: the site if it was built, or else the pages that make it."""

import re
from pathlib import Path
from typing import Any

from micropie import App, HTTPError
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from rendering import code_css, readme_html

# Marks for Sphinx alone: comments, fences of directives, options, and roles.
MARKS = re.compile(r"^(?:% .*|:{3,}.*|:[\w-]+:.*|<!-- .*? -->)\n", re.M)
DIRECTIVE = re.compile(r"^(`{3,})\{(\S+)\} *(.*)\n((?:.*\n)*?)\1 *$", re.M)
NO_PAGES = "# Documentation\n\nIt is in the folder `docs` of MicroPie's repository."
ROLE = re.compile(r"\{[\w:]+\}`~?([^`<]+?)(?: *<[^`>]*>)?`")


class Documentation(App):
    """Pages below ``docs/``, as HTML.

    Args:
        folder: The folder ``docs`` of the repository.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder.resolve()
        self._built = folder / "_build" / "html"
        # Bare, StaticFiles would raise for a missing file what only a Starlette app
        # around it makes a 404 of.
        files = StaticFiles(directory=self._built, html=True, check_dir=False)
        self._files = Starlette(routes=[Mount("/", files)])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Look at each request whether the site is built by now."""
        built = scope["type"] == "http" and (self._built / "index.html").exists()
        # Without the slash that relative links need.
        at_root = scope.get("path") == scope.get("root_path")
        app = self._files if built and not at_root else super().__call__
        await app(scope, receive, send)

    async def index(self, *path: str) -> Any:
        """Show a page from its source, or add the slash that relative links need."""
        base = str(self.request.scope.get("root_path", ""))
        if self.request.scope.get("path") == base:
            return self._redirect(base + "/")
        page = self._folder.joinpath(*path, *([] if path else ["index.md"])).resolve()
        text = NO_PAGES
        if page in self._pages():
            text = readable(page.read_text(encoding="utf-8"), page.parent)
        elif path:
            raise HTTPError(404)
        return await self._render_template(
            "docs.html",
            base=base.removesuffix("/docs"),
            docs=base,
            pages=[one.relative_to(self._folder).as_posix() for one in self._pages()],
            page=page.relative_to(self._folder).as_posix(),
            title=text.partition("\n")[0].lstrip("# "),
            text=readme_html(text, lambda href: href),
            code_css=code_css,
        )

    def _pages(self) -> list[Path]:
        return sorted(
            page
            for page in self._folder.rglob("*.md")
            if not re.match(
                r"_|404|examples/", page.relative_to(self._folder).as_posix()
            )
        )


def readable(text: str, folder: Path) -> str:
    """Return a page for Sphinx as plain Markdown, with the files that it includes."""

    def directive(found: re.Match[str]) -> str:
        _, name, argument, body = found.groups()
        body = MARKS.sub("", body)
        if name == "literalinclude":
            file = (folder / argument).resolve()
            language = {".py": "python", ".html": "html", ".js": "js"}.get(
                file.suffix, ""
            )
            body = file.read_text(encoding="utf-8") if file.is_file() else argument
            return f"```{language}\n{body.rstrip()}\n```"
        if name == "code-block":
            return f"```{argument}\n{body.rstrip()}\n```"
        # Boxes keep their text; lists of pages, pictures and plots are left out.
        return body if name in {"note", "tip", "warning", "admonition"} else ""

    return MARKS.sub("", ROLE.sub(r"`\1`", DIRECTIVE.sub(directive, text))).lstrip()
