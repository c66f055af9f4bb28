"""Checks the name and the target of a link."""

import ipaddress
import re
from urllib.parse import urlsplit, urlunsplit

LONGEST = 2000  # characters of a target; proxies refuse longer headers
ALIAS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Names that visitors would take for a page of the site, now or one day.
RESERVED = "about admin api help imprint legal login logout privacy signup terms www"
# Browsers drop some of these characters, and take a backslash for a slash. So they
# would go to another URL than the one that has been checked.
ODD = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufffd]")
HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def alias(text: str, taken: set[str]) -> str:
    """Return a chosen name as it is kept: in small letters, since people type it.

    Raises:
        ValueError: With a text for the visitor.
    """
    name = text.strip().lower()
    if not 3 <= len(name) <= 40 or not ALIAS.fullmatch(name):
        what = "letters a to z, digits, and hyphens between them"
        raise ValueError(f"A name has 3 to 40 {what}.")
    # A URL with hyphens leads to a handler with underscores.
    if name in RESERVED.split() or name.replace("-", "_") in taken:
        raise ValueError(f"“{name}” is reserved.")
    return name


def target(url: str) -> str:
    """Return a URL as it is kept and sent: in ASCII, with its host in small letters.

    Raises:
        ValueError: With a text for the visitor.
    """
    url = url.strip()
    if ODD.search(url):
        raise ValueError("The URL has blanks, backslashes or control characters in it.")
    try:
        parts = urlsplit(url)
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError("This is no URL with a host that browsers know.") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("The URL must start with http:// or https://.")
    if "@" in parts.netloc:
        raise ValueError("The URL has a user name or a password in it.")
    usual = {"http": 80, "https": 443}[parts.scheme]
    netloc = host if port in (None, usual) else f"{host}:{port}"
    rest = [_quoted(part) for part in (parts.path or "/", parts.query, parts.fragment)]
    kept = urlunsplit((parts.scheme, netloc, *rest))
    if len(kept) > LONGEST:
        raise ValueError(f"The URL is too long: it can have {LONGEST} characters.")
    return kept


def _quoted(text: str) -> str:
    def code(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found[0].encode())

    return re.sub(r"[^!-~]|[\"<>`{}|^]", code, text)


def _host(host: str) -> str:
    """Return a host in ASCII, but no number that browsers rewrite, like 127.1."""
    if ":" in host:
        return f"[{ipaddress.IPv6Address(host.replace('%', '?'))}]"
    host = host.lower().removesuffix(".")
    name = host.encode("idna").decode()
    # Browsers follow a newer standard for some letters. Better none than another host.
    if not HOST.fullmatch(name) or host not in (name, name.encode().decode("idna")):
        raise ValueError
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.rpartition(".")[2]):
        ipaddress.IPv4Address(name)
    return name
