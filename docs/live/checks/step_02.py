"""Checks of step 2: routes, arguments, and methods."""

from checking import Missing, Program
from checking_poll import NONE, STEP_1, wrong_count

# More checks: what step 1 has added still works.
MORE = STEP_1


async def votes_of(poll: Program) -> dict[str, int]:
    """Return the results, or say that there are none."""
    answer = await poll.visitor().get("/results")
    answer.expect(200, "`results` returns the votes of each pie.")
    votes: dict[str, int] = answer.json()
    return votes


async def vote(poll: Program, pie: str) -> None:
    """Vote as the page says."""
    answer = await poll.visitor().post(f"/vote/{pie}")
    answer.expect(range(200, 400), "`vote` takes a vote for a pie.")


async def check_results(poll: Program) -> None:
    """`/results` answers with the votes of the four pies as JSON."""
    votes = await votes_of(poll)
    if votes != NONE:
        text = f"At the start `/results` must answer `{NONE}`, and it answered `{votes}`."
        raise Missing(poll.handler("/results"), text)


async def check_vote(poll: Program) -> None:
    """`POST /vote/Cherry` adds one vote to Cherry."""
    await vote(poll, "Cherry")
    await vote(poll, "Cherry")
    await vote(poll, "Pumpkin")
    votes = await votes_of(poll)
    if votes != {**NONE, "Cherry": 2, "Pumpkin": 1}:
        text = f"After two votes for Cherry and one for Pumpkin, `/results` answered `{votes}`."
        raise Missing(poll.handler("/vote"), text)


async def check_vote_is_a_post(poll: Program) -> None:
    """A `GET` changes no vote."""
    answer = await poll.visitor().get("/vote/Cherry")
    text = (
        'A vote must change something only for a POST, so put `@methods("POST")` above the method.'
    )
    if await votes_of(poll) != NONE:
        answer.missing(text)
    answer.expect(405, text)


async def check_page(poll: Program) -> None:
    """`/` lists the pies with their votes."""
    await vote(poll, "Rhubarb")
    page = (await poll.visitor().get("/")).expect(200, "The page must still be there.")
    if wrong := wrong_count(page, {**NONE, "Rhubarb": 1}):
        text = 'The page must show each pie with its votes, for example "Apple: 0".'
        page.missing(f"{text} After one vote for Rhubarb, it does not do so for {wrong[0]}.")


async def check_at_least(poll: Program) -> None:
    """`/results?at_least=1` and `/results/1` leave out pies with fewer votes."""
    await vote(poll, "Cherry")
    for path in ("/results?at_least=1", "/results/1"):
        answer = await poll.visitor().get(path)
        text = "Give `results` an argument `at_least: int = 0`."
        answer.expect(200, text)
        if answer.json() != {"Cherry": 1}:
            text = f"{text} With one vote for Cherry, `{path}` must answer `{{'Cherry': 1}}`"
            answer.missing(f"{text}, and it answered {answer.shown()}.")


async def check_types(poll: Program) -> None:
    """Something that is not a number, and a pie that does not exist, are refused."""
    text = "`at_least` must be a number, so annotate it as `int`."
    (await poll.visitor().get("/results?at_least=many")).expect(400, text)
    text = "Only the four pies can get a vote, so annotate the argument as `Pie`."
    (await poll.visitor().post("/vote/Cake")).expect(404, text)
    text = "A vote needs a pie, so give the argument no default."
    (await poll.visitor().post("/vote")).expect(400, text)
