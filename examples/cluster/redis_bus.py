"""The bus of several processes, on one or more machines, through Redis."""

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable
from typing import Any

from micropie import HTTPError, current_request
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bus import (
    ANSWERS_WITHIN,
    KEPT,
    Entry,
    Event,
    Id,
    MemoryBus,
    Room,
    make_entry,
    order_of,
)
from redis_sessions import RedisSessionBackend

PAGE = 200  # entries that are read at once
BEAT = 1.0  # seconds between two looks at who is present
GONE_AFTER = 5  # seconds without a beat
REMEMBERED = 600  # seconds in which a message that is sent again is known
WITHOUT_SESSION = {"about", "health"}  # handlers that need no Redis
LOST = (exceptions.ConnectionError, exceptions.TimeoutError, TimeoutError)

_log = logging.getLogger("chat")

# A message that is sent again, because its acknowledgment was lost, has the same key.
_ADD = """
local id = redis.call('GET', KEYS[2])
if not id then
    id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
        'name', ARGV[3], 'text', ARGV[4])
    redis.call('SET', KEYS[2], id, 'EX', ARGV[2])
end
return id
"""
# Members of a process that was killed are gone after a few seconds.
_BEAT = """
local now = tonumber(redis.call('TIME')[1])
for at = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[at]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
_WAIT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local interval, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local free_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
local wait = free_at - seconds - now
if wait > 0.000001 then return tostring(wait) end
local expires = math.ceil((free_at - now) * 1000)
redis.call('SET', KEYS[1], string.format('%.6f', free_at), 'PX', expires)
return '0'
"""


def make_client(url: str, timeout: float) -> Any:
    """Return a client that tries again if a connection turns out to be closed."""
    return Redis.from_url(
        url,
        decode_responses=True,
        max_connections=1000,
        socket_timeout=timeout,
        socket_connect_timeout=ANSWERS_WITHIN,
        retry=Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
    )


class Link:
    """Whether Redis answers: around a command, it makes a 503 of a lost connection.

    It logs one line when Redis goes down, and one when it is back.
    """

    is_up: bool | None = None  # None: not tried yet

    def __enter__(self) -> None:
        if self.is_up is False:
            raise _unavailable()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # The queue raises its own exception from that of Redis.
        for found in (error, error and error.__cause__):
            if isinstance(found, LOST):
                self.lost(found)
                raise _unavailable()

    def lost(self, error: BaseException) -> None:
        """Note that Redis does not answer."""
        if self.is_up is not False:
            _log.error("Redis is down: %s", error)
        self.is_up = False

    def found(self) -> None:
        """Note that Redis answers."""
        if self.is_up is False:
            _log.warning("Redis is back")
        self.is_up = True


def _unavailable() -> HTTPError:
    text = "The chat's memory is out of order. Please try again in a few seconds.\n"
    return HTTPError(503, text, {"retry-after": "5"})


