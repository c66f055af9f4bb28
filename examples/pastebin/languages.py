"""Guesses the language of a text, and colors it by Pygments."""

import html
import re
import subprocess
import sys
import threading
from collections import defaultdict
from fnmatch import fnmatch
from typing import Any

from pygments.formatters import HtmlFormatter
from pygments.lexers import get_all_lexers

GUESS = "guess"
_OFFERED = """
bash c cpp csharp css diff docker go html ini java javascript json kotlin lua make
markdown nginx php python ruby rust sql swift text toml typescript xml yaml
"""
_KNOWN = {
    alias: (label, patterns)
    for label, aliases, patterns, _ in get_all_lexers(plugins=False)
    for alias in set(aliases) & set(_OFFERED.split())
}
LANGUAGES = {name: _KNOWN[name][0] for name in sorted(_KNOWN)}
# Each line has a language, and a regular expression for lines that are typical of it.
# If a text has as many of those for two languages, the upper one is guessed.
_LOOKS = r"""
markdown ^#{1,6} \S|^( {2,})?([-*+]|\d+\.) \S|^```|^> |^[=-]{3,}$|^\||\*\*.+\*\*
markdown \]\(.+\)
python ^\s*(async )?def \w+\(|^\s*class \w+.*:$|^(import|from) [\w., ]+(import .*)?$
python ^\s*@\w|^\s*((el)?if|for|while|with|try|else|except|finally)\b.*:$
python ^\s*[\w.]+\(.*\)$|self\.|^\s*(return|raise|yield|pass|assert)\b(?!.*;$)
python ^\s*('''|\""")|^\s*#( |$)|^\s*[\w.]+(: [\w\[\] |]+)? [-+*/]?= [^;{]*$
javascript ^\s*(export |async )*(const|let|var|function\b) ?[\w{\[*(]|=>|[!=]==|\$\{.*`
javascript \b(console|document|window|module|Math|JSON)\.\w|\brequire\(|\bawait |^export
javascript ^import .*['"];?$|^\s*\}?\)+;$|^\s*(this|return)\b.*;$|^\s*[\w$.]+\(
typescript ^\s*(export )?(interface|type) \w+.*[{=]
typescript ^\s*(private|public|readonly) \w+(\(|: )
typescript \w\??: (string|number|boolean|void|any|unknown|\w+\[\])\b
c ^\s*# *(include|define|ifn?def|if|endif|pragma)\b|->\w|\b(sizeof|NULL)\b|^\s*\w+\+\+;
c ^\s*((static|const|unsigned|extern|void|int|char|long)\b[ *]*)+\w.*[;,{()]$
c ^\s*(static|float|double|size_t|bool|FILE|u?int\d+_t)\b[ *]*\w.*[;,{()]$
c ^\s*(const |static |typedef )*(struct|enum)\b.*[;,{()]$
c \b(printf|malloc|free|fopen|scanf|strlen)\(|^\s*return\b.*;$
cpp \bstd::|\b(cout|cerr|nullptr)\b|::\w|^\s*(template|using|namespace|class) ?\W?\w
cpp ^\s*(public|private|protected):|^#include <\w+>
java ^\s*(class|public|private|protected|package|import|final|static|@\w+)\b.*[^:]$
java System\.|\bnew \w|^\s*return\b.*;$|^\s*\w+\.\w+\(.*;$|\(\w+ \w+ : \w
java ^\s*(int|long|double|boolean|void|var|[A-Z]\w*(<.*>)?)(\[\])? \w+( = .*|;|\(.*)$
go ^package \w+$|^import [("]|\bfunc\b|:=|\bfmt\.|\bnil\b|\bmake\(|^\s*"[\w/.]+"$
go ^\s*(defer|go|case|type|var) .*[^;:]$|^\s*(if|for|switch) [^(].*\{$|^\s*return [^;]*$
go ^\t\w+ +[*\[\]\w.]+( +`.*`)?$
rust ^\s*(pub |async )*(fn|mod|impl|trait|enum|struct|use|let|match|loop)\b|\w!\(
rust #!?\[\w|&mut |&str|\w::\w|-> [\w&]|\b(Some|Ok|Err)\(|\.unwrap
rust ^\s*(pub )?\w+: [\w<>&]+,$|^\s*(if|for|while) [^(].*\{$
php <\?|^\s*\$\w+ *(=|->)|\$this->|\becho \$|^(use|namespace) [\w\\]+;
css ^\s*([.#&:*][\w-]+|body|html|h\d|a|p|div|ul|li|main|nav|header|footer)\b[^;=]*[{,]
css ^\s*(button|input|table|section|img|code|pre|from|to|\d+%|\*|@[\w-]+ )[^;=]*[{,]
css ^\s*[a-z-]+\s*:\s*[^;]+;$
sql (?i:^\s*(select\b|(insert into|delete from|(create|drop|alter) (table|view)) ))
sql (?i:^\s*(update \w+ set|union|(group|order) by )|\b(varchar|primary key|not null)\b)
sql ^\s*(FROM|WHERE|((LEFT|INNER) )?JOIN|AND|OR|HAVING|VALUES|LIMIT|WITH|SET|ON)\b|^--\s
sql ^\s*from \w+( \w+)?;?$|^\s*where .*[=<>]|^\s*(left )?join \w+
toml ^\[\[?[\w."-]+\]\]?$|^\s*"[^"]*",?$|^\]$|^\s*#( |$)
toml ^[\w."-]+ *= *(["'].*|[-+]?\d[\w.:+-]*|true|false|[\[{].*)$
ini ^;|^\s*\[[^\]"]+\]$|^[\w.-]+ *=[^=;]*[^=({;]$|^[\w.-]+ *=$|^\s*#( |$)
bash ^\s*(if \[|then$|fi$|done|do$|esac|echo |export |set -|source |cd |exit|#( |$))
bash ^\s*(sudo|local|rm|mkdir|cp|curl|git|docker|apt|pip|npm) |^\s*[a-zA-Z_]+=\S*[^,]$
bash ^\s*(for|while|until|if|elif) .*; *(do|then)|^(function \w+|\w+\(\)) *\{
bash \$[{(\w@#?]|\| *(grep|sed|awk|sort|xargs|head|tail|wc|tee)\b|&& *(\w|\\$)
html ^\s*</?[a-zA-Z][\w-]*([ />].*)?$|<!--
yaml ^---$|^\s*(- )*[\w."'/-]+:( [^{(]*[^,;{(]| \{.*\}| *)$|^\s*- \S.*[^,;]$|^\s*#( |$)
"""
_JOINED: dict[str, list[str]] = defaultdict(list)
for _name, _, _looks in (line.partition(" ") for line in _LOOKS.strip().split("\n")):
    _JOINED[_name].append(_looks)
