"""The real servers for some examples, started by tests on free ports in new folders."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.examples.harness import EXAMPLES
from tests.examples.smtp import mail_server
from tests.processes import free_port, postgresql, redis, serving

# A context manager that starts a server, and yields the environment variables that lead an example
# to it.
Service = Callable[[], contextlib.AbstractContextManager[dict[str, str]]]


@contextlib.contextmanager
def fake_model() -> Iterator[dict[str, str]]:
    """Serve the fake of a language model."""
    port = free_port()
    line = f"uvicorn fake_model:app --port {port}"
    with serving(line, EXAMPLES / "llm_chat", port, {}):
        yield {"OPENAI_API_KEY": "fake", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}


@contextlib.contextmanager
def oidc_provider() -> Iterator[dict[str, str]]:
    """Serve a provider of OpenID Connect, which lets in any user."""
    port = free_port()
    line = f"oidc-provider-mock --port {port} --require-nonce"
    with serving(line, EXAMPLES, port, {}, errors=True):
        client = {"OIDC_CLIENT_ID": "example", "OIDC_CLIENT_SECRET": "secret"}
        yield {"OIDC_ISSUER": f"http://127.0.0.1:{port}", **client}


# name of the example: what it needs
NEEDS: dict[str, list[Service]] = {
    "background_jobs": [redis],
    "blog": [postgresql],
    "crud_sql": [postgresql],
    "llm_chat": [fake_model],
    "login": [mail_server, postgresql, redis],
    "middleware": [redis],
    "oauth_login": [oidc_provider],
    "session_backends": [redis, postgresql],
}


class Services:
    """Starts each server once, when the first example needs it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._started: dict[Service, dict[str, str]] = {}
        self._databases: set[str] = set()

    def environment(self, example: str) -> dict[str, str]:
        """Return the variables for an example, its servers being started."""
        variables: dict[str, str] = {}
        for service in NEEDS.get(example, ()):
            if service not in self._started:
                self._started[service] = self._stack.enter_context(service())
            variables.update(self._started[service])
        if "POSTGRESQL_URL" in variables:
            variables["POSTGRESQL_URL"] = self._database(variables["POSTGRESQL_URL"], example)
        return variables

    def _database(self, url: str, example: str) -> str:
        """Return the URL of an example's own database, since two may have a table of one name."""
        port = urlsplit(url).port
        if example not in self._databases:
            self._databases.add(example)
            [*_, program] = sorted(Path("/usr/lib/postgresql").glob("*/bin/createdb"))
            command = [str(program), "-h", "127.0.0.1", "-p", str(port), "-U", "tests", example]
            subprocess.run(command, check=True, timeout=60)
        return url.removesuffix("/postgres") + f"/{example}"

    def stop(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def all_services() -> Iterator[Services]:
    services = Services()
    try:
        yield services
    finally:
        services.stop()
