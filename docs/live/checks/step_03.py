"""Checks of step 3: templates and forms."""

from checking import Missing, Place, Program
from checking_poll import PAGE, STEP_3, page_of, place_of_page

# More checks, which later steps have, too.
MORE = STEP_3


async def check_template(poll: Program) -> None:
    """`/` shows the template `index.html`."""
    place = Place(PAGE)
    if PAGE not in poll.files:
        raise Missing(place, "This file is missing. Make it in the folder `templates`.")
    poll.write(PAGE, poll.text(PAGE) + "<!-- the check was here -->")
    await poll.restart()
    page = await page_of(poll)
    if "the check was here" not in page.text:
        call = '`await self._render_template("index.html", pies=Pie, votes=votes)`'
        page.missing(f"The page must come from `{PAGE}`, so return {call}.")


async def check_style(poll: Program) -> None:
    """The page has the style sheet."""
    page = await page_of(poll)
    if "templates/style.css" not in poll.files:
        raise Missing(Place("templates/style.css"), "This file is missing. Copy it from the page.")
    start = " ".join(poll.text("templates/style.css").split())[:40]
    if not start or start not in " ".join(page.text.split()):
        text = (
            'The page must include the style sheet, so write `<style>{% include "style.css" '
            "%}</style>`."
        )
        raise Missing(place_of_page(poll, page), text)
