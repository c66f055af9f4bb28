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


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("-rf (1).txt", "rf__1_.txt"),
        (".htaccess", "htaccess"),
        ("...", "file"),
        ("\N{PIE}", "_"),
        ("\u03c0" * 255 + ".jpeg", "\u03c0" * 80 + ".jpeg"),
    ],
)
def test_odd_names_are_made_safe(name: str, safe: str) -> None:
    assert module.safe_name(name) == safe


@pytest.mark.parametrize("letter", ["x", "\u00fc", "\u732b", "\U00020000"])
def test_long_names_fit_on_a_disk(letter: str) -> None:
    for name in (letter * 255, f"{letter * 255}.{letter * 255}"):
        answer = client.post("/upload", files={"file": (name, b"Plums")})
        assert answer.status_code == 201
        assert len(answer.json()["name"].encode()) <= 201
