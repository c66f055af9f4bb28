"""Conditional requests by RFC 9110, section 13. Copy this file beside your app."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from micropie import Request

# The one that is sent today, and two that a server has to understand (section 5.6.7).
DATES = (
    (
        re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", re.ASCII),
        "%a, %d %b %Y %H:%M:%S GMT",
    ),
    (
        re.compile(r"\w{6,9}, \d\d-\w{3}-\d\d [\d:]{8} GMT", re.ASCII),
        "%A, %d-%b-%y %H:%M:%S GMT",
    ),
    (
        re.compile(r"\w{3} \w{3} [\d ]\d [\d:]{8} \d{4}", re.ASCII),
        "%a %b %d %H:%M:%S %Y",
    ),
)
TAG = re.compile(r'(W/)?("[^"]*")')


def http_date(moment: datetime) -> str:
    """Return a moment as ``Last-Modified`` writes it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def parsed_date(text: str) -> datetime | None:
    """Return the moment of an HTTP date, and None for any other text."""
    for form, fields in DATES:
        if form.fullmatch(text):
            try:
                return datetime.strptime(text, fields).replace(tzinfo=UTC)
            except ValueError:
                return None
    return None


def precondition(
    request: Request, tag: str | None = None, changed: datetime | None = None
) -> int | None:
    """Return the status that a request with conditions gets, or None to go on.

    Args:
        request: A request with GET or HEAD.
        tag: The ``ETag`` of what would be sent, with its quotes.
        changed: Its ``Last-Modified``.

    Returns:
        304 if the client has it, and 412 if it is not the version that it expects.
    """
    headers = request.headers
    changed = changed and changed.replace(microsecond=0)
    if "if-match" in headers:
        if not _names(headers["if-match"], tag, strong=True):
            return 412
    else:
        until = parsed_date(headers.get("if-unmodified-since", ""))
        if until is not None and changed is not None and changed > until:
            return 412
    if "if-none-match" in headers:  # the date does not count then
        return 304 if _names(headers["if-none-match"], tag, strong=False) else None
    since = parsed_date(headers.get("if-modified-since", ""))
    return (
        304 if since is not None and changed is not None and changed <= since else None
    )


def range_applies(
    request: Request, tag: str | None = None, changed: datetime | None = None
) -> bool:
    """Return whether ``Range`` may be followed: for GET, and if ``If-Range`` holds.

    A date is no strong validator for a file that was changed in the last second, since
    it could have been changed again (section 8.8.2.2).
    """
    if request.method != "GET" or "range" not in request.headers:
        return False
    wanted = request.headers.get("if-range")
    if wanted is None:
        return True
    if TAG.fullmatch(wanted):
        return _names(wanted, tag, strong=True)
    if changed is None or parsed_date(wanted) != changed.replace(microsecond=0):
        return False
    return datetime.now(UTC) - changed >= timedelta(seconds=1)


def _names(tags: str, tag: str | None, *, strong: bool) -> bool:
    """Return whether a list of entity tags has this one, or is ``*``.

    A weak tag is a version that means the same. That is enough for a copy, but not for
    a part of one (section 8.8.3.2).
    """
    if tags.strip() == "*":
        return True
    if tag is None or (strong and tag.startswith("W/")):
        return False
    opaque = tag.removeprefix("W/")
    return any(
        found[2] == opaque and not (strong and found[1]) for found in TAG.finditer(tags)
    )
