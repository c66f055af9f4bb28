"""Makes what the tests know of a page visible to its readers.

A comment on the line before a block steers the tests (blocks.py). Here each of them becomes
something that a reader sees, and that the robot newcomer (tests/newcomer/) goes by:

    % file: app.py               the block has the name of the file as its caption
    % part of: app.py            "Part of app.py": the lines stand in that file of the same page
    % part of: examples/x/a.py   the same, with a link to the whole file
    % server: app.py             a block that starts the server, or starts it again
    % server: examples/x         a block that downloads, installs and starts that example
    % serves                     the one command of the block starts the server
    % service                    the one command of the block runs in a terminal for itself, and if
                                 the page has started it before, in that terminal again
    % not run: why               no test runs the block, and the robot passes it by

A `literalinclude` of a part of a file is an excerpt, too.
"""

import re
from pathlib import Path

from blocks import WITH_ERRORS, Block, blocks, options, orders

SITE = "https://micropie.invalid/"  # site.js puts the address of the site there
PORT = re.compile(r"(?:--port |:)(\d+)")
PARTS = {"pyobject", "lines", "start-at", "start-after", "end-at", "end-before"}
STOP_FIRST = "Stop the server with Ctrl+C, and start it again"
GRACEFUL = " --timeout-graceful-shutdown 5"


def to_root(page: str) -> str:
    """Return the way from a page to the root of the site: `../` for `howto/forms`."""
    return "../" * page.count("/")


def visible(text: str, name: str, root: Path) -> str:
    """Return a page in Markdown with its comments made visible.

    Args:
        text: The page.
        name: Its name from docs/, without suffix.
        root: The folder of the project.
    """
    lines = text.split("\n")
    found: list[tuple[int, Block | str]] = [
        (order.line, order.detail)
        for order in orders(text, {"server"})
        if not _serves(lines[order.line : order.line + 3])
    ]
    found += [(block.line, block) for block in blocks(text) if block.language or block.file]
    running, inside = False, False  # a server; the folder of an example
    services: set[str] = set()
    edits = []
    for line, item in sorted(found, key=lambda pair: pair[0]):
        if isinstance(item, str):
            edits.append((line, line, _start(item, running=running, inside=inside)))
            running, inside = True, item.startswith("examples/")
        elif changed := _block(item, lines, name, root, running=running, services=services):
            edits.append((item.line, item.line + len(changed[0]), changed[1]))
            running = running or item.kind == "serves"
    for first, end, new in reversed(edits):
        lines[first - 1 : max(first, end - 1) if first == end else end - 1] = new
    return "\n".join(lines)


def _serves(lines: list[str]) -> bool:
    """Say whether a block that starts a server by itself comes next."""
    return any(re.match(r"% serves|<!-- serves", line) for line in lines)


def _start(detail: str, *, running: bool, inside: bool) -> list[str]:
    what, classes = detail.removesuffix(WITH_ERRORS), "start"
    if detail != what:
        classes += " with-errors"
    caption = STOP_FIRST if running else "Start the server"
    if what.startswith("examples/"):
        example = Path(what).name
        caption = f"{'Stop the server with Ctrl+C. ' if running else ''}Start the example {example}"
        back = ["$ cd .."] if inside else []
        commands = [
            *back,
            f"$ curl -O {SITE}_downloads/examples/{example}.zip",
            f"$ python3 -m zipfile -e {example}.zip .",
            f"$ cd {example}",
            "$ pip install -r requirements.txt",
            f"$ uvicorn app:app{GRACEFUL}",
        ]
    elif what.startswith("tutorials/"):
        commands = [f"$ uvicorn app:app{GRACEFUL}"]
    else:
        commands = [
            *(["$ cd .."] if inside else []),
            f"$ uvicorn {Path(what).stem}:app{GRACEFUL}",
        ]
    return [
        "```{code-block} console",
        f":class: {classes}",
        f":caption: {caption}",
        "",
        *commands,
        "```",
        "",
    ]


def _block(
    block: Block, lines: list[str], name: str, root: Path, *, running: bool, services: set[str]
) -> tuple[list[str], list[str]] | None:
    """Return the opening lines of a block, and those that take their place."""
    if block.file:
        return _included(block, lines, name, root)
    caption, kind = "", block.kind
    match kind:
        case "file":
            caption = block.detail
        case "part of":
            caption, kind = f"Part of {block.detail}", "excerpt"
        case "serves" if running and name.startswith("examples/"):
            # A README shows other ways to start below the first one, and then goes on.
            caption, kind = "Or start it this way instead", "instead"
        case "serves":
            caption, kind = (STOP_FIRST if running else "Start the server"), "start"
        case "service":
            caption = _terminal(block.text, services)
        case "not run":
            kind = "not-run"
        case _:
            return None
    return _opened(block, lines, {"class": kind, "caption": caption})


def _terminal(text: str, services: set[str]) -> str:
    """Say in which terminal a service starts; a program at a port that ran before is known."""
    command = re.sub(r"^\$ |\b[A-Z_]+=\S+ ", "", text)
    program, ports = command.split()[0], PORT.findall(command)
    service = f"{program} {ports[0]}" if ports else command
    again = service in services
    services.add(service)
    return f"In the terminal of {program}" if again else "In another terminal, in the same folder"


def _included(
    block: Block, lines: list[str], name: str, root: Path
) -> tuple[list[str], list[str]] | None:
    chosen, _, _ = options("\n".join(lines[block.line : block.end - 2]))
    folder = root / "docs"
    path = (
        folder / block.file[1:]
        if block.file.startswith("/")
        else (folder / name).parent / block.file
    )
    path = path.resolve()
    if "diff" in chosen or "class" in chosen or not path.is_relative_to(root):
        return None
    source = path.relative_to(root).as_posix()
    if PARTS & chosen.keys():
        return _opened(block, lines, {"class": "excerpt", "caption": f"Part of {source}"})
    caption = str(chosen.get("caption", ""))
    if caption and source.endswith(f"/{caption}") and not caption.startswith("examples/"):
        return _opened(block, lines, {"class": "file", "caption": caption})
    return None


def _opened(block: Block, lines: list[str], more: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the opening lines of a block, and the same with other options."""
    first = lines[block.line - 1]
    match = re.match(r"(\s*)(`{3,}|:{3,}|~{3,})(.*)", first)
    assert match, first
    indent, fence, info = match.groups()
    end = block.end - 2 if block.file else block.code_line - 1
    old = lines[block.line - 1 : end]
    more = {key: value for key, value in more.items() if value}
    kept = [line for line in old[1:] if line.strip() and not line.lstrip(" :").startswith((*more,))]
    if not block.directive:
        info = f"{{code-block}} {block.language}"
    written = [f"{indent}:{key}: {value}" for key, value in more.items()]
    blank = [] if block.file else [indent.rstrip()]
    return old, [f"{indent}{fence}{info}", *written, *kept, *blank]
