"""Checks of step 5: the votes are in a database."""

import os
from pathlib import Path

from checking import Missing, Place, Program, database_calls

NONE = {"Apple": 0, "Cherry": 0, "Pumpkin": 0, "Rhubarb": 0}


async def votes_of(poll: Program) -> dict[str, int]:
    """Return the results."""
    answer = await poll.visitor().get("/results")
    votes: dict[str, int] = answer.expect(200, "Keep the method `results`.").json()
    return votes


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


async def check_one_vote(poll: Program) -> None:
    """Each visitor still has one vote."""
    ada, bob = poll.visitor(), poll.visitor()
    await ada.fill_in("/vote", pie="Apple")
    await ada.fill_in("/vote", pie="Cherry")
    await bob.fill_in("/vote", pie="Cherry")
    votes = await votes_of(poll)
    if votes != {**NONE, "Cherry": 2}:
        text = (
            "One visitor voted for Apple and then for Cherry, and another one for Cherry. Only "
            "the last vote of each may count, but"
        )
        raise Missing(store_of(poll, "set_vote"), f"{text} `/results` answered `{votes}`.")
    page = await ada.get("/")
    if "Change my vote" not in page.text:
        text = (
            'After a vote, the button must say "Change my vote", so look up the vote of the voter.'
        )
        raise Missing(store_of(poll, "vote_of"), text)


async def check_no_session(poll: Program) -> None:
    """A vote without a session still does not count."""
    answer = await poll.visitor().post("/vote", form={"pie": "Apple"})
    if await votes_of(poll) != NONE:
        answer.missing("A vote without a session must not count.")


async def check_folder(poll: Program) -> None:
    """The database is a file in `data`, or in the folder that `POLL_DATA` names."""
    await poll.visitor().fill_in("/vote", pie="Apple")
    if not any(path.is_file() for path in (poll.folder / "data").rglob("*")):
        raise Missing(store_of(poll), "The database must be a file in the folder `data`.")
    other = poll.folder / "another" / "folder"
    os.environ["POLL_DATA"] = str(other)
    await poll.restart()
    await poll.visitor().fill_in("/vote", pie="Apple")
    if not files_in(other):
        text = (
            "If the environment variable `POLL_DATA` names a folder, the database must be there, "
            'so use `os.environ.get("POLL_DATA", …)`.'
        )
        raise Missing(store_of(poll), text)


def files_in(folder: Path) -> bool:
    """Tell if there is a file in a folder."""
    return any(path.is_file() for path in folder.rglob("*"))


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


async def check_values(poll: Program) -> None:
    """A value is never a part of the SQL."""
    store = poll.module("store")
    if not hasattr(store, "set_vote") or not hasattr(store, "vote_of"):
        return  # the reader has named them in another way
    try:
        store.set_vote("Ada", "Apple")
    except Exception:
        return  # another check says what is wrong
    text = (
        "A value with a `'` in it breaks the SQL. Write `?` for each value, and never an f-string."
    )
    voter = "Ada's"
    for name, arguments in (("set_vote", (voter, "Apple")), ("vote_of", (voter,))):
        try:
            found = getattr(store, name)(*arguments)
        except Exception:
            raise Missing(store_of(poll, name), text) from None
    if found != "Apple" or store.vote_of("' OR '1'='1") is not None:
        raise Missing(store_of(poll, "vote_of"), text)
