"""A newcomer who does what a built page shows, in an empty folder with an empty environment.

The robot opens the page in a browser, and goes through it from top to bottom:

* For a file, it presses Copy, and pastes into the file that the caption names.
* For a block that starts a server, it stops the server in the first terminal, if one runs there,
  and pastes into that terminal.
* For a block for another terminal, it opens a new one.
* It pastes any other block of commands into a terminal without a server, and compares the output
  of each command.
* It pastes a session of Python into a file for doctest.
* For steps in a browser, it opens, types, presses and looks, in its own windows.
* If the page says what one needs, it follows the Install page first.

It knows no comment of the page's source, and no file of the repository. It changes the ports, since
two robots can follow two pages at once, and gives curl more time for a stream.
"""

import contextlib
import os
import re
import shlex
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page
from playwright.sync_api import Error as PlaywrightError

from docs._ext.browser_steps import understood
from tests.blocks import Shell, commands, matches
from tests.docs.looking import copied
from tests.ports import Ports
from tests.processes import accepts, wait_until

SECONDS = 300.0  # until a server must listen; `make run` installs packages first
LOOK = 60_000  # milliseconds until a page must show something
FIND = 15.0  # seconds until a field that nobody sees is used as it is
# Those of a user's own machine, without the environment of the tests.
KEPT = re.compile(r"PIP_|SSL_|[A-Z]+_CA_|REQUESTS_|(?i:https?_proxy|no_proxy)|LANG|TERM|HOME")
NOT_OURS = ".venv"
VARIABLES = re.compile(r"\A(?:[A-Z][A-Z0-9_]*=\S*[\s\\]+)+")  # in front of a command
# The tests have installed what a page installs (.ci/system-packages). If not, the page fails.
SUDO = """#!/bin/sh
[ "$1 $2" = "apt install" ] || { echo "not tried: sudo $*" >&2; exit 1; }
shift 2
exec dpkg --status "$@" >/dev/null
"""
# Chromium says so of a stream or a WebSocket that a stopped server has left.
LOST = re.compile(r"net::ERR_(?:INCOMPLETE|CONNECTION|EMPTY)|WebSocket connection to")
# Finds the parts of a page of the site that a reader can act on.
SEEN = """() => {
  const chosen = 'article [class*="highlight-"], article .browser-steps, article .needs,'
    + ' article .example-download a';
  const seen = [];
  for (const [number, node] of document.querySelectorAll(chosen).entries()) {
    if (node.closest('.example') && !node.matches('a')) continue;
    if (!node.checkVisibility()) continue;
    if (node.matches('.browser-steps')) {
      const items = [...node.querySelectorAll('li')].map((item) => item.innerText);
      seen.push({kind: 'browser', items});
    } else if (node.matches('.needs')) {
      seen.push({kind: 'needs', address: node.querySelector('a').href});
    } else if (node.matches('a')) {
      seen.push({kind: 'download', address: node.href});
    } else {
      const language = [...node.classList].find((name) => name.startsWith('highlight-')).slice(10);
      const wrapper = node.closest('.literal-block-wrapper');
      const caption = wrapper?.querySelector('.caption-text')?.innerText.trim() || '';
      node.dataset.seen = number;
      seen.push({kind: 'block', number, language, caption, classes: [...node.classList],
        text: node.querySelector('pre').innerText});
    }
  }
  return seen;
}"""


def own_variables(home: Path) -> dict[str, str]:
    """Return the environment of a user with nothing installed but what the machine has."""
    places = os.environ["PATH"].split(os.pathsep)
    path = [place for place in places if NOT_OURS not in place]
    kept = {name: value for name, value in os.environ.items() if KEPT.match(name)}
    config = home / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text("[install]\nquiet = 1\n")  # no page shows what `pip install` prints
    cache = Path.home() / ".cache"
    caches = {"PIP_CACHE_DIR": str(cache / "pip"), "UV_CACHE_DIR": str(cache / "uv")}
    sudo = home / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    path.insert(0, str(sudo.parent))
    return {**kept, **caches, "PATH": os.pathsep.join(path), "HOME": str(home)}


# --- Terminals ---------------------------------------------------------------------------------


