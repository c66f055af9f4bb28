"""Checks of step 6: an event stream, and a page that listens to it."""

from typing import Any

from checking import Missing, Program
from checking_poll import NONE, STEP_6

# More checks: what the steps up to this one have added still works.
MORE = STEP_6

STREAM = "The method `events` must return `event_stream(…)`."


def votes_in(poll: Program, event: Any) -> dict[str, int]:
    """Return the votes of an event, or say that it has none."""
    if event is None:
        text = (
            "A reader must get the results at once, so the generator has to `yield` them before "
            "it waits."
        )
        raise Missing(poll.handler("/events"), text)
    if not isinstance(event, dict) or not isinstance(event.get("votes"), dict):
        text = (
            f'Each event must be `{{"votes": …}}` with the votes of each pie, and one was '
            f"`{event}`."
        )
        raise Missing(poll.handler("/events"), text)
    votes: dict[str, int] = event["votes"]
    return votes


async def check_stream(poll: Program) -> None:
    """`/events` is an event stream that starts with the results."""
    async with poll.visitor().events("/events") as events:
        events.answer.expect(200, STREAM)
        kind = events.answer.header("content-type")
        if not kind.startswith("text/event-stream"):
            events.answer.missing(f"{STREAM} The type of the answer was `{kind}`.")
        votes = votes_in(poll, await events.next())
        if votes != NONE:
            events.answer.missing(
                f"At the start the event must have `{NONE}`, and it has `{votes}`."
            )


async def check_news(poll: Program) -> None:
    """A vote is sent to all who read the stream."""
    ada, bob = poll.visitor(), poll.visitor()
    async with ada.events("/events") as one, bob.events("/events") as other:
        one.answer.expect(200, STREAM)
        for stream in (one, other):
            votes_in(poll, await stream.next())
        await expect_vote(poll, [one, other], "Cherry", {**NONE, "Cherry": 1})
        await expect_vote(poll, [one, other], "Apple", {**NONE, "Cherry": 1, "Apple": 1})


async def expect_vote(
    poll: Program, streams: list[Any], pie: str, expected: dict[str, int]
) -> None:
    """Vote, and see that each stream gets the votes."""
    answer = await poll.visitor().fill_in("/vote", pie=pie)
    answer.expect(303, "A visitor with a session votes, and is sent back to the page.")
    for stream in streams:
        event = await stream.next(5)
        if event is None:
            text = (
                "After a vote, a reader of `/events` got no event in 5 seconds. Call "
                "`self._news.tell()` after each vote, and wait for it in the generator."
            )
            answer.missing(text)
        votes = votes_in(poll, event)
        if votes != expected:
            text = (
                f"After the vote for {pie}, the event must have `{expected}`, and it has `{votes}`."
            )
            stream.answer.missing(text)


async def check_many_votes(poll: Program) -> None:
    """After many votes in a moment, the last event has all of them."""
    async with poll.visitor().events("/events") as events:
        votes_in(poll, await events.next())
        voters = [poll.visitor() for _ in range(5)]
        for voter in voters:
            await voter.fill_in("/vote", pie="Apple")
        last = None
        for _ in range(20):
            event = await events.next(5)
            if event is None:
                break
            last = votes_in(poll, event)
        else:
            events.answer.missing("After five votes there is no end of events. Each needs a vote.")
        if last != {**NONE, "Apple": 5}:
            text = (
                f"Five visitors voted for Apple, and the last event has `{last}`. Ask for "
                "`coming()` before you look at the votes."
            )
            events.answer.missing(text)


async def check_silence(poll: Program) -> None:
    """Without a vote there is no event."""
    async with poll.visitor().events("/events") as events:
        votes_in(poll, await events.next())
        if await events.next(5) is not None:
            text = "There was an event without a vote. Wait for news with `await coming.wait()`."
            events.answer.missing(text)
