"""The real servers for some examples, started by tests on free ports in new folders."""

import contextlib
from collections.abc import Callable, Iterator

from tests.examples.smtp import mail_server
from tests.processes import postgresql, redis

# A context manager that starts a server, and yields the environment variables that lead an example
# to it.
Service = Callable[[], contextlib.AbstractContextManager[dict[str, str]]]

# name of the example: what it needs
NEEDS: dict[str, list[Service]] = {
    "background_jobs": [redis],
    "blog": [postgresql],
    "crud_sql": [postgresql],
    "login": [mail_server, postgresql, redis],
    "middleware": [redis],
    "session_backends": [redis, postgresql],
}


class Services:
    """Starts each server once, when the first example needs it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._started: dict[Service, dict[str, str]] = {}

    def environment(self, example: str) -> dict[str, str]:
        """Return the variables for an example, its servers being started."""
        variables: dict[str, str] = {}
        for service in NEEDS.get(example, ()):
            if service not in self._started:
                self._started[service] = self._stack.enter_context(service())
            variables.update(self._started[service])
        return variables

    def stop(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def all_services() -> Iterator[Services]:
    services = Services()
    try:
        yield services
    finally:
        services.stop()