class Terminal:
    """A terminal in which at most one command keeps running.

    Args:
        folder: The folder in which it is opened.
        ports: Those of this robot.
        variables: The environment.
    """

    def __init__(self, folder: Path, ports: Ports, variables: Mapping[str, str]) -> None:
        self._ports = ports
        self._shell = Shell(folder, ports, variables, clean=True)
        self._running = ""
        self._log = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.interrupt()
        finally:
            self._shell.__exit__(*error)

    @property
    def busy(self) -> bool:
        """Whether a command runs in it."""
        return self._running != ""

    @property
    def served_folder(self) -> str:
        """The folder in which the command that runs was started."""
        return os.readlink(f"/proc/{self._running}/cwd")

    def type(self, line: str) -> str:
        """Type a command, and return what it prints."""
        return self._shell.type(line)

    def serve(self, line: str, log: Path) -> None:
        """Type a command that goes on, and wait until it listens."""
        # The variables before a command can name servers that it talks to.
        command = VARIABLES.sub("", line)
        ports = self._ports.named(command) or self._ports.named(line) or [self._ports.web]
        self._log = log
        log.touch()
        # With -m, the command gets its own process group, and the signal of Ctrl+C.
        typed = f"set -m; {{ {line}\n}} >{shlex.quote(str(log))} 2>&1 & echo $!; set +m"
        self._running = self._shell.type(typed).strip()
        wait_until(
            lambda: self.gone() or all(map(accepts, ports)),
            SECONDS,
            f"{line!r} to listen on {ports}",
        )
        assert not self.gone(), f"$ {line}\nhas ended:\n{self.logged()}"

    def gone(self) -> bool:
        """Say whether the command that ran has ended."""
        try:
            os.killpg(int(self._running), 0)
        except ProcessLookupError:
            return True
        # A child that has ended and was not waited for still counts.
        try:
            state = Path(f"/proc/{self._running}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state.rpartition(")")[2].split()[0] == "Z"

    def logged(self) -> str:
        """Return what the command that runs has printed."""
        return self._ports.shown(self._log.read_text(errors="replace"))

    def interrupt(self) -> None:
        """Press Ctrl+C, if a command runs, and wait for its end."""
        if not self._running:
            return
        # On a busy machine a server may miss the first one, and anyone presses it again.
        for _ in range(3):
            if not self.gone():
                with contextlib.suppress(ProcessLookupError, AssertionError):
                    os.killpg(int(self._running), 2)
                    wait_until(self.gone, 30)
        has_ended = self.gone()
        if not has_ended:
            os.killpg(int(self._running), 9)
        self._running = ""
        assert has_ended, "the server does not end after Ctrl+C"


# --- The robot ---------------------------------------------------------------------------------


@dataclass
class Windows:
    """The robot's browser: windows by name, and the errors of their pages."""

    browser: Browser
    ports: Ports
    folder: Path

    def __post_init__(self) -> None:
        self.errors: list[str] = []
        self.restarted = False  # while windows were open, which then lose their connections
        self._contexts: dict[str, BrowserContext] = {}
        self._pages: dict[str, Page] = {}
        self._current = "first"

    def close(self) -> None:
        """Close all windows."""
        for context in self._contexts.values():
            context.close()
        self._contexts, self._pages = {}, {}

    def do(self, sentence: str) -> None:
        """Do what one step says."""
        action, what = understood(sentence)
        self._current = what.get("window", self._current)
        page, name = self._page(self._current), what.get("name", "")
        if action in {"new", "open"}:
            page.goto(self.ports.typed(what["url"]))
        elif action == "reload":
            page.reload()
        elif action == "close":
            self._pages.pop(self._current).close()
            self._current = "first"
        elif action in {"see", "gone"}:
            self._look(page, what["text"], shown=action == "see")
        else:
            self._use(page, action, name, what)

    def _use(self, page: Page, action: str, name: str, what: Mapping[str, str]) -> None:
        page.wait_for_load_state()  # its scripts have run, also if a link or a form led to it
        match action:
            case "type":
                self._field(page, name).fill(what["text"])
            case "file":
                self._field(page, name).set_input_files(self.folder / what["file"])
            case "choose":
                self._choose(page, name)
            case "enter":
                page.keyboard.press("Enter")
            case "press":
                self._button(page, name).click()

    def _page(self, window: str) -> Page:
        if window not in self._pages:
            kind = "private" if window == "private" else "usual"
            if kind not in self._contexts:
                self._contexts[kind] = self.browser.new_context(ignore_https_errors=True)
            page = self._pages[window] = self._contexts[kind].new_page()
            page.set_default_timeout(LOOK)
            page.on("console", lambda message: self._note(page, message))
            page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
            page.on("dialog", lambda dialog: dialog.accept())
        return self._pages[window]

    def _note(self, page: Page, message: ConsoleMessage) -> None:
        place = message.location.get("url", "")
        if self.restarted and LOST.search(message.text):
            return
        # A browser reports the status of a page that one opens, too.
        if message.type == "error" and place.partition("?")[0] != page.url.partition("?")[0]:
            self.errors.append(f"{page.url}: {message.text} ({place})")

    def _first(self, *found: Locator) -> Locator:
        def visible() -> Locator | None:
            shown = (one.first for one in found if one.count() and one.first.is_visible())
            try:
                return next(shown, None)
            except PlaywrightError:  # the page is just leaving
                return None

        with contextlib.suppress(AssertionError):
            return wait_until(visible, FIND) or found[0]
        return found[0]  # for example a field for a file that a style hides

    def _field(self, page: Page, name: str) -> Locator:
        return self._first(
            page.get_by_label(name, exact=True),
            page.get_by_label(name),
            page.get_by_placeholder(name),
        )

    def _button(self, page: Page, name: str) -> Locator:
        return self._first(
            page.get_by_role("button", name=name, exact=True),
            page.get_by_role("link", name=name, exact=True),
            page.get_by_role("button", name=name),
            page.get_by_role("link", name=name),
            page.get_by_text(name, exact=True),
        )

    def _choose(self, page: Page, name: str) -> None:
        option = page.get_by_role("option", name=name)
        labels = page.get_by_label(name, exact=True), page.get_by_label(name)
        field = self._first(*labels, option)
        if option.count():
            page.locator("select", has=page.locator("option", has_text=name)).select_option(name)
        else:
            field.check()

    def _look(self, page: Page, text: str, *, shown: bool) -> None:
        def seen() -> bool:
            values = "[...document.querySelectorAll('input, textarea')].map((one) => one.value)"
            try:
                everything = page.evaluate(
                    f"(document.body?.innerText ?? '') + '\\n' + {values}.join('\\n')"
                )
            except PlaywrightError:  # the page is just leaving
                return False
            return matches_text(text, self.ports.shown(str(everything))) is shown

        try:
            wait_until(seen, LOOK / 1000)
        except AssertionError:
            what = f"{'not ' if shown else ''}seen: {text!r}"
            raise AssertionError(f"{what} in\n{page.inner_text('body')[:2000]}") from None


