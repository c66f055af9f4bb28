"""How tests look at pages of the site: for accessibility, and for what the search finds."""

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Locator, Page

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
#: Waits until a page has drawn what it was told last, such as another tab. The theme fades colors.
#: An animation without an end has nothing to wait for.
DRAWN = """async () => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    const hasEnd = ({effect}) => effect.getComputedTiming().endTime < Infinity;
    const ending = document.getAnimations().filter(hasEnd);
    const ends = ending.map(({finished}) => finished.catch(() => null));
    await Promise.race([Promise.all(ends), new Promise((late) => setTimeout(late, 30_000))]);
}"""
NOT_YET = "Nothing was copied yet."
#: The text of the clipboard, as soon as it has another one.
COPIED = """async (before) => {
    const end = performance.now() + 30_000;
    for (;;) {
        const text = await navigator.clipboard.readText();
        if (text !== before || performance.now() > end) return text;
    }
}"""
RUN_AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter(found => ["serious", "critical"].includes(found.impact))
    .map(found => `${found.id}: ${found.nodes.map(node => node.html).join("\\n    ")}`)"""
#: The links of all results, without what is before docs/.
FOUND = """([base, selector]) => [...document.querySelectorAll(selector)]
    .map(link => decodeURIComponent(link.href).replace(base, "").replace(".html", ""))"""


def copied(page: Page, button: Locator) -> str:
    """Press a button that copies; return what is in the clipboard then."""
    page.evaluate("text => navigator.clipboard.writeText(text)", NOT_YET)
    button.click()
    text: str = page.evaluate(COPIED, NOT_YET)
    return text


def found_on_page(page: Page, base: str, text: str) -> list[str]:
    """Type into the box of the search page; return what is found, the best first."""
    page.fill("#search-input", text)
    page.wait_for_function(
        "text => new URLSearchParams(location.search).get('q') === text", arg=text
    )
    return page.evaluate(FOUND, [base, "#search-results a"])
