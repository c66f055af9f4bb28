"""A full disk: uploads that do not fit get 500, nothing of them is left, and the next ones work."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.asgi import encode_multipart
from tests.faults.harness import FORM, MIB, QUICK, UPLOAD, state, wait_for_none
from tests.processes import wait_until
from tests.servers.harness import KINDS, Server

FITS = encode_multipart([("file", "f.bin", "application/octet-stream", bytes(3 * MIB // 2))])
NAMES = [QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in ("hypercorn", "granian"))]


class DiskServer(Server):
    """A server whose temporary files, and those that it saves, are on a disk of 2 MiB."""

    disk: Path


@pytest.fixture(scope="module", params=NAMES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DiskServer]:
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp("disk")
    kind = replace(kind, command=f"tests.faults.small_disk {folder} {kind.command}")
    with DiskServer(kind, tmp_path_factory.mktemp(kind.name), "tests.faults.app:app") as running:
        running.disk = Path(f"/proc/{running.worker}/root{folder}")
        yield running


def post(server: DiskServer, target: str, body: bytes) -> tuple[int, str]:
    with server.connect() as client:
        response = client.ask("POST", target, [FORM, ("connection", "close")], body)
        return response.status, response.text


def post_what_fits(server: DiskServer, target: str) -> tuple[int, str]:
    """Send a file that fits once that of the last request is gone, which is after its response."""
    assert wait_for_none(lambda: max(0, on_disk(server) - MIB // 4)) == 0
    return post(server, target, FITS)


def on_disk(server: DiskServer) -> int:
    """Return how many bytes are on the disk, those of files without a name included."""
    found = os.statvfs(server.disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.fixture(autouse=True)
def nothing_is_left(server: DiskServer) -> Iterator[None]:
    before, used, names = state(server), on_disk(server), sorted(server.disk.iterdir())
    yield
    # A server closes the connection of the last response after the client does.
    assert wait_for_none(lambda: max(0, state(server)["files"] - before["files"])) == 0
    assert sorted(server.disk.iterdir()) == names
    assert wait_for_none(lambda: on_disk(server) - used) == 0
    log = server.log.read_text()
    assert not re.search("Exception in ASGI|Exception ignored|never retrieved", log)


def complaints(server: DiskServer) -> int:
    text = server.log.read_text()
    return text.count("No space left on device\n") + text.count("File too large\n")


def test_upload_that_does_not_fit_on_the_disk_is_a_500(server: DiskServer) -> None:
    before = complaints(server)
    assert post(server, "/upload", UPLOAD) == (500, "500 Internal Server Error")
    wait_until(lambda: complaints(server) > before, what="a line of the log")
    status, text = post_what_fits(server, "/upload")
    assert (status, json.loads(text)["size"]) == (200, 3 * MIB // 2)


def test_uploads_at_once_that_do_not_fit_are_500s(server: DiskServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: post(server, "/upload", UPLOAD)[0], range(8)))
    assert found == [500] * 8
    assert post_what_fits(server, "/upload")[0] == 200


def test_file_that_cannot_be_saved_leaves_the_old_one(server: DiskServer) -> None:
    path = server.disk / "saved"
    target = f"/saved_upload?path={'/' + str(path).partition('/root/')[2]}"
    small = encode_multipart([("file", "f.bin", "text/plain", b"old")])
    assert post(server, target, small) == (200, '{"size":3}')
    try:
        before = complaints(server)
        assert post(server, target, UPLOAD) == (500, "500 Internal Server Error")
        wait_until(lambda: complaints(server) > before, what="a line of the log")
        assert path.read_bytes() == b"old"
        assert [one.name for one in server.disk.iterdir()] == ["saved"]
        assert post_what_fits(server, target) == (200, f'{{"size":{3 * MIB // 2}}}')
    finally:
        path.unlink()
