"""Copy an example out of the repository, as a project with MicroPie's wheel in it.

    python .ci/new_example.py EXAMPLE FOLDER

The last part of the folder's name becomes the title of the README.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".venv", ".pytest_cache", "data", "uploads")
USAGE = "usage: make new NAME=../mysite FROM=login"


def make_project(example: str, folder: Path) -> str | None:
    """Copy an example to a new folder; return what is wrong, if anything is."""
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/requirements.txt"))
    if not folder.name or example not in names:
        return f"{USAGE}\nFROM is one of: {', '.join(names)}"
    if folder.exists():
        return f"{folder} is there already"
    shutil.copytree(EXAMPLES / example, folder, ignore=LEFT_OUT)
    if not (folder / "LICENSE").exists():
        shutil.copy(ROOT / "LICENSE", folder)
    readme = folder / "README.md"
    text = re.sub(r"^# .*", f"# {folder.name}", readme.read_text(encoding="utf-8"), count=1)
    readme.write_text(re.sub(r"^<!-- .*? -->\n", "", text, flags=re.M), encoding="utf-8")
    uv = shutil.which("uv")
    build = (
        [uv, "build", "--quiet", "--wheel", "--out-dir"]
        if uv
        else [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    )
    subprocess.run([*build, str(folder), str(ROOT)], check=True)
    # uv has put its own there, which ignores everything.
    (folder / ".gitignore").write_text((EXAMPLES / example / ".gitignore").read_text())
    return None


if __name__ == "__main__":
    wrong = make_project(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) == 3 else USAGE
    if wrong:
        sys.exit(wrong)
    sys.stdout.write(f"{sys.argv[2]} is there. Its README says how to go on.\n")
