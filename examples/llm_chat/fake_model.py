"""A fake of a model's server, which tells what it got, to try the chat with."""

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
        messages = self.request.json("messages")
        question = messages[-1]["content"]
        if question == "fail":
            return 400, {"error": {"message": "You asked for it."}}
        told = [one["content"] for one in messages if one["role"] == "system"]
        name = " ".join([self.request.json("model"), *told])
        return event_stream(self._stream(f"({name}) You say: {question}"))

    async def _stream(self, answer: str) -> AsyncIterator[Any]:
        self._sent["answering"] += 1
        try:
            for word in answer.split():
                yield {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}
                self._sent["words"] += 1
                await asyncio.sleep(0.05)
            yield "[DONE]"
        finally:
            self._sent["answering"] -= 1


app = FakeModel()
