"""A chat with a language model: answers that stream, a stop button, a history."""

import logging
import os
import secrets
from asyncio import to_thread
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, methods
from openai import AsyncOpenAI, OpenAIError

from history import History

# The package openai reads OPENAI_API_KEY and OPENAI_BASE_URL itself.
KEY = os.environ.get("OPENAI_API_KEY", "")
MODEL = os.environ.get("MODEL", "gpt-5-mini")
DATABASE = os.environ.get("DATABASE", Path(__file__).parent / "data" / "chat.sqlite3")
LONGEST = 4000  # characters of a question
NO_KEY = "No model is set up. Set OPENAI_API_KEY, and start the app again."
# The second one keeps nginx from collecting the answer before it sends it.
HEADERS = {"content-type": "text/plain; charset=utf-8", "x-accel-buffering": "no"}


class Chat(App):
    """Each browser has its own chat; the history of all is in SQLite."""

    def __init__(self, client: AsyncOpenAI | None, history: History) -> None:
        super().__init__()
        self.env.globals["url"] = self._url
        self._client = client
        self._history = history

    async def index(self) -> str:
        """Show the chat of this browser; this stores nothing."""
        chat = self.request.session.get("chat", "")
        messages = await to_thread(self._history.messages, chat)
        problem = "" if self._client else NO_KEY
        return await self._render_template(
            "chat.html", messages=messages, problem=problem
        )

    @methods("POST")
    async def ask(self) -> Any:
        """Stream the model's answer."""
        if self._client is None:
            raise HTTPError(503, NO_KEY)
        question = self.request.form("question", "").strip()
        if not 0 < len(question) <= LONGEST:
            raise HTTPError(422, f"A question has 1 to {LONGEST} characters.")
        # Here, since MicroPie doesn't save what a stream changes in the session.
        chat = self.request.session.setdefault("chat", secrets.token_urlsafe())
        messages: list[Any] = await to_thread(self._history.messages, chat)
        messages.append({"role": "user", "content": question})
        return 200, self._answer(self._client, chat, messages), HEADERS

    @methods("POST")
    async def new(self) -> Any:
        """Forget the chat of this browser."""
        await to_thread(self._history.delete, self.request.session.pop("chat", ""))
        return self._redirect(self._url(), 303)

    async def _answer(
        self, client: AsyncOpenAI, chat: str, messages: list[Any]
    ) -> AsyncIterator[str]:
        """Yield the pieces of an answer; keep them, even if it is stopped halfway."""
        pieces: list[str] = []
        stream: Any = None
        try:
            stream = await client.chat.completions.create(
                model=MODEL, messages=messages, stream=True
            )
            async for chunk in stream:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    pieces.append(text)
                    yield text
        except OpenAIError as error:
            # The visitor isn't shown the details: they can name your key or account.
            logging.getLogger(__name__).warning("The model's server: %s", error)
            status = getattr(error, "status_code", "no answer")
            yield f"\nThe model's server failed ({status}). Please try again."
        finally:
            # MicroPie cancels this generator if the browser stops it or leaves. When
            # the stream is closed, the model writes no more tokens that you pay for.
            if stream is not None:
                await stream.close()
            if pieces:
                answer = {"role": "assistant", "content": "".join(pieces)}
                await to_thread(self._history.add, chat, messages[-1], answer)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Chat(AsyncOpenAI(timeout=60) if KEY else None, History(Path(DATABASE)))

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
