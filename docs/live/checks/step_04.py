"""Checks of step 4: sessions, and one vote for each visitor."""

import re

from checking import Missing, Place, Program
from checking_client import Answer

PAGE = "templates/index.html"
NONE = {"Apple": 0, "Cherry": 0, "Pumpkin": 0, "Rhubarb": 0}


async def votes_of(poll: Program) -> dict[str, int]:
    """Return the results."""
    answer = await poll.visitor().get("/results")
    votes: dict[str, int] = answer.expect(200, "Keep the method `results`.").json()
    return votes


async def expect_votes(poll: Program, after: str, answer: Answer, **votes: int) -> None:
    """Say that votes were counted wrongly."""
    found = await votes_of(poll)
    if found != {**NONE, **votes}:
        answer.missing(f"{after} `/results` answered `{found}`.")


async def check_vote(poll: Program) -> None:
    """A visitor who has loaded the page can vote."""
    answer = await poll.visitor().fill_in("/vote", pie="Cherry")
    answer.expect(303, "A visitor with a session votes, and is sent back to the page.")
    await expect_votes(poll, "After a visitor's vote for Cherry,", answer, Cherry=1)


async def check_one_vote(poll: Program) -> None:
    """A second vote of a visitor replaces the first one."""
    ada, bob = poll.visitor(), poll.visitor()
    await ada.fill_in("/vote", pie="Apple")
    answer = await ada.fill_in("/vote", pie="Cherry")
    text = "A visitor voted for Apple and then for Cherry. Only the second vote may count, but"
    await expect_votes(poll, text, answer, Cherry=1)
    answer = await bob.fill_in("/vote", pie="Cherry")
    text = "Two visitors voted for Cherry. Each needs a `voter` of their own in the session, but"
    await expect_votes(poll, text, answer, Cherry=2)


async def check_no_session(poll: Program) -> None:
    """A vote without a session does not count, and the answer says why."""
    answer = await poll.visitor().post("/vote", form={"pie": "Apple"})
    await expect_votes(poll, "A vote came without a session. It may not count, but", answer)
    answer.expect(range(400, 500), "Refuse a vote without a session, for example with 403.")
    if not re.search("too old|reload", answer.text, re.I):
        text = "If a visitor has no session, say that the page is too old, and that a reload helps."
        answer.missing(f"{text} The answer was {answer.shown()}.")


async def check_voter_is_not_believed(poll: Program) -> None:
    """Neither a form nor a URL can name the voter."""
    text = "A form named the voter `Ada`. Take `voter` from the session alone, with `FromSession`:"
    answer = await poll.visitor().post("/vote?voter=Ada", form={"pie": "Apple", "voter": "Ada"})
    await expect_votes(poll, text, answer)
    ada = poll.visitor()
    await ada.fill_in("/vote", pie="Apple")
    answer = await ada.fill_in("/vote?voter=Bob", pie="Apple", voter="Bob")
    await expect_votes(poll, text, answer, Apple=1)


async def check_other_sites(poll: Program) -> None:
    """A vote from another site's page does not count."""
    ada = poll.visitor()
    await ada.get("/")
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = await ada.post("/vote", form={"pie": "Apple"}, headers=headers)
        text = "Another site sent a vote in the name of a visitor. It may not count, but"
        await expect_votes(poll, text, answer)


async def check_choice_is_shown(poll: Program) -> None:
    """The page shows a visitor's own choice."""
    ada, bob = poll.visitor(), poll.visitor()
    await ada.fill_in("/vote", pie="Pumpkin")
    for visitor, chosen, button in ((ada, ["Pumpkin"], True), (bob, [], False)):
        page = (await visitor.get("/")).expect(200, "`/` must show the page.")
        forms = [form for form in page.forms() if form.has("pie")]
        found = forms[0].chosen("pie") if forms else []
        if found != chosen:
            text = (
                "The page must mark the pie that the visitor has chosen, with `checked`, and no "
                "other."
            )
            raise Missing(Place(PAGE), f"{text} It marks {', '.join(found) or 'none'}.")
        if ("Change my vote" in page.text) != button:
            text = 'The button must say "Change my vote" after a vote, and "Vote" before it.'
            raise Missing(Place(PAGE), text)
