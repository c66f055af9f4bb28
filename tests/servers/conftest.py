"""One running server of each kind for the whole matrix; with pytest-xdist, per process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.harness import KINDS, Kind, Server, installed


@pytest.fixture(params=list(KINDS), scope="session")
def kind(request: pytest.FixtureRequest) -> Kind:
    wanted = KINDS[request.param]
    if not installed(wanted):
        pytest.skip(f"{wanted.requires} is not installed")
    return wanted


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """All servers, started and ended at once, since each is mostly waited for."""
    started = {
        name: Server(kind, tmp_path_factory.mktemp(name))
        for name, kind in KINDS.items()
        if installed(kind)
    }
    for server in started.values():
        server.spawn()
    yield started
    for server in started.values():
        server.wish_end()
    for server in started.values():
        server.stop()


@pytest.fixture(scope="session")
def server(kind: Kind, servers: dict[str, Server]) -> Server:
    """The server that the tests of one kind share."""
    return servers[kind.name].ready()
