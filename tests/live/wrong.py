"""Wrong versions of the tutorial's steps, and the words of Check for each: wrong/<nn>.toml."""

import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_suffix("")


def wrong_versions(number: int) -> list[dict[str, Any]]:
    """Return the wrong versions of a step."""
    return tomllib.loads((FOLDER / f"{number:02}.toml").read_text())["wrong"]


def changed(files: dict[str, str], version: dict[str, Any]) -> dict[str, str]:
    """Return the files of a step with the change of a wrong version."""
    file = version["file"]
    if "old" not in version:
        return {name: text for name, text in files.items() if name != file}
    assert version["old"] in files[file], f"{file} has no {version['old']!r}"
    return {**files, file: files[file].replace(version["old"], version["new"])}
