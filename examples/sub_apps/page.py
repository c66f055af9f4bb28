"""The frame of every page; `home` is the parent's root path, with the style sheet."""

import html

FRAME = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{home}/static/style.css">
<main>
<h1>{title}</h1>
{body}
</main>
</html>
"""


def page(title: str, body: str, home: str) -> str:
    """Return a whole page; `body` is HTML, what comes from people escaped already."""
    return FRAME.format(title=html.escape(title), body=body, home=html.escape(home))
