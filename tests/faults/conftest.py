"""One running server of each kind for the tests of faults; with pytest-xdist, per process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults.harness import FORM, QUICK, UPLOAD
from tests.servers.harness import KINDS, Kind, Server, installed

APP = "tests.faults.app:app"
# Seconds for which an idle connection is kept, and with it its last request. By default it is five.
KEPT_ALIVE = {
    "uvicorn": "--timeout-keep-alive 1",
    "httptools": "--timeout-keep-alive 1",
    "hypercorn": "--keep-alive 2",
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name == QUICK else (pytest.mark.slow,)) for name in KINDS
    ],
    scope="session",
)
def kind(request: pytest.FixtureRequest) -> Kind:
    wanted = KINDS[request.param]
    if not installed(wanted):
        pytest.skip(f"{wanted.requires} is not installed")
    return replace(wanted, command=f"{wanted.command} {KEPT_ALIVE.get(wanted.requires, '')}")


@pytest.fixture(scope="session")
def server(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the attacks on one kind share; all that it loads later is loaded."""
    with Server(kind, tmp_path_factory.mktemp(kind.name), APP) as running:
        with running.connect() as client:
            assert client.ask("POST", "/upload", [FORM], UPLOAD).status == 200
        with running.connect() as client:
            client.handshake("/echo")
        yield running
