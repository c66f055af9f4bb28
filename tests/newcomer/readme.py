"""A newcomer who reads the project's README on a code host.

A code host shows neither comments nor names above the blocks. So the robot goes by the paragraph
before each block, as a reader does:

* "Clone this repository": it clones the last commit, and goes into the clone.
* "Save this as `app.py`": the block is that file, in the folder of the first terminal.
* "start it", "start the gallery": the block ends with a command that keeps running. If a server
  runs already, the paragraph has to say "Stop the server".
* "second terminal": a server runs in the first one, and has to.
* "takes about ten minutes": it leaves the block out, and docs/followed.json says so.

If a server was started, it opens the URL that the paragraph names.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page

from tests.blocks import commands
from tests.newcomer.robot import Newcomer

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>README</title><article>
{article}</article></html>
"""
SEEN = """() => [...document.querySelectorAll('article pre')].map((node, number) => {
  node.dataset.seen = number;
  let before = node.previousElementSibling;
  if (before?.matches('pre, h1, h2, h3, ul')) before = null;
  const language = node.querySelector('code').className.replace('language-', '');
  return {kind: 'block', number, language, caption: '', classes: [],
    text: node.innerText, before: before?.innerText.replaceAll('\\n', ' ') ?? ''};
})"""
SELECTED = """(number) => {
  const chosen = getSelection();
  chosen.selectAllChildren(document.querySelector(`[data-seen="${number}"]`));
  return chosen.toString();
}"""
SAVE = re.compile(r"\bSave this as (\S+\.\w+)")
START = re.compile(r"\b[Ss]tart (?:it|the \w+)\b")
URL = re.compile(r"http://127\.0\.0\.1:\d+[\w/]*")
LONG = re.compile(r"\btakes about \w+ minutes")


def rendered(readme: str) -> str:
    """Return a README as the page that a code host makes of it."""
    return PAGE.format(article=MarkdownIt("commonmark").enable("table").render(readme))


class ReadmeReader(Newcomer):
    """Follows a README, which has its first commands in a clone.

    Args:
        browser: A browser.
        site: The URL below which the README is served, with a slash at the end.
        folder: An empty folder.
        variables: More variables of the environment.
        repository: The folder of the repository, to clone.
    """

    def __init__(
        self,
        browser: Browser,
        site: str,
        folder: Path,
        variables: Mapping[str, str],
        repository: Path,
    ) -> None:
        super().__init__(browser, site, folder, variables)
        self._repository = repository

    def _seen(self, page: Page) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = page.evaluate(SEEN)
        for block in seen:
            if name := SAVE.search(block["before"]):
                block |= {"classes": ["file"], "caption": name[1]}
            elif START.search(block["before"]):
                block["classes"] = ["start"]
        return seen

    def _follow_block(self, block: Mapping[str, Any], page: Page) -> None:
        before, serves = block["before"], self._first.busy
        starts = "start" in block["classes"]
        if LONG.search(before):
            self.left_out += [command.line for command in commands(block["text"])]
            return
        assert before, "nothing says what to do with it"
        assert ("Stop the server" in before) == (serves and starts), before
        assert ("second terminal" in before) == (serves and not starts), before
        if "Clone this repository" in before:
            self._type(f"$ git clone --quiet {shlex.quote(str(self._repository))} clone\n")
            self._type("$ cd clone\n")
        done = self.done
        super()._follow_block(block, page)
        assert self.done > done, "neither a file nor commands"
        if starts:
            for url in URL.findall(before):
                self._windows.do(f"Open {url}.")
                self.done += 1

    def _copied(self, block: Mapping[str, Any], page: Page) -> str:
        """Return what a reader selects: a file, or of commands only what is typed."""
        text: str = page.evaluate(SELECTED, block["number"])
        if block["language"] != "console":
            return text
        return "\n".join(command.line for command in commands(text.rstrip("\n") + "\n"))

    def _type(self, text: str) -> None:
        super()._type(text)
        if not self._first.busy:
            self._base = Path(self._first.type("pwd").strip())