for _name, _base in (("typescript", "javascript"), ("cpp", "c")):
    _JOINED[_name] += _JOINED[_base]  # each has all lines of the other, and more
_TYPICAL = {name: re.compile("|".join(looks)) for name, looks in _JOINED.items()}
# Signs at the start of a text that leave no doubt.
_SURE = {
    "python": r"#!.*python",
    "bash": r"#!.*\b(ba|z|da)?sh\b",
    "json": r"[{\[]\s*([\"{]|\[+\s*[\"\d{]|-?[\d.]+\s*,)",
    "php": r"<\?php",
    "html": r"(?i:<!doctype html)",
    "xml": r"<\?xml",
    "diff": r"diff --git |--- \S.*\n\+\+\+ ",
}
LONGEST = 64 * 1024  # characters; longer texts get no colors
MOST_LINES = 10_000  # that get numbers
SECONDS = 5.0  # until the program is killed
_SLOTS = threading.BoundedSemaphore(3)  # programs at the same time


def guess(text: str, title: str = "") -> str:
    """Return the name of the likeliest language, by a file's name or by the text."""
    for name, (_, patterns) in _KNOWN.items():
        if any(fnmatch(title, pattern) for pattern in patterns):
            return name
    for name, sign in _SURE.items():
        if re.match(sign, text[:1000].lstrip()):
            return name
    # Short lines, and few of them, so that no text keeps a regular expression busy.
    lines = [line[:200].rstrip() for line in text[:20_000].splitlines()[:300]]
    lines = [line for line in lines if not re.match(r"\s*(//|/\*|\*[ /]|$)", line)]
    hits = {
        name: sum(looks.search(line) is not None for line in lines)
        for name, looks in _TYPICAL.items()
    }
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] > len(lines) / 5 else "text"


def colored(text: str, language: str) -> str:
    """Return the markup of a text: a line is a `span`, with colors if there is time.

    Pygments runs as a program. A text can be written so that one of its regular
    expressions takes hours, and in this process no other thread could run meanwhile.
    """
    markup = html.escape(text)
    if language != "text" and len(text) <= LONGEST and _SLOTS.acquire(timeout=1):
        options = "nowrap=True,stripnl=False,encoding=utf-8"
        arguments = ["-l", language, "-f", "html", "-O", options]
        command = [sys.executable, "-m", "pygments", *arguments]
        how: Any = {"stdout": subprocess.PIPE, "timeout": SECONDS, "check": True}
        try:
            markup = subprocess.run(command, input=text.encode(), **how).stdout.decode()
        except (subprocess.SubprocessError, OSError):
            pass  # the plain text will do
        finally:
            _SLOTS.release()
    lines = markup.removesuffix("\n").split("\n")
    if len(lines) > MOST_LINES:
        return html.escape(text)
    return "".join(
        f'<span id="L-{at}">{line}\n</span>' for at, line in enumerate(lines, 1)
    )


def style_sheet() -> str:
    """Return the colors, for light and for dark pages."""
    light, dark = (
        HtmlFormatter(style=name).get_style_defs(".code")
        for name in ("xcode", "lightbulb")
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
