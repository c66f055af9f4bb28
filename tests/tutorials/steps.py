"""The steps of the tutorial: where they are, and copies of them that run."""

import contextlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import FilePayload, Page, expect

from tests.processes import ROOT, environment, free_port, serving

TUTORIALS = ROOT / "tutorials"
PICTURES = ROOT / "docs" / "images" / "tutorial"
STEPS = sorted(path.parent.name for path in TUTORIALS.glob("*/app.py"))
SERVE = "uvicorn app:app --timeout-graceful-shutdown 5"
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*", "data")


@dataclass(frozen=True)
class Server:
    """A running copy of a step."""

    url: str
    folder: Path


def step(number: str) -> str:
    """Return the name of a step's folder."""
    return next(name for name in STEPS if name.startswith(number))


def files_of(name: str) -> dict[str, bytes]:
    """Return what is in the folder of a step."""
    made = {"__pycache__", "data", ".pytest_cache", ".ruff_cache"}
    found = (
        path
        for path in (TUTORIALS / name).rglob("*")
        if path.is_file() and not made & set(path.parts)
    )
    return {path.relative_to(TUTORIALS / name).as_posix(): path.read_bytes() for path in found}


def copied(name: str, folder: Path) -> Path:
    """Copy a step to a folder of its own."""
    return Path(shutil.copytree(TUTORIALS / name, folder / name, ignore=NOT_COPIED))


@contextlib.contextmanager
def running(line: str, folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve a copy with a command on a free port."""
    port = free_port()
    with serving(line, folder, port, more or {}):
        yield Server(f"http://127.0.0.1:{port}", folder)


def run_tests(folder: Path, *more: str) -> tuple[int, str]:
    """Run the tests of a step as a reader does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more]
    result = subprocess.run(
        command, cwd=folder, env=environment({}), capture_output=True, text=True, timeout=120
    )
    return result.returncode, result.stdout


def send_picture(page: Page, name: str, content: bytes) -> None:
    """Send a picture with its form, in a browser, and wait until the page has its answer.

    The answer empties the form, maybe after the event that shows the picture.
    """
    page.get_by_label("Description").fill(name)
    file: FilePayload = {"name": "pie.png", "mimeType": "image/png", "buffer": content}
    page.get_by_label("Picture", exact=True).set_input_files(file)
    page.get_by_role("button", name="Send the picture").click()  # this shows the progress
    expect(page.locator("progress")).to_be_hidden()


def pie(color: str, size: int = 400) -> bytes:
    """Draw a pie, seen from above."""
    image = Image.new("RGB", (size, size), "#8a9a5b")
    draw = ImageDraw.Draw(image)
    for part, fill in ((0.06, "#fbf7f1"), (0.12, "#c98a3d"), (0.2, color)):
        draw.ellipse([part * size, part * size, (1 - part) * size, (1 - part) * size], fill=fill)
    for number in range(-2, 3):
        along = 0.11 * number
        half = (0.32**2 - along**2) ** 0.5  # of a chord of the round filling
        for ends in ((along, -half, along, half), (-half, along, half, along)):
            draw.line([size * (0.5 + end) for end in ends], fill="#c98a3d", width=size // 30)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
