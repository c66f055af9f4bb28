"""The ports that pages name, and the free ones that a test puts in their place."""

import re
from collections.abc import Mapping

from tests.processes import free_port

KNOWN = r"(?:8000|8001|8002|8025|8026|8080|8443|5000|6379|5432)"
NAMED = re.compile(
    rf"(?P<before>127\.0\.0\.1:|localhost:|--port[ =]|\bport[= ]|SMTP_PORT=|\blisten )"
    rf"(?P<port>{KNOWN})\b"
)


# Servers that a README names, and the variables that say where the tests run them.
SERVERS = {
    "redis://127.0.0.1:6379/0": "REDIS_URL",
    "postgresql+asyncpg://shop:PASSWORD@127.0.0.1/shop": "POSTGRESQL_URL",
}


def with_servers(line: str, variables: Mapping[str, str]) -> str:
    """Return a command that names the servers of the tests."""
    for url, name in SERVERS.items():
        if url in line:
            line = line.replace(url, variables[name])
    return line


class Ports:
    """Free ports in the place of those that a page names.

    Args:
        web: The port in the place of 8000, or None for a free one.
    """

    def __init__(self, web: int | None = None) -> None:
        self._own = {"8000": str(web or free_port())}

    @property
    def web(self) -> int:
        """The port in the place of 8000."""
        return self.own("8000")

    def own(self, port: str) -> int:
        """Return the port in the place of one that a page names."""
        return int(self._own.setdefault(port, "") or self._reserve(port))

    def _reserve(self, port: str) -> str:
        self._own[port] = str(free_port())
        return self._own[port]

    def named(self, text: str) -> list[int]:
        """Return the own ports of all that a text names."""
        return [self.own(match["port"]) for match in NAMED.finditer(text)]

    def typed(self, text: str) -> str:
        """Return what a page shows with the own ports."""
        return NAMED.sub(lambda match: f"{match['before']}{self.own(match['port'])}", text)

    def ported(self, program: str) -> str:
        """Return a program with the own port for `uvicorn.run`, if it names no other."""
        if "port=" in program:
            return program
        return program.replace("uvicorn.run(app", f"uvicorn.run(app, port={self.web}")

    def shown(self, text: str) -> str:
        """Return what a program prints with the ports of the page."""
        back = {own: port for port, own in self._own.items()}
        return re.sub(r"\b\d{4,5}\b", lambda match: back.get(match[0], match[0]), text)
