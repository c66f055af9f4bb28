"""The list of the examples in examples/README.md, written from the gallery's catalog.

python -m tests.examples.index
"""

from typing import Any

from tests.examples import harness
from tests.examples.loading import load

HEAD = """\
# Examples

Each folder is a project to copy: an app, its requirements, its tests, and a README that stands
alone. The tests of MicroPie run every command in every README.

`make run` in the root folder of the repository shows all of them at <http://127.0.0.1:8000>.
`make new NAME=../mysite FROM=login` copies one to a new folder, with MicroPie's wheel in it.
"""


def text(catalog: Any) -> str:
    """Return the whole file."""
    parts = [HEAD]
    for group, rows in catalog.GROUPS.items():
        parts.append(f"\n## {group}\n\n| I want to ... | Copy |\n|---|---|\n")
        parts += [f"| {row.want} | [{name}]({name}) |\n" for name, row in rows.items()]
    return "".join(parts)


if __name__ == "__main__":
    (harness.EXAMPLES / "README.md").write_text(text(load("gallery", "catalog")))
