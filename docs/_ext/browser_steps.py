"""The sentences of `{browser}`: steps in a browser that a reader and a robot understand alike."""

import re

WHERE = r"(?:In (?:the (?P<window>first|second|third|private) window|another window), )?"
URL = r"(?P<url>https?://\S+?)"
NAME = r"(?P<name>.+?)"
# Each sentence that {browser} knows, as a reader sees it: bold names lose their asterisks.
SENTENCES = {
    "new": rf"In a (?P<window>second|third|private) window, open {URL}",
    "open": rf"{WHERE}[Oo]pen {URL}",
    "type": rf"{WHERE}[Tt]ype (?P<text>.+?) into {NAME}",
    "file": rf"{WHERE}[Cc]hoose the file (?P<file>\S+) in {NAME}",
    "choose": rf"{WHERE}[Cc]hoose {NAME}",
    "enter": rf"{WHERE}[Pp]ress Enter",
    "press": rf"{WHERE}(?:[Pp]ress|[Ff]ollow the link) {NAME}",
    "see": rf'{WHERE}[Yy]ou see ["“](?P<text>.+)["”]',
    "gone": rf"{WHERE}[Yy]ou don['’]t see [\"“](?P<text>.+)[\"”]",
    "reload": rf"{WHERE}[Rr]eload the page",
    "close": r"Close the (?P<window>first|second|third|private) window",
}


def understood(sentence: str) -> tuple[str, dict[str, str]]:
    """Return what a step in a browser does, and with what.

    Raises:
        ValueError: It is not one of the sentences.
    """
    for action, pattern in SENTENCES.items():
        if match := re.fullmatch(pattern + r"\.?", " ".join(sentence.split())):
            found = {key: value for key, value in match.groupdict().items() if value}
            return action, found
    raise ValueError(f"No step in a browser: {sentence!r}")
