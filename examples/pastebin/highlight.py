"""Colors source code by Pygments, in a process that ends when it takes too long.

Lexers are regular expressions, and a text can be written so that one of them runs for
hours. No other thread of its process runs meanwhile: in the server's process, that
would be the end of the site.
"""

import asyncio
import contextlib
import faulthandler
import html
import json
import sys
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import find_lexer_class_by_name, find_lexer_class_for_filename

LANGUAGES = {
    "text": "Plain text",
    "bash": "Bash",
    "c": "C",
    "cpp": "C++",
    "csharp": "C#",
    "css": "CSS",
    "diff": "Diff",
    "docker": "Dockerfile",
    "go": "Go",
    "html": "HTML",
    "ini": "INI",
    "java": "Java",
    "javascript": "JavaScript",
    "json": "JSON",
    "kotlin": "Kotlin",
    "lua": "Lua",
    "make": "Makefile",
    "markdown": "Markdown",
    "nginx": "nginx",
    "perl": "Perl",
    "php": "PHP",
    "python": "Python",
    "pytb": "Python traceback",
    "ruby": "Ruby",
    "rust": "Rust",
    "sql": "SQL",
    "swift": "Swift",
    "toml": "TOML",
    "typescript": "TypeScript",
    "xml": "XML",
    "yaml": "YAML",
}
GUESS = "guess"
# Longer texts are shown without colors and numbers, which would slow a browser down.
MOST_LINES = 10_000
# In characters. If a text is nothing but short words, its markup is thirty times as
# long.
MOST_MARKUP = 2**21
_FORMATTER: HtmlFormatter[str] = HtmlFormatter(cssclass="code", linespans="L")


def style_sheet() -> str:
    """Return the colors, for light and for dark.

    Both styles have a contrast of 4.5 or more on the page's cards.
    """
    light, dark = (
        HtmlFormatter(style=name, cssclass="code").get_style_defs(".code")
        for name in ("xcode", "lightbulb")
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def plain(text: str) -> str:
    """Return a text as it is, in the markup that Pygments makes."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) > MOST_LINES:
        return f'<div class="code"><pre><span>{html.escape(text)}</span></pre></div>'
    spans = "".join(
        f'<span id="L-{at}">{html.escape(line)}\n</span>'
        for at, line in enumerate(lines, 1)
    )
    return f'<div class="code"><pre>{spans}</pre></div>'


def guess(text: str, title: str) -> str:
    """Return the likeliest of the languages, by the file's name or by the text."""
    by_name = find_lexer_class_for_filename(title) if title else None
    for language in LANGUAGES:
        if by_name is not None and language in by_name.aliases:
            return language
    with contextlib.suppress(ValueError):
        if isinstance(json.loads(text), dict | list):
            return "json"
    start = text[:10_000]
    rated = {
        language: find_lexer_class_by_name(language).analyse_text(start)
        for language in LANGUAGES
    }
    best = max(rated, key=lambda language: rated[language])
    return best if rated[best] > 0.1 else "text"


def answer(question: dict[str, str]) -> tuple[str, str]:
    """Return the language of a text, and its markup."""
    text, language = question["text"], question["language"]
    if language == GUESS:
        language = guess(text, question["title"])
    lexer = find_lexer_class_by_name(language)(stripnl=False)
    return language, highlight(text, lexer, _FORMATTER)


class Highlighter:
    """Asks a process that starts when needed, and again after it had to be ended.

    Args:
        seconds: How long a text may take, waiting for others included; then it is shown
            without colours.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def highlight(self, text: str, language: str, title: str) -> tuple[str, str]:
        """Return the language of a text, a guessed one if asked for, and its markup."""
        without = "text" if language == GUESS else language
        if language != "text" and text.count("\n") < MOST_LINES:
            question = json.dumps({"text": text, "language": language, "title": title})
            with contextlib.suppress(TimeoutError, OSError, ValueError):
                async with asyncio.timeout(self.seconds), self._lock:
                    language, markup = await self._ask(question.encode())
                if len(markup) <= MOST_MARKUP:
                    return language, markup
        return without, plain(text)

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await process.wait()

    async def _ask(self, question: bytes) -> Any:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, str(2 * self.seconds + 1)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # In bytes of a response, since markup is much longer than the text.
                limit=2**27,
                # Ctrl-C in the server's terminal is not meant for it.
                start_new_session=True,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(question + b"\n")
            await process.stdin.drain()
            return json.loads(await process.stdout.readline())
        except BaseException:
            # Half an answer must not be taken for that to the next question.
            self._process = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise


def main() -> None:
    """Answer the questions that come in, a line of JSON each, until the last."""
    for line in sys.stdin:
        # Should the server die, nobody else would end a text that takes hours.
        faulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)
        print(json.dumps(answer(json.loads(line))), flush=True)
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