def matches_text(pattern: str, text: str) -> bool:
    """Say whether a page shows a text, with any text for `...` or an ellipsis."""
    parts = re.split(r"\.\.\.|…", " ".join(pattern.split()))
    return re.search(".*?".join(map(re.escape, parts)), " ".join(text.split())) is not None


class Newcomer:
    """Follows pages of the site, one after the other, in one folder.

    Args:
        browser: A browser.
        site: The URL of the built site, with a slash at the end.
        folder: An empty folder.
        variables: More variables of the environment, for servers that a page needs.
    """

    def __init__(
        self, browser: Browser, site: str, folder: Path, variables: Mapping[str, str]
    ) -> None:
        self.ports = Ports()
        self._site = site
        self._base = folder / "app"
        self._base.mkdir()
        self._logs = folder / "logs"
        self._logs.mkdir()
        home = folder / "home"
        home.mkdir()
        self._variables = {
            **own_variables(home),
            "UVICORN_PORT": str(self.ports.web),
            "PORT": str(self.ports.web),
            **variables,
        }
        self._stack = contextlib.ExitStack()
        self._first = self._open_terminal()
        self._second: Terminal | None = None
        self._windows = Windows(browser, self.ports, self._base)
        self._reader = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        self._stack.callback(self._reader.close)
        self._stack.callback(self._windows.close)
        self._tracebacks = False
        self.done = 0  # files, commands and steps
        self.left_out: list[str] = []  # commands that take too long

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def follow(self, page: str) -> None:
        """Follow a page from top to bottom."""
        with self._reading(page) as opened:
            for thing in self._seen(opened):
                try:
                    self._follow_one(thing, opened)
                except Exception as error:
                    what = str(thing.get("text", thing))[:800]
                    raise AssertionError(f"{page}: {what}\n\n{error}\n{self._state()}") from error
        self._check_log()
        assert self._windows.errors == [], self._windows.errors

    def _seen(self, page: Page) -> list[dict[str, Any]]:
        """Return the parts of a page that a reader can act on, in order."""
        seen: list[dict[str, Any]] = page.evaluate(SEEN)
        return seen

    @contextlib.contextmanager
    def _reading(self, page: str) -> Iterator[Page]:
        opened = self._reader.new_page()
        opened.set_viewport_size({"width": 1280, "height": 900})
        opened.goto(urllib.parse.urljoin(self._site, page))
        yield opened
        opened.close()

    def _state(self) -> str:
        return f"The server:\n{self._first.logged()[-3000:]}" if self._first.busy else ""

    def _open_terminal(self) -> Terminal:
        terminal = Terminal(self._base, self.ports, self._variables)
        self._stack.enter_context(terminal)
        return terminal

    def _follow_one(self, thing: Mapping[str, Any], page: Page) -> None:
        match thing["kind"]:
            case "needs":
                self._install(thing["address"])
            case "download":
                self._download(thing["address"])
            case "browser":
                for step in thing["items"]:
                    self._windows.do(step)
                    self.done += 1
            case _:
                self._follow_block(thing, page)

    def _follow_block(self, block: Mapping[str, Any], page: Page) -> None:
        classes, language, text = block["classes"], block["language"], block["text"]
        if {"not-run", "excerpt", "instead"} & set(classes):
            return
        if "file" in classes:
            self._paste(block["caption"], self._copied(block, page))
        elif language == "console":
            lines = [command.line for command in commands(text.rstrip("\n") + "\n")]
            assert self._copied(block, page).split() == "\n".join(lines).split(), (
                "Copy gives other commands than the block shows"
            )
            if "start" in classes:
                self._start(lines, tracebacks="with-errors" in classes)
            elif "service" in classes:
                [line] = lines
                self._open(self._open_terminal()).serve(line, self._log())
            else:
                self._type(text)
        elif language == "pycon":
            self._paste("session.txt", text)
            self.terminal.type("python -m doctest -o ELLIPSIS session.txt && rm session.txt")
        else:
            return
        self.done += 1

    def _log(self) -> Path:
        return self._logs / f"{len(list(self._logs.iterdir()))}.log"

    def _copied(self, block: Mapping[str, Any], page: Page) -> str:
        """Press Copy at a block, and return what is in the clipboard."""
        box = page.locator(f'[data-seen="{block["number"]}"]')
        box.hover()
        return copied(page, box.locator("button.copybtn")).replace("\r\n", "\n")

    def _paste(self, name: str, text: str) -> None:
        path = self._base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.ports.ported(self.ports.typed(text.rstrip("\n") + "\n")))
        time.sleep(0.01)  # so that a file that is pasted anew is never as old as its compiled one
        for stale in path.parent.glob(f"__pycache__/{path.stem}.*"):
            stale.unlink()

    # --- terminals --------------------------------------------------------------------------

    @property
    def terminal(self) -> Terminal:
        """The terminal in which one can type: the first, or while a server runs there, another."""
        if not self._first.busy:
            return self._first
        if self._second is None:
            self._second = self._open(self._open_terminal())
        return self._second

    def _open(self, terminal: Terminal) -> Terminal:
        """Go into the folder of the first terminal, with the environment activated."""
        activate = self._base / ".venv" / "bin" / "activate"
        if activate.exists():
            terminal.type(f". {shlex.quote(str(activate))}")
        return terminal

    def _type(self, text: str) -> None:
        terminal = self.terminal
        for command in commands(text.rstrip("\n") + "\n"):
            output = terminal.type(command.line)
            assert matches(command.output, output), (
                f"$ {command.line}\nprinted\n{output}\nand not\n{command.output}"
            )

    def _start(self, lines: list[str], *, tracebacks: bool) -> None:
        self._check_log()
        self._tracebacks = tracebacks
        self._windows.restarted |= self._first.busy
        self._first.interrupt()
        for line in lines[:-1]:
            self._first.type(line)
        self._first.serve(lines[-1], self._log())
        self.terminal.type(f"cd {shlex.quote(self._first.served_folder)}")

    def _check_log(self) -> None:
        if self._first.busy and not self._tracebacks:
            assert "Traceback" not in self._first.logged(), self._first.logged()[-3000:]

    # --- what comes first -------------------------------------------------------------------

    def _install(self, address: str) -> None:
        """Do what the Install page shows before one writes a file: environment and packages."""
        with self._reading(address) as page:
            for thing in self._seen(page):
                if thing["kind"] != "block" or thing["language"] != "console":
                    break
                self._follow_block(thing, page)

    def _download(self, address: str) -> None:
        """Download an archive, unpack it, and go into its folder."""
        archive = Path(urllib.parse.urlsplit(address).path).name
        folder = archive.removesuffix(".zip").removesuffix(".tar.gz")
        unpack = f"python3 -m zipfile -e {archive} ."
        if archive.endswith(".tar.gz"):
            unpack = f"tar xf {archive}"
        self._type(f"$ curl -sO {address}\n$ {unpack}\n")
        self._base /= folder
        self._type(f"$ cd {folder}\n")
        self._windows.folder = self._base
