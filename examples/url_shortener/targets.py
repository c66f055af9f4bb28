"""Checks the target of a short link, which must be a page of the public web."""

import ipaddress
import re
from urllib.parse import urlsplit, urlunsplit

LONGEST = 2048
TOO_LONG = (
    f"The URL is too long: it can have {LONGEST} characters, "
    "and one that is not ASCII counts as several."
)
# Browsers drop some of these and turn a backslash into a slash, and the check must see
# the same as they do.
ODD = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufffd]")
HOST = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
# Names that mean something else in every network (RFC 6761, 6762, 7686, 8375 and 9476,
# and ICANN's for private use).
PRIVATE = "localhost local internal lan home corp arpa test invalid example onion alt"


class TargetError(ValueError):
    """A link may not lead there; the text says why, to the one who wanted it."""


def checked(url: str, own_hosts: set[str]) -> str:
    """Return the URL as it is to be kept.

    Args:
        url: What somebody has sent.
        own_hosts: The hosts, with their ports, of the shortener itself.

    Raises:
        TargetError: A link must not lead there.
    """
    url = url.strip()
    if not url:
        raise TargetError("A URL is missing.")
    if len(url) > LONGEST:
        raise TargetError(TOO_LONG)
    if ODD.search(url):
        raise TargetError(
            "The URL has blanks, control characters or backslashes in it."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetError("This is no URL.") from None
    if parts.scheme not in ("http", "https"):
        raise TargetError("The URL must start with http:// or https://.")
    if "@" in parts.netloc:
        raise TargetError(
            "The URL has a user name or a password in it: "
            "a link would give it to everybody."
        )
    host = _host(parts.hostname or "")
    usual = {"http": 80, "https": 443}[parts.scheme]
    netloc = host if port in (None, usual) else f"{host}:{port}"
    if {netloc, host} & {
        name.lower().removesuffix(":80").removesuffix(":443") for name in own_hosts
    }:
        raise TargetError("This link is short already.")
    # A URL that is not ASCII is percent-encoded here, so that what is kept is what is
    # sent as `Location`.
    path, query, fragment = (
        part.encode().decode("latin-1")
        for part in (parts.path, parts.query, parts.fragment)
    )
    kept = urlunsplit(
        (parts.scheme, netloc, *map(_quoted, (path or "/", query, fragment)))
    )
    if len(kept) > LONGEST:  # proxies refuse long headers, and this will be one
        raise TargetError(TOO_LONG)
    return kept


def _quoted(text: str) -> str:
    return re.sub(r"[^!-~]|[\"<>`{}|^]", lambda found: f"%{ord(found[0]):02X}", text)


def _host(host: str) -> str:
    """Return a host in ASCII, which is one that all the world can reach."""
    if ":" in host:
        return f"[{_public(host)}]"
    name = _ascii(host.lower().removesuffix("."))
    last = name.rpartition(".")[2]
    # Browsers take the whole for an IPv4 address then, 127.1 too.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last):
        return _public(name)
    if last in PRIVATE.split() or "." not in name:
        raise TargetError("This host is not on the public web.")
    if not HOST.fullmatch(name):
        raise TargetError("This is no name of a host.")
    return name


def _ascii(host: str) -> str:
    try:
        name = host.encode("idna").decode()
        if name.encode().decode("idna") == host or name == host:
            return name
    except UnicodeError:
        pass
    # Browsers follow a newer standard for some letters: better none than another host.
    raise TargetError(
        "Please write the name of the host as browsers do when they copy it: xn--..."
    )


def _public(host: str) -> str:
    try:
        # No zones, since they belong to one machine alone.
        address = ipaddress.ip_address(host.replace("%", "?"))
    except ValueError:
        raise TargetError("This is no address of a host.") from None
    mapped = (
        getattr(address, "ipv4_mapped", None)
        or getattr(address, "sixtofour", None)
        or address
    )
    if not (address.is_global and mapped.is_global) or address.is_multicast:
        raise TargetError("This host is not on the public web.")
    return str(address)
