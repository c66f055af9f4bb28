"""Turns the `curl` commands of a page into requests that a reader can send in the page.

A command that needs more than HTTP, for example another command's output or a file that another
command has made, is left out.
"""

import base64
import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

HOST = "127.0.0.1:8000"
HOSTS = {HOST, "localhost:8000"}
Request = dict[str, Any]
Files = dict[str, Any]  # by name: text, or {"base64": ...}
BOUNDARY = "------------------------live"
IGNORED = {"-s", "-S", "-N", "-k", "--path-as-is", "--no-progress-meter"}
WRITTEN = re.compile(r"%(?:\{(?P<name>\w+)\}|header\{[\w-]+\})")
KNOWN = {"http_code", "redirect_url", "content_type", "time_total"}


class NotHereError(ValueError):
    """A command that the page cannot run for its reader."""


def split(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block as one line, with the output that follows it."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, *rest = part.split("\n")
        while rest and rest[0].startswith("> "):
            command = command.removesuffix("\\").rstrip() + " " + rest.pop(0)[2:].strip()
        yield command, "\n".join(rest).strip("\n")


def keep(command: str, variables: dict[str, str]) -> None:
    """Keep the variable that a command sets to a plain word; forget it if it gets another value."""
    found = re.match(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", command)
    if found and re.fullmatch(r"[\w:/.?=&-]+", found["value"]):
        variables[found["name"]] = found["value"]
    elif found:
        variables.pop(found["name"], None)


def filled(command: str, variables: dict[str, str]) -> str:
    """Return a command with its variables replaced, except in single quotes, as a shell does."""

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["name"]
        return variables.get(name, match[0]) if name else match[0]

    return re.sub(r"'[^']*'|\$(?:(?P<name>[A-Za-z_]\w*)|\{(?P<braced>\w+)\})", value, command)


def request(command: str, expected: str, files: Files) -> Request:
    """Return what a `curl` command sends, and what the page says of the answer.

    Raises:
        NotHereError: It is no such command, or it needs a shell.
    """
    if re.search(r"[$`]", re.sub(r"'[^']*'", "", command)):
        raise NotHereError("a variable")
    words = _words(command)
    match words[0]:
        case ["timeout", seconds, "curl", *options]:
            arguments = ["--max-time", seconds, *options]
        case ["curl", *arguments]:
            pass
        case _:
            raise NotHereError("no curl")
    made = _Curl(arguments, files).request()
    filters = [_filter(pipe) for pipe in words[1:]]
    return {"line": command, **made, "filters": filters, "expected": expected}


def _words(command: str) -> list[list[str]]:
    """Split a pipeline into its commands, each as its words."""
    command = re.sub(r"\s*\|\|\s*true$", "", command)
    parser = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    parser.whitespace_split = True
    parser.commenters = ""
    words: list[list[str]] = [[]]
    for token in parser:
        if token == "|":
            words.append([])
        elif token and set(token) <= set("|&;<>()"):
            raise NotHereError(f"the operator {token}")
        else:
            words[-1].append(token)
    if not all(words):
        raise NotHereError("an empty command")
    return words


def _filter(words: list[str]) -> dict[str, Any]:
    match words:
        case ["head" | "tail" as name]:
            return {name: 10}
        case ["head" | "tail" as name, count] if re.fullmatch(r"-\d+", count):
            return {name: int(count[1:])}
        case ["head" | "tail" as name, "-n", count] if count.isdigit():
            return {name: int(count)}
        case ["head", "-c", count] if count.isdigit():
            return {"characters": int(count)}
        case ["grep", *rest]:
            patterns = [word for word in rest if not word.startswith("-")]
            flags = {f"-{letter}" for word in rest if word[0] == "-" for letter in word[1:]}
            known = {"-i", "-o", "-v", "-e", "-E"}
            if patterns and flags <= known and (len(patterns) == 1 or "-e" in flags):
                given = {letter: f"-{letter}" in flags for letter in "iov"}
                return {"grep": "|".join(patterns), **given}
    raise NotHereError(f"a pipe to {words[0]}")


class _Curl:
    """The arguments of `curl`, read one by one."""

    def __init__(self, words: list[str], files: Files) -> None:
        self.words = words
        self.files = files
        self.method = ""
        self.url = ""
        self.headers: list[list[str]] = [["host", HOST], ["user-agent", "curl/8.0"]]
        self.data: list[str] = []
        self.parts: list[tuple[str, str]] = []
        self.jar = {"send": "", "keep": ""}
        self.shown = {"head": False, "quiet": False, "follow": False}
        self.in_query = False
        self.body: Any = None
        self.write = ""
        self.seconds = 0.0

    def request(self) -> Request:
        """Return the request."""
        words = iter(self._spread())
        for word in words:
            if word in IGNORED:
                continue
            if word.startswith("-"):
                self._option(word, words)
            elif self.url:
                raise NotHereError("two addresses")
            else:
                self.url = word
        return self._made()

    def _spread(self) -> Iterator[str]:
        """Write `-si` as `-s -i`, and `-XPOST` as `-X POST`."""
        for word in self.words:
            if re.fullmatch(r"-[siINkGLS]{2,}", word):
                yield from (f"-{letter}" for letter in word[1:])
            elif re.match(r"-[XdHFbcuo].", word):
                yield from (word[:2], word[2:])
            else:
                yield word

    def _option(self, word: str, words: Iterator[str]) -> None:
        match word:
            case "-i" | "--include":
                self.shown["head"] = True
            case "-I" | "--head":
                self.shown["head"], self.method = True, "HEAD"
            case "-L" | "--location":
                self.shown["follow"] = True
            case "-G" | "--get":
                self.in_query = True
            case _:
                self._option_with_value(word, next(words))

    def _option_with_value(self, word: str, value: str) -> None:
        match word:
            case "-X" | "--request":
                self.method = value
            case "-H" | "--header":
                self._header(value)
            case "-d" | "--data" | "--data-raw" | "--data-urlencode" | "--json":
                self._data(word, value)
            case "-F" | "--form":
                self.parts.append((value.partition("=")[0], value.partition("=")[2]))
            case "-u" | "--user":
                code = base64.b64encode(value.encode()).decode()
                self._header(f"authorization: Basic {code}")
            case "-b" | "--cookie" | "-c" | "--cookie-jar":
                self._cookies(word, value)
            case _:
                self._shows(word, value)

    def _shows(self, word: str, value: str) -> None:
        """Take an option that says what of the answer is shown."""
        match word:
            case "-o" | "--output":
                self.shown["quiet"] = True
            case "-D" if value == "-":
                self.shown["head"] = True
            case "-w" | "--write-out":
                self._write_out(value)
            case "-m" | "--max-time":
                self.seconds = float(value)
            case _:
                raise NotHereError(f"the option {word}")

    def _cookies(self, word: str, value: str) -> None:
        if word in {"-c", "--cookie-jar"}:
            self.jar["keep"] = value
        elif "=" in value:
            self._header(f"cookie: {value}")
        else:
            self.jar["send"] = value

    def _header(self, line: str) -> None:
        name, _, value = line.partition(":")
        self.headers = [pair for pair in self.headers if pair[0] != name.lower()]
        self.headers.append([name.lower(), value.strip()])

    def _data(self, word: str, value: str) -> None:
        if value.startswith("@"):
            raise NotHereError("a body from a file")
        if word == "--data-urlencode":
            name, _, rest = value.partition("=")
            value = f"{name}={quote_plus(rest)}"
        if word == "--json":
            self._header("content-type: application/json")
            self._header("accept: application/json")
        self.data.append(value)

    def _write_out(self, value: str) -> None:
        if not all(found["name"] in KNOWN for found in WRITTEN.finditer(value) if found["name"]):
            raise NotHereError(f"what {value} writes")
        self.write = value.replace("\\n", "\n")

    def _made(self) -> Request:
        address = urlsplit(self.url)
        if address.scheme != "http" or address.netloc not in HOSTS:
            raise NotHereError("another server")
        query = address.query
        if self.in_query:
            query, self.data = "&".join(filter(None, [query, *self.data])), []
        self._make_body()
        path = quote(address.path or "/", safe="/%:@!$&'()*+,;=~-._")
        if not any(name == "accept" for name, _ in self.headers):
            self.headers.insert(2, ["accept", "*/*"])
        return {
            "method": self.method or ("GET" if self.body is None else "POST"),
            "path": path + (f"?{quote(query, safe='/%:@!$&()*+,;=~-._?')}" if query else ""),
            "headers": self.headers,
            "body": self.body,
            "jar": self._jar(),
            "write": self.write,
            "seconds": self.seconds,
            **self.shown,
        }

    def _jar(self) -> dict[str, Any] | None:
        names = {name for name in self.jar.values() if name}
        if len(names) > 1:
            raise NotHereError("two jars")
        if not names:
            return None
        return {
            "name": names.pop(),
            "send": bool(self.jar["send"]),
            "keep": bool(self.jar["keep"]),
        }

    def _make_body(self) -> None:
        if self.parts:
            self.body = {"base64": base64.b64encode(self._multipart()).decode()}
            self._header(f"content-type: multipart/form-data; boundary={BOUNDARY}")
        elif self.data:
            is_json = any(value == "application/json" for _, value in self.headers)
            self.body = ("" if is_json else "&").join(self.data)
            if not any(name == "content-type" for name, _ in self.headers):
                self._header("content-type: application/x-www-form-urlencoded")

    def _multipart(self) -> bytes:
        body = b""
        for name, value in self.parts:
            head, content = f'form-data; name="{name}"', value.encode()
            kind = ""
            if value.startswith("@"):
                file, *options = value[1:].split(";")
                content = self._content(file)
                chosen = dict(option.strip().split("=", 1) for option in options)
                head += f'; filename="{chosen.get("filename", PurePosixPath(file).name)}"'
                kind = chosen.get("type") or _guessed(file)
            body += f"--{BOUNDARY}\r\nContent-Disposition: {head}\r\n".encode()
            body += f"Content-Type: {kind}\r\n".encode() if kind else b""
            body += b"\r\n" + content + b"\r\n"
        return body + f"--{BOUNDARY}--\r\n".encode()

    def _content(self, name: str) -> bytes:
        if name not in self.files:
            raise NotHereError(f"the file {name}")
        content = self.files[name]
        return content.encode() if isinstance(content, str) else base64.b64decode(content["base64"])


def _guessed(name: str) -> str:
    """Return the media type that `curl` gives to a file by its name."""
    known = {
        ".png": "image/png",
        ".jpg": "image/jpeg",
        ".gif": "image/gif",
        ".svg": "image/svg+xml",
        ".txt": "text/plain",
        ".html": "text/html",
        ".pdf": "application/pdf",
        ".xml": "application/xml",
    }
    return known.get(PurePosixPath(name).suffix, "application/octet-stream")
