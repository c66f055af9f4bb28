"""A live poll about the pie that we bake on Friday."""

from micropie import App

PAGE = """\
<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The pie poll</title>
<link rel="icon" href="data:,">
<h1>Which pie shall we bake on Friday?</h1>
</html>
"""


class Poll(App):
    """Each public method answers the URL of its name."""

    async def index(self) -> str:
        """Show the question."""
        return PAGE


app = Poll()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
