"""The schema: a guest book to read, to write to, and to watch."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry import extensions
from strawberry.types import Info


@strawberry.type
class Message:
    """A message in the guest book."""

    text: str
    author: str


book: deque[Message] = deque(maxlen=1000)  # the newest first
watchers: set[asyncio.Queue[Message]] = set()


@strawberry.type
class Query:
    """Reads; the resolvers can be `async def` as well, and await a database."""

    @strawberry.field
    def me(self, info: Info) -> str | None:
        """Return the visitor's name, which app.py hands over from the session."""
        return info.context["user_id"]

    @strawberry.field
    def messages(self, first: int = 10) -> list[Message]:
        """Return the newest messages."""
        return list(islice(book, min(max(first, 0), 50)))


@strawberry.type
class Mutation:
    """Writes."""

    @strawberry.mutation
    def write(self, info: Info, text: str) -> Message:
        """Add a message of the visitor."""
        name = info.context["user_id"]
        if name is None:
            raise GraphQLError("Please log in first.")
        if not 1 <= len(text.strip()) <= 500:
            raise GraphQLError("A message has 1 to 500 characters.")
        message = Message(text=text.strip(), author=name)
        book.appendleft(message)
        for queue in watchers:
            if not queue.full():  # a client that does not keep up misses some
                queue.put_nowait(message)
        return message


@strawberry.type
class Subscription:
    """Goes on over a WebSocket."""

    @strawberry.subscription
    async def written(self) -> AsyncIterator[Message]:
        """Send each new message."""
        queue: asyncio.Queue[Message] = asyncio.Queue(100)
        watchers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            watchers.discard(queue)


def is_internal(error: GraphQLError) -> bool:
    """Whether an error is a bug, whose text no client should see."""
    return not isinstance(error.original_error, GraphQLError | None)


class Schema(strawberry.Schema):
    """Logs bugs, and not the mistakes of clients."""

    def process_errors(self, errors: Any, execution_context: Any = None) -> None:
        """Leave out the errors that clients get to see."""
        super().process_errors(list(filter(is_internal, errors)), execution_context)


schema = Schema(
    Query,
    Mutation,
    Subscription,
    extensions=[
        lambda: extensions.QueryDepthLimiter(max_depth=4),
        lambda: extensions.MaxAliasesLimiter(max_alias_count=10),
        lambda: extensions.MaxTokensLimiter(max_token_count=500),
        lambda: extensions.MaskErrors(is_internal),
    ],
)
