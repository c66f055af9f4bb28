"""Other versions of the tutorial's steps, in wrong/<nn>.toml and right/<nn>.toml.

Check must say in the given words what is missing in a wrong version. A right version does the same
as the step in another way, so Check must find nothing.
"""

import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def wrong_versions(number: int) -> list[dict[str, Any]]:
    """Return the wrong versions of a step."""
    return tomllib.loads((HERE / "wrong" / f"{number:02}.toml").read_text())["wrong"]


def right_versions(number: int) -> list[dict[str, Any]]:
    """Return versions of a step that do the same in another way."""
    return tomllib.loads((HERE / "right" / f"{number:02}.toml").read_text())["right"]


def changed(files: dict[str, str], version: dict[str, Any]) -> dict[str, str]:
    """Return the files of a step with the changes of a version.

    A version has one change or the list `changes`. If a change has no `old`, `new` is the whole
    file; if it has neither, the file is missing.
    """
    files = dict(files)
    for change in version.get("changes", [version]):
        file = change["file"]
        if "old" in change:
            assert change["old"] in files[file], f"{file} has no {change['old']!r}"
            files[file] = files[file].replace(change["old"], change["new"])
        elif "new" in change:
            files[file] = change["new"]
        else:
            del files[file]
    return files
