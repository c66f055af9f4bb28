"""One running server of each kind for the whole matrix."""

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
def server(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of one kind share."""
    with Server(kind, tmp_path_factory.mktemp(kind.name)) as running:
        yield running
