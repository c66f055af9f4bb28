"""The page of errors quotes MicroPie's messages as they are, and all of them."""

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.processes import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SOURCE = ast.parse((ROOT / "micropie.py").read_text())
VALUE = "…"
# Messages of other programs, and texts of statuses, which have their own test below.
OTHERS = {
    "No module named 'micropie'",
    "cannot import name '…' from 'micropie'",
    "externally-managed-environment",
    "uvicorn: command not found",
    'Could not import module "…"',
    'Attribute "…" not found in module "…"',
    "address already in use",
    "Waiting for connections to close",
    "Cancel … running task(s), timeout graceful shutdown exceeded",
    "Exception in ASGI application",
    "CancelledError",
    "Invalid HTTP request received",
    "No supported WebSocket library detected",
    "TemplateNotFound: …",
    "421 Misdirected Request",
}
# Those that only MicroPie itself reads.
INTERNAL = {
    "Maximum segment header length exceeded",
    "a bare CR or LF in a header",
}


def template(node: ast.expr) -> str:
    """Return a text of the source, with `…` for each value in it."""
    match node:
        case ast.Constant(value=str() as text):
            return re.sub("%[rs]", VALUE, text)
        case ast.JoinedStr(values=parts):
            texts = [one.value if isinstance(one, ast.Constant) else VALUE for one in parts]
            return "".join(map(str, texts))
    return ""


def raised() -> Iterator[str]:
    """Yield the texts of exceptions, of refusals and of the log."""
    for node in ast.walk(SOURCE):
        match node:
            case ast.Raise(exc=ast.Call(args=[text, *_])):
                yield template(text)
        match node:
            case ast.Call(func=ast.Name(id="_error"), args=[_, detail]):
                yield template(detail)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_log")), args=[text, *_]):
                yield template(text)


def texts() -> set[str]:
    """Return every text of the source, since some messages are put together."""
    return {template(node) for node in ast.walk(SOURCE) if isinstance(node, ast.expr)} - {""}


def quoted() -> list[str]:
    """Return the messages of the page."""
    terms = re.findall(r"^(`.+`)\n: ", PAGE, flags=re.M)
    return [span for term in terms for span in re.findall(r"`([^`]+)`", term)]


def plain(text: str) -> str:
    return re.sub(f"['\"]?{VALUE}['\"]?", VALUE, text)


def fits(message: str, text: str) -> bool:
    """Say whether a message on the page quotes a text of the source, or a piece of it."""
    pattern = ".*".join(map(re.escape, plain(message).split(VALUE)))
    return re.fullmatch(f"(?:.*{VALUE}: )?{pattern}(?:{VALUE})?", plain(text)) is not None


def is_status(message: str) -> bool:
    return re.fullmatch(r"\d{3} [A-Z][A-Za-z ]+", message) is not None


@pytest.mark.parametrize("message", quoted())
def test_each_quoted_message_is_one_of_micropies(message):
    if message in OTHERS:
        return
    if is_status(message):
        assert message[4:] == HTTPStatus(int(message[:3])).phrase
        return
    assert any(fits(message, text) for text in texts()), message


def test_no_message_of_micropie_is_missing():
    messages = [one for one in quoted() if one not in OTHERS and not is_status(one)]
    missing = [
        text
        for text in {*raised()} - INTERNAL - {""}
        if not any(fits(message, text) for message in messages)
    ]

    assert missing == []


def test_each_message_has_a_cause_and_no_message_comes_twice():
    explained = re.findall(r"^(?:`|\*\*).+\n: (.+(?:\n  .+)*)", PAGE, flags=re.M)

    assert len(quoted()) == len(set(quoted())) > 60
    assert all(len(text) > 25 for text in explained)
    assert set(quoted()) >= OTHERS
