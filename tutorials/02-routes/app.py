"""A live poll about the pie that we bake on Friday."""

from enum import StrEnum

from micropie import App, methods

PAGE = """\
<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The pie poll</title>
<link rel="icon" href="data:,">
<h1>Which pie shall we bake on Friday?</h1>
<ul>{items}</ul>
<p><a href="results">The results as JSON</a></p>
</html>
"""


class Pie(StrEnum):
    """The pies to choose from."""

    APPLE = "Apple"
    CHERRY = "Cherry"
    PUMPKIN = "Pumpkin"
    RHUBARB = "Rhubarb"


votes = dict.fromkeys(Pie, 0)


class Poll(App):
    """Each public method answers the URL of its name."""

    async def index(self) -> str:
        """Show the question."""
        return PAGE.format(
            items="".join(f"<li>{pie}: {votes[pie]}</li>" for pie in Pie)
        )

    @methods("GET")
    async def results(self, at_least: int = 0) -> dict[str, int]:
        """Answer ``/results`` and ``/results?at_least=2``."""
        return {pie: votes[pie] for pie in Pie if votes[pie] >= at_least}

    @methods("POST")
    async def vote(self, pie: Pie) -> dict[str, int]:
        """Answer ``/vote/Apple``."""
        votes[pie] += 1
        return await self.results()


app = Poll()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
