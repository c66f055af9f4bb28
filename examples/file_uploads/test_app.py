"""Run them with ``pytest``."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

import app as module

client = TestClient(module.app)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let each test have its own folder of uploads."""
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return tmp_path


def test_upload_comes_back() -> None:
    answer = client.post("/upload", files={"file": ("../pie.txt", b"Plums")}).json()
    assert answer["name"] == "pie.txt"
    assert client.get(answer["url"]).content == b"Plums"


def test_large_file_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 4)
    assert client.post("/upload", files={"file": ("a", b"Plums")}).status_code == 413
    assert list(folder.iterdir()) == []
