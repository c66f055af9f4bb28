"""A fake of a model's server, which repeats the question, to try the chat with."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from micropie import App, event_stream, methods


class FakeModel(App):
    """Speaks the streaming part of OpenAI's API."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = {"answering": 0, "words": 0}

    async def index(self) -> dict[str, int]:
        """Tell how many answers are under way, and how many words were sent."""
        return self._sent

    @methods("POST")
    async def v1(self, *path: str) -> Any:
        """Answer ``POST /v1/chat/completions``."""
        question = self.request.json("messages")[-1]["content"]
        if question == "fail":
            return 400, {"error": {"message": "You asked for it."}}
        return event_stream(self._repeat(question))

    async def _repeat(self, question: str) -> AsyncIterator[Any]:
        self._sent["answering"] += 1
        try:
            for word in f"You say: {question}".split():
                yield {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}
                self._sent["words"] += 1
                await asyncio.sleep(0.05)
            yield "[DONE]"
        finally:
            self._sent["answering"] -= 1


app = FakeModel()
