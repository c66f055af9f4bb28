"""Checks of step 3: templates and forms."""

from checking import Missing, Place, Program
from checking_client import Answer, Form

PIES = ("Apple", "Cherry", "Pumpkin", "Rhubarb")
PAGE = "templates/index.html"


async def votes_of(poll: Program) -> dict[str, int]:
    """Return the results."""
    answer = await poll.visitor().get("/results")
    votes: dict[str, int] = answer.expect(200, "Keep the method `results`.").json()
    return votes


def place_of_page(poll: Program, page: Answer) -> Place:
    """Return the template, or the handler if there is none yet."""
    return Place(PAGE) if PAGE in poll.files else page.place


async def form_of(poll: Program) -> Form:
    """Return the form for a vote."""
    page = (await poll.visitor().get("/")).expect(200, "`/` must show the page.")
    for form in page.forms():
        if form.has("pie"):
            return form
    text = "The page must have a form with a field `pie`, so that visitors can vote."
    raise Missing(place_of_page(poll, page), text)


async def check_template(poll: Program) -> None:
    """`/` shows the template `index.html`."""
    place = Place(PAGE)
    if PAGE not in poll.files:
        raise Missing(place, "This file is missing. Make it in the folder `templates`.")
    poll.write(PAGE, poll.text(PAGE) + "<!-- the check was here -->")
    await poll.restart()
    page = (await poll.visitor().get("/")).expect(200, "`/` must show the page.")
    if "the check was here" not in page.text:
        call = '`await self._render_template("index.html", pies=Pie, votes=votes)`'
        page.missing(f"The page must come from `{PAGE}`, so return {call}.")


async def check_style(poll: Program) -> None:
    """The page has the style sheet."""
    page = (await poll.visitor().get("/")).expect(200, "`/` must show the page.")
    if "templates/style.css" not in poll.files:
        raise Missing(Place("templates/style.css"), "This file is missing. Copy it from the page.")
    start = " ".join(poll.text("templates/style.css").split())[:40]
    if not start or start not in " ".join(page.text.split()):
        text = (
            'The page must include the style sheet, so write `<style>{% include "style.css" '
            "%}</style>`."
        )
        raise Missing(place_of_page(poll, page), text)


async def check_form(poll: Program) -> None:
    """The page has a form with the four pies."""
    form = await form_of(poll)
    place = Place(PAGE) if PAGE in poll.files else poll.handler("/")
    for pie in PIES:
        if not form.has("pie", pie):
            text = f"The form must let visitors choose {pie}, with a field `pie` of that value."
            raise Missing(place, text)
    if form.method != "post":
        raise Missing(place, 'A vote changes something, so the form needs `method="post"`.')
    if form.action.removeprefix("./") != "vote":
        raise Missing(place, f'The form must lead to `vote`, and it has `action="{form.action}"`.')


async def check_vote(poll: Program) -> None:
    """The form of the page adds a vote."""
    answer = await poll.visitor().post("/vote", form={"pie": "Cherry"})
    answer.expect(range(200, 400), "`vote` must take the field `pie` of the form.")
    votes = await votes_of(poll)
    if votes != {**dict.fromkeys(PIES, 0), "Cherry": 1}:
        answer.missing(f"After one vote for Cherry by the form, `/results` answered `{votes}`.")
    page = await poll.visitor().get("/")
    if "--votes: 1" not in page.text and ">1<" not in page.text:
        text = "After one vote for Cherry, the page must show a 1, so give `votes` to the template."
        raise Missing(place_of_page(poll, page), text)


async def check_redirect(poll: Program) -> None:
    """The answer to the form is a redirect to the page."""
    answer = await poll.visitor().post("/vote", form={"pie": "Apple"})
    text = 'The answer to a form must be a redirect, so return `self._redirect("./", 303)`.'
    answer.expect(303, text)
    if answer.header("location") not in {"./", "/", ".", "http://127.0.0.1:8000/"}:
        text = f"The redirect must lead to the page, and it leads to `{answer.header('location')}`."
        answer.missing(text)


async def check_other_pies(poll: Program) -> None:
    """Other pies, and a form without a pie, are refused."""
    text = "Only the four pies can get a vote, so annotate the argument as `Pie`."
    (await poll.visitor().post("/vote", form={"pie": "Cake"})).expect(400, text)
    (await poll.visitor().post("/vote", form={})).expect(400, "A vote needs a pie.")
    answer = await poll.visitor().get("/vote?pie=Apple")
    answer.expect(405, 'A vote must be a POST, so keep `@methods("POST")` above the method.')
