"""The features of the poll, from the step on that adds each: a later step must not break it.

`MORE` in a file of checks is one of the lists at the end. Each check is a function that gets a
`Program`, as those of the file itself.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

from checking import Missing, Place, Program, Visitor, database_calls, statements
from checking_client import Answer, Socket
from checking_script import Script, ScriptError

QUESTION = "Which pie shall we bake on Friday?"
PIES = ("Apple", "Cherry", "Pumpkin", "Rhubarb")
NONE = dict.fromkeys(PIES, 0)
PAGE = "templates/index.html"
SCRIPTS = {"", "module", "text/javascript", "application/javascript"}


async def votes_of(poll: Program, query: str = "") -> dict[str, int]:
    """Return the results."""
    answer = await poll.visitor().get(f"/results{query}")
    votes: dict[str, int] = answer.expect(200, "Keep the method `results`.").json()
    return votes


async def expect_votes(poll: Program, after: str, answer: Answer, **votes: int) -> None:
    """Say that votes were counted wrongly."""
    found = await votes_of(poll)
    if found != {**NONE, **votes}:
        answer.missing(f"{after} `/results` answered `{found}`.")


async def page_of(poll: Program) -> Answer:
    """Return the page that a new visitor gets."""
    return (await poll.visitor().get("/")).expect(200, "`/` must show the page.")


def place_of_page(poll: Program, page: Answer) -> Place:
    """Return the template, or the handler if there is none yet."""
    return Place(PAGE) if PAGE in poll.files else page.place


def leads_to(reference: str, *paths: str) -> bool:
    """Tell if a URL of the page leads to one of these paths of the app."""
    place = urlsplit(urljoin("http://127.0.0.1:8000/", reference))
    return place.netloc == "127.0.0.1:8000" and place.path in paths


# --- Steps 1 to 3 ---------------------------------------------------------------------------------


async def check_question(poll: Program) -> None:
    """`/` shows the question as an HTML page."""
    answer = await poll.visitor().get("/")
    answer.expect(200, "`/` must show a page.")
    if "text/html" not in answer.header("content-type"):
        answer.missing("`/` must answer with an HTML page, so return a string.")
    if QUESTION not in answer.visible():
        answer.missing(f'The page must ask "{QUESTION}", and it shows {answer.shown()}.')
    if "<h1" not in answer.text.lower():
        answer.missing("Put the question into a heading, `<h1>`.")


async def check_counting(poll: Program) -> None:
    """The votes of the form are counted, and the page shows those of each pie."""
    for pie in ("Cherry", "Rhubarb", "Rhubarb"):
        answer = await poll.visitor().fill_in("/vote", pie=pie)
        answer.expect(range(200, 400), "`vote` must take the field `pie` of the form.")
    after = "After one vote for Cherry and two for Rhubarb,"
    await expect_votes(poll, after, answer, Cherry=1, Rhubarb=2)
    page = await page_of(poll)
    if wrong := wrong_count(page, {**NONE, "Cherry": 1, "Rhubarb": 2}):
        text = f"{after} the page must show a {wrong[1]} at {wrong[0]}, so give `votes` to the"
        raise Missing(place_of_page(poll, page), f"{text} template, and write `votes[pie]` there.")


def wrong_count(page: Answer, votes: dict[str, int]) -> tuple[str, int] | None:
    """Return the first pie that has not its votes on the page, and these votes."""
    found = numbers_at(page.visible())
    # The numbers stand behind all names or before all names, and some pages have more numbers.
    best = max((count_right(one, votes) for one in found), default=0)
    return None if best == len(votes) else list(votes.items())[best]


def numbers_at(text: str) -> list[list[tuple[str, list[int]]]]:
    """Return the numbers at the pies of a page, behind their names and before them."""
    parts = re.split(f"({'|'.join(PIES)})", text)
    numbers = [[int(number) for number in re.findall(r"\d+", part)] for part in parts]
    names = range(1, len(parts), 2)
    return [[(parts[at], numbers[at + step]) for at in names] for step in (1, -1)]


def count_right(found: list[tuple[str, list[int]]], votes: dict[str, int]) -> int:
    """Count the pies up to the first that has not its votes. No vote needs no number."""
    for at, (pie, count) in enumerate(votes.items()):
        if not any(name == pie and (count in many or not (count or many)) for name, many in found):
            return at
    return len(votes)


async def check_results(poll: Program) -> None:
    """`/results` answers as in step 2, and `at_least` leaves out pies with fewer votes."""
    answer = await poll.visitor().fill_in("/vote", pie="Cherry")
    await expect_votes(poll, "After one vote for Cherry,", answer, Cherry=1)
    text = "Keep the argument `at_least: int = 0` of `results`."
    found = await votes_of(poll, "?at_least=1")
    if found != {"Cherry": 1}:
        raise Missing(poll.handler("/results"), f"{text} `/results?at_least=1` answered `{found}`.")
    (await poll.visitor().get("/results?at_least=many")).expect(400, text)


async def check_other_pies(poll: Program) -> None:
    """Other pies, and a form without a pie, are refused."""
    text = "Only the four pies can get a vote, so annotate the argument as `Pie`."
    for pie in ("Cake", "Cherry'", ""):
        (await poll.visitor().fill_in("/vote", pie=pie)).expect(400, text)
    (await poll.visitor().fill_in("/vote")).expect(400, "A vote needs a pie.")
    visitor = poll.visitor()
    await visitor.get("/")
    answer = await visitor.get("/vote?pie=Apple")
    answer.expect(405, 'A vote must be a POST, so keep `@methods("POST")` above the method.')


async def check_redirect(poll: Program) -> None:
    """The answer to the form is a redirect to the page."""
    answer = await poll.visitor().fill_in("/vote", pie="Apple")
    text = 'The answer to a form must be a redirect, so return `self._redirect("./", 303)`.'
    answer.expect(303, text)
    if not leads_to(answer.header("location"), "/", "/index"):
        text = f"The redirect must lead to the page, and it leads to `{answer.header('location')}`."
        answer.missing(text)


async def check_form(poll: Program) -> None:
    """The page has a form with the four pies, and a button."""
    page = await page_of(poll)
    place = place_of_page(poll, page)
    form = next((form for form in page.forms() if form.has("pie")), None)
    if form is None:
        text = "The page must have a form with a field `pie`, so that visitors can vote."
        raise Missing(place, text)
    for pie in PIES:
        if not form.has("pie", pie):
            text = f"The form must let visitors choose {pie}, with a field `pie` of that value."
            raise Missing(place, text)
    if form.method != "post":
        raise Missing(place, 'A vote changes something, so the form needs `method="post"`.')
    buttons = form.buttons()
    if not buttons and not re.search(r"\b(submit|requestSubmit)\(", page.text):
        raise Missing(place, "Visitors can't send the form, so give it a `<button>`.")
    action = next((one["formaction"] for one in buttons if "formaction" in one), form.action)
    if not leads_to(action, "/vote"):
        raise Missing(place, f'The form must lead to `vote`, and it has `action="{action}"`.')


# --- Step 4 ---------------------------------------------------------------------------------------


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


# --- Step 5 ---------------------------------------------------------------------------------------


def store_of(poll: Program, name: str = "") -> Place:
    """Return the place of a function in the store, or the app if there is no such file."""
    return poll.at("store.py" if "store.py" in poll.files else "app.py", name)


async def check_restart(poll: Program) -> None:
    """The votes survive a restart."""
    answer = await poll.visitor().fill_in("/vote", pie="Cherry")
    answer.expect(303, "A visitor with a session votes, and is sent back to the page.")
    await poll.restart()
    votes = await votes_of(poll)
    if votes != {**NONE, "Cherry": 1}:
        text = (
            "After a vote for Cherry and a restart, the vote must still be there. Write it into "
            "the database, and commit it."
        )
        raise Missing(store_of(poll, "set_vote"), f"{text} `/results` answered `{votes}`.")


async def check_threads(poll: Program) -> None:
    """The database works in threads, so it holds up no other visitor."""
    with database_calls(poll) as calls:
        ada = poll.visitor()
        await ada.fill_in("/vote", pie="Apple")
        await ada.get("/")
        await ada.get("/results")
    if calls:
        text = (
            "The database holds up all visitors here, so call it in a thread with `await "
            "asyncio.to_thread(…)`."
        )
        raise Missing(calls[0], text)


async def check_sql(poll: Program) -> None:
    """A vote is never a part of the SQL."""

    async def vote(pie: str) -> None:
        visitor = poll.visitor()
        await visitor.fill_in("/vote", pie=pie)
        await visitor.get("/")

    with statements(poll) as found:
        await poll.restart()
        for pie in PIES[:-1]:
            await vote(pie)
        known = set(found)
        await vote(PIES[-1])
    expect_known(found, known)


def expect_known(found: dict[str, Place], known: set[str]) -> None:
    """Say that the SQL depends on the values."""
    for sql, place in found.items():
        if sql not in known:
            text = "A value became a part of the SQL. Write `?` for each value, and never an"
            raise Missing(place, f"{text} f-string. The SQL was `{' '.join(sql.split())[:80]}`.")


# --- Steps 6 and 7 --------------------------------------------------------------------------------


async def check_live(poll: Program) -> None:
    """A vote is sent to the readers of `/events`, as in step 6."""
    async with poll.visitor().events("/events") as events:
        events.answer.expect(200, "The method `events` must return `event_stream(…)`.")
        await events.next()
        answer = await poll.visitor().fill_in("/vote", pie="Cherry")
        event = await events.next(5)
        if not isinstance(event, dict) or event.get("votes") != {**NONE, "Cherry": 1}:
            text = "After a vote for Cherry, the readers of `/events` must get an event with it."
            answer.missing(f"{text} They got `{event}`.")


@asynccontextmanager
async def chatting(visitor: Visitor) -> AsyncIterator[Socket]:
    """Load the page, and open the chat as its script does."""
    await visitor.get("/")
    async with visitor.websocket("/chat") as socket:
        if not socket.accepted:
            raise Missing(socket.place, "The chat must accept a visitor of the page.")
        yield socket


async def message_of(socket: Socket, who: str, seconds: float = 20) -> dict[str, Any]:
    """Return the next message, or say that none came."""
    found = await socket.receive(seconds)
    if socket.code is not None:
        text = f"The chat of {who}, a visitor of the page, was closed with {socket.code}."
        raise Missing(socket.place, f"{text} Give each visitor a `name` in the session.")
    if found is None:
        text = f"{who} got no message. Send each message to all visitors, and to its writer, too."
        raise Missing(socket.place, text)
    if not isinstance(found, dict) or not {"name", "text"} <= set(found):
        text = f'A message must be JSON, `{{"name": …, "text": …}}`, and it was `{found}`.'
        raise Missing(socket.place, text)
    return found


async def check_message(poll: Program) -> None:
    """A message goes to all visitors, with the name of its writer."""
    async with chatting(poll.visitor()) as ada, chatting(poll.visitor()) as bob:
        ada.send("Hello!")
        one, other = await message_of(ada, "The writer"), await message_of(bob, "Another visitor")
        bob.send("Hi!")
        reply = await message_of(ada, "The first visitor")
        if (one["text"], other["text"], reply["text"]) != ("Hello!", "Hello!", "Hi!"):
            text = (
                f'"Hello!" and "Hi!" were sent, and {one["text"]!r}, {other["text"]!r} and '
                f"{reply['text']!r} came."
            )
            raise Missing(ada.place, text)
        if not one["name"] or one["name"] == reply["name"]:
            text = "Each visitor needs a name of their own. `index` puts it into the session."
            raise Missing(poll.handler("/"), text)


# --- Scripts --------------------------------------------------------------------------------------


async def scripts_of(poll: Program, page: Answer) -> list[tuple[Place, Script]]:
    """Return the scripts of a page; they must be ones that a browser understands."""
    found = []
    for attributes, text in page.page().scripts:
        if attributes.get("type", "").lower() not in SCRIPTS:
            continue
        if source := attributes.get("src"):
            text = (await poll.visitor().get(urlsplit(urljoin("/", source)).path)).text
        place = place_of_script(poll, text)
        try:
            found.append((place, Script(text)))
        except ScriptError as error:
            place = Place(place.file, f"line {error.line}", error.line)
            message = f"No browser understands this script. {error.text}"
            raise Missing(place, message) from None
    for place, script in found:
        for token in script.html():
            place = Place(place.file, f"line {token.line}", token.line)
            words = "Here a text becomes HTML, and so another visitor's text could be a script."
            raise Missing(place, f"{words} Use `textContent` in place of `{token.text}`.")
    return found


def place_of_script(poll: Program, text: str) -> Place:
    """Return the file that has the text of a script."""
    for name, content in poll.files.items():
        if name.endswith((".js", ".mjs")) and str(content).strip() in text and str(content).strip():
            return Place(name)
    return Place(PAGE)


async def expect_script(
    poll: Program, file: str, what: str, *needed: tuple[str, ...], message: bool = False
) -> None:
    """See that a script of the page does something.

    Args:
        poll: The app.
        file: The script of the tutorial, for example ``chat.js``.
        what: What it does, for example "opens the WebSocket".
        needed: The tokens that do it. The first are those without which it is another script.
        message: It has to listen to messages.
    """
    page = await page_of(poll)
    scripts = await scripts_of(poll, page)
    found = [(place, script) for place, script in scripts if script.has(*needed[0])]
    if not found:
        if f"templates/{file}" not in poll.files:
            raise Missing(Place(f"templates/{file}"), f"This file is missing. It {what}.")
        if f"templates/{file}" in {place.file for place, _ in scripts}:
            text = f"The script must use `{' '.join(needed[0])}`, since it {what}."
            raise Missing(Place(f"templates/{file}"), text)
        tag = f'<script type="module">{{% include "{file}" %}}</script>'
        raise Missing(Place(PAGE), f"The page must include the script, so write `{tag}`.")
    place = found[0][0]
    every = [script for _, script in scripts]  # one of them can be split into several
    for tokens in needed:
        if not any(script.has(*tokens) for script in every):
            text = f"The script {what}, so it must call `{''.join(tokens)}…)`."
            raise Missing(place, text)
    heard = any(one.has("onmessage") or one.has_string("message") for _, one in found)
    if message and not heard:
        raise Missing(place, 'The script must listen to the event "message".')


def expect_elements(poll: Program, page: Answer, file: str, *names: str) -> None:
    """See that the page has the elements that a script of the tutorial looks for."""
    for name in names:
        if f"#{name}" in poll.text(f"templates/{file}") and ("id", name) not in (
            page.page().attributes
        ):
            text = f'`{file}` looks for `#{name}`, and no element of the page has `id="{name}"`.'
            raise Missing(Place(PAGE), text)


async def check_live_page(poll: Program) -> None:
    """The page listens to the events, and has what its script changes."""
    what = "listens to the events, and moves the bars"
    await expect_script(poll, "live.js", what, ("EventSource",), message=True)
    expect_elements(poll, await page_of(poll), "live.js", "poll", "state")


async def check_chat_page(poll: Program) -> None:
    """The page has the chat and its script."""
    what = "opens the WebSocket, and shows the messages"
    await expect_script(poll, "chat.js", what, ("WebSocket",), (".", "send", "("), message=True)
    expect_elements(poll, await page_of(poll), "chat.js", "messages", "say")


# --- What each step has ---------------------------------------------------------------------------

STEP_1 = [check_question]
STEP_3 = [
    *(check_form, check_counting, check_redirect, check_other_pies, check_results),
    check_question,
]
STEP_4 = [
    *(check_one_vote, check_no_session, check_voter_is_not_believed, check_other_sites),
    *(check_choice_is_shown, *STEP_3),
]
STEP_5 = [check_restart, check_sql, check_threads, *STEP_4]
STEP_6 = [check_live_page, *STEP_5]
STEP_7 = [check_message, check_chat_page, check_live, *STEP_6]
STEP_9 = [check_counting, check_one_vote, check_live, check_message]  # its own checks take long
