"""Checks of step 4: sessions, and one vote for each visitor."""

from checking import Program
from checking_poll import STEP_4, expect_votes

# More checks: what the steps up to this one have added still works.
MORE = STEP_4


async def check_vote(poll: Program) -> None:
    """A visitor who has loaded the page can vote."""
    answer = await poll.visitor().fill_in("/vote", pie="Cherry")
    answer.expect(303, "A visitor with a session votes, and is sent back to the page.")
    await expect_votes(poll, "After a visitor's vote for Cherry,", answer, Cherry=1)
