"""A visitor that reads every page of an example, and fills in every form."""

import html.parser
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urldefrag, urljoin

import httpx

LINKS = {"a": "href", "area": "href"}
ASSETS = {
    "link": "href",
    **dict.fromkeys(("script", "img", "video", "audio", "source", "iframe"), "src"),
}
READ = ("text/html", "application/xhtml", "image/svg", "text/xml", "application/xml")
LARGEST = 2**20
SECONDS = 1.0


@dataclass
class Field:
    name: str
    kind: str
    value: str


@dataclass
class Form:
    page: str
    action: str
    method: str
    enctype: str
    fields: list[Field] = field(default_factory=list)

    @property
    def changes_state(self) -> bool:
        return self.method == "post"

    @property
    def takes_files(self) -> bool:
        return any(item.kind == "file" for item in self.fields)

    def filled_in(self, text: str) -> tuple[dict[str, str], dict[str, tuple[str, bytes]]]:
        """Return values for all fields, with the text wherever it fits, and files of that name."""
        proper = {
            "email": "somebody@example.org",
            "number": "1",
            "date": "2026-01-02",
            "checkbox": "on",
            "range": "1",
        }
        values: dict[str, str] = {}
        files: dict[str, tuple[str, bytes]] = {}
        for item in self.fields:
            if item.kind == "file":
                files[item.name] = (text, b"what is in the file\n")
            elif item.kind in {"hidden", "select", "radio", "submit"}:
                values.setdefault(item.name, item.value)
            else:
                values[item.name] = proper.get(
                    item.kind, item.value if item.kind == "url" and item.value else text
                )
        return values, files


class _Parser(html.parser.HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.links: set[str] = set()
        self.assets: set[str] = set()
        self.forms: list[Form] = []
        self.form: Form | None = None
        self.select: Field | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        for table, found in ((LINKS, self.links), (ASSETS, self.assets)):
            if values.get(table.get(tag, "")):
                found.add(urldefrag(urljoin(self.url, values[table[tag]])).url)
        if tag == "form":
            action = urljoin(self.url, values.get("action") or self.url)
            self.form = Form(
                self.url, action, values.get("method", "get").lower(), values.get("enctype", "")
            )
            self.forms.append(self.form)
        elif self.form is not None:
            self._field(self.form, tag, values)

    def _field(self, form: Form, tag: str, values: dict[str, str]) -> None:
        name = values.get("name", "")
        if tag == "option" and self.select is not None and not self.select.value:
            self.select.value = values.get("value", "")
        elif tag == "select" and name:
            self.select = Field(name, "select", "")
            form.fields.append(self.select)
        elif tag in {"input", "textarea", "button"} and name:
            usual = {"input": "text", "textarea": "text", "button": "submit"}[tag]
            form.fields.append(Field(name, values.get("type", usual), values.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None


def read(response: httpx.Response) -> str:
    """Return the text of a streamed response as far as it comes: some never end."""
    kind = response.headers.get("content-type", "text/html")
    if not kind.startswith(READ):
        return ""
    data = b""
    # A page of a known length comes whole, however busy the machine is.
    seconds = 60 if "content-length" in response.headers else SECONDS
    until = time.monotonic() + seconds
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > LARGEST or time.monotonic() > until:
            break
    return data.decode(errors="replace")


@dataclass
class Visit:
    """What one visitor has seen of an example.

    Attributes:
        answers: The status of each URL of the example that a page leads to.
        remembered: The URLs of pages that have a form, or give a cookie.
        outside: What pages load, or redirects lead to, that is not below the example's own URL.
    """

    client: httpx.Client
    texts: dict[str, str] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    remembered: list[str] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)

    @property
    def root(self) -> str:
        return str(self.client.base_url)

    def everything(self, most: int = 60) -> "Visit":
        """Follow all links from the first page."""
        waiting = [self.root]
        while waiting and len(self.answers) < most:
            url = waiting.pop(0)
            if url not in self.answers:
                waiting += [found for found in self._page(url) if found not in self.answers]
        return self

    def again(self, urls: list[str]) -> "Visit":
        """Open the pages that another visit has remembered."""
        for url in urls:
            list(self._page(url))
        return self

    def _page(self, url: str) -> Iterator[str]:
        with self.client.stream("GET", url) as response:
            text = read(response)
        self.answers[url] = response.status_code
        self.texts[url] = text
        parser = _Parser(url)
        if response.has_redirect_location:
            parser.assets.add(urljoin(url, response.headers["location"]))
        if text:
            parser.feed(text)
        parser.assets |= {
            urljoin(url, form.action) for form in parser.forms if form.method == "get"
        }
        origin = str(self.client.base_url.join("/"))
        for found in sorted(parser.links | parser.assets):
            if found.startswith(self.root) or found + "/" == self.root:
                yield found
            elif (
                found in parser.assets and not found.startswith("data:") or found.startswith(origin)
            ):
                self.outside.add(f"{found} on {url}")
        if parser.forms or "set-cookie" in response.headers:
            self.remembered.append(url)
        for form in parser.forms:
            if not form.action.startswith(self.root) and form.action + "/" != self.root:
                self.outside.add(f"{form.action} on {url}")
            alike = [(known.action, [item.name for item in known.fields]) for known in self.forms]
            if (form.action, [item.name for item in form.fields]) not in alike:
                self.forms.append(form)

    def submit(self, form: Form, text: str, origin: str = "") -> httpx.Response:
        """Send a form as a browser does, from a page of this site or of another origin."""
        values, files = form.filled_in(text)
        headers = {"origin": re.sub(r"(//[^/]+).*", r"\1", self.root), "referer": form.page}
        if origin:
            headers = {"origin": origin, "referer": origin, "sec-fetch-site": "cross-site"}
        if form.method == "get":
            return self.client.get(form.action, params=values, headers=headers)
        if form.enctype == "multipart/form-data" or files:
            parts = [(name, (None, value)) for name, value in values.items()]
            return self.client.post(form.action, files=[*parts, *files.items()], headers=headers)
        return self.client.post(form.action, data=values, headers=headers)