class Sessions(RedisSessionBackend):
    """Sessions that pages without one don't wait for."""

    def __init__(self, client: Redis, link: Link) -> None:
        super().__init__(client)
        self._link = link

    async def load(self, session_id: str) -> dict[str, Any]:
        """Return the data of a session; raise HTTPError if Redis is down."""
        if current_request.get().route_handler in WITHOUT_SESSION:
            return {}
        with self._link:
            return await super().load(session_id)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let the session expire later, if Redis is not down."""
        with contextlib.suppress(HTTPError), self._link:
            await super().touch(session_id, timeout)

    async def update(
        self, session_id: str, change: Callable[[Any], Any], timeout: float
    ) -> None:
        """Change a session; raise HTTPError if Redis is down."""
        with self._link:
            await super().update(session_id, change, timeout)


class RedisBus(MemoryBus):
    """Keeps everything in Redis. One task reads the news, for all readers here."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.link = Link()
        self._redis = make_client(url, ANSWERS_WITHIN)
        self._reader = make_client(url, BEAT + ANSWERS_WITHIN)
        self.sessions = Sessions(self._redis, self.link)
        self._process = secrets.token_hex(4)
        self._tried = asyncio.Event()
        self._next_beat = 0.0
        scripts = (self._redis.register_script(one) for one in (_ADD, _BEAT, _WAIT))
        self._add, self._beat, self._wait = scripts

    async def open(self) -> None:
        """Follow the rooms; return when Redis was tried once."""
        self._following = asyncio.create_task(self._follow())
        await self._tried.wait()

    async def close(self) -> None:
        """Disconnect."""
        self.stop()  # `wait_for`, which the client uses, may swallow a cancellation
        self._following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._following
        await self._reader.aclose()
        await self._redis.aclose()

    async def _follow(self) -> None:
        while not self.is_stopping:
            try:
                # After a break, readers get from Redis what this process has missed.
                for room in self.rooms.values():
                    newest = await self._from_the_end(room, 1)
                    room.entries.clear()
                    room.add(newest)
                self.link.found()
                self._tried.set()
                while not self.is_stopping:
                    await self._read_news()
                    self.link.found()
            except exceptions.RedisError as error:
                self.link.lost(error)
                self._tried.set()
                await asyncio.sleep(BEAT / 2)

    async def _read_news(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + BEAT
            for room in self.rooms.values():
                await self.beat(room)
        last = {
            _key(name): room.entries[-1].event["id"]
            for name, room in self.rooms.items()
        }
        wait = math.ceil(BEAT * 1000)  # milliseconds
        for key, found in await self._reader.xread(last, PAGE, wait) or []:
            self.rooms[key.partition(":")[2]].add(*(make_entry(*one) for one in found))

    async def _from_the_end(self, room: Room, count: int) -> Entry:
        """Return the entry at that place from the end, or the first one."""
        found = await self._redis.xrevrange(_key(room.name), count=count)
        if not found:
            found = [(await self._redis.xadd(_key(room.name), {"begin": "1"}), {})]
        return make_entry(*found[-1])

    async def place(self, room: Room, count: int) -> str:
        """Return the id after which the last `count` entries follow."""
        with self.link:
            return str((await self._from_the_end(room, count + 1)).event["id"])

    async def older(self, room: Room, last: Id) -> list[Entry] | None:
        """Return the next entries that this process has not; None after a gap."""
        key = _key(room.name)
        with self.link:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xrange(key, f"({last[0]}-{last[1]}", count=PAGE)
                pipe.xrange(key, count=1).xrevrange(key, count=1)
                found, *ends = await pipe.execute()
        # Older than the oldest: something may be lost. Newer than the newest: all is.
        ids = [order_of(entry_id) for end in ends for entry_id, _ in end]
        if not ids or not ids[0] <= last <= ids[1]:
            return None
        return [make_entry(*one) for one in found]

    async def add(self, name: str, author: str, key: str, text: str) -> str:
        """Store a message once for each key, and return its id."""
        keys, arguments = [_key(name), f"sent:{author}:{key}"], [KEPT, REMEMBERED]
        with self.link:
            return str(await self._add(keys, [*arguments, author, text]))

    async def history(self, name: str) -> list[Event]:
        """Return all messages of a room; for workers, which do not follow the link."""
        found = await self._redis.xrange(_key(name))
        return [make_entry(*one).event for one in found if "text" in one[1]]

    async def leave(self, room: Room, name: str) -> None:
        """Note the end of a connection."""
        with contextlib.suppress(HTTPError), self.link:
            # If there is another one, the beat puts it back.
            await self._redis.zrem(_present(room), f"{self._process} {name}")
        await super().leave(room, name)

    async def beat(self, room: Room) -> None:
        """Say who is here, and ask who is in the other processes, if Redis is up."""
        here = [f"{self._process} {name}" for name in room.here]
        with contextlib.suppress(HTTPError), self.link:
            found = await self._beat([_present(room)], [GONE_AFTER, *here])
            room.show(sorted({member.partition(" ")[2] for member in found}))

    async def add_user(self, name: str, password: str) -> bool:
        """Keep the hash of a new user's password; say whether the name was free."""
        with self.link:
            return bool(await self._redis.hsetnx("users", name, password))

    async def password_of(self, name: str) -> str | None:
        """Return the hash of a user's password, if there is one."""
        with self.link:
            found: str | None = await self._redis.hget("users", name)
            return found

    async def wait(self, key: str, limit: int, seconds: float) -> float:
        """Return 0 if a client may go on, or the seconds until it may."""
        with self.link:
            return float(await self._wait([f"rate:{key}"], [seconds / limit, seconds]))


def _key(name: str) -> str:
    return f"room:{name}"


def _present(room: Room) -> str:
    return f"present:{room.name}"
