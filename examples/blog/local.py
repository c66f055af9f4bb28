"""Whether a request comes straight from this machine. Copy it beside your app."""

import ipaddress
import re
from urllib.parse import urlsplit

from micropie import Request

HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::\d*)?", re.ASCII)


def is_local(request: Request) -> bool:
    """Return whether no proxy and no page of another site stands behind a request.

    This is the rule by which MicroPie leaves ``Secure`` out of the session's cookie.
    It has to look at all of this, because a proxy on this machine connects from
    127.0.0.1 too, and nginx sends the name of its upstream as ``Host`` by default.
    A proxy that adds nothing can look like curl, so let no permission hang on it alone.
    """
    scope, headers = request.scope, request.headers
    client = (scope.get("client") or ("",))[0]
    server = (scope.get("server") or ("",))[0]
    pages = [headers[name] for name in ("origin", "referer") if name in headers]
    return (
        scope.get("scheme") not in ("https", "wss")
        and scope.get("http_version", "1.1") == "1.1"  # nginx before 1.29.7 speaks 1.0
        # A browser sends both, and a proxy might take the first one out.
        and ("connection" in headers or "sec-fetch-site" not in headers)
        and _is_loopback(client)
        and _is_loopback(_name_of(headers.get("host", server)))
        and not any(_is_of_a_proxy(name) for name in headers)
        and all(_is_local_page(page) for page in pages)
    )


def is_own_host(request: Request) -> bool:
    """Return whether ``Host`` can be believed, so that URLs can be made of it.

    A client can write anything there. This believes the names of this machine, if the
    request is local, and the address at which the client has reached the server.
    """
    if "host" not in request.headers:
        return False
    host = _name_of(request.headers["host"])
    server = (request.scope.get("server") or ("",))[0]
    return is_local(request) or (host == server and not _is_loopback(host))


def _is_of_a_proxy(name: str) -> bool:
    known = ("forwarded", "x-real-ip", "via")
    return name in known or name.startswith("x-forwarded-")


def _name_of(host: str) -> str:
    found = HOST.fullmatch(host)
    # An address of IPv6 has brackets in a header, and none in the scope.
    return found[1].strip("[]") if found else host


def _is_local_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "http" and "@" not in parts.netloc and _is_loopback(name)


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
