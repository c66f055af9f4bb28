"""Checks of step 1: an app with one page."""

from checking import Missing, Place, Program
from checking_poll import STEP_1

# More checks, which later steps have, too.
MORE = STEP_1


async def check_other_pages(poll: Program) -> None:
    """A page that does not exist is a 404."""
    answer = await poll.visitor().get("/cake")
    answer.expect(404, "There is no page `/cake`, so it must be a 404.")


def check_requirements(poll: Program) -> None:
    """`requirements.txt` names the packages, and looks for MicroPie in the folder."""
    place = Place("requirements.txt")
    if "requirements.txt" not in poll.files:
        raise Missing(place, "This file is missing. Another machine installs the packages from it.")
    lines = [line.strip() for line in poll.text("requirements.txt").splitlines()]
    if not any(line.startswith("micropie") for line in lines):
        raise Missing(place, "It must name MicroPie, so add the line `micropie[all]>=1.0.0.dev0`.")
    if not any(line.startswith(("--find-links", "-f ")) for line in lines):
        text = "Add the line `--find-links .`, because the micropie on PyPI is another package."
        raise Missing(place, text)
