"""A receiver of webhooks: checks an event's signature, keeps it, and works on it."""

import asyncio
import base64
import hmac
import json
import logging
import os
import secrets
import time
from asyncio import to_thread
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, methods

from events import LEASE, Events

DATABASE = Path(os.environ.get("DATABASE", Path(__file__).parent / "data" / "hooks.db"))
SECRET = os.environ.get("WEBHOOK_SECRET", "")
TOLERANCE = 300  # seconds that an event's time can differ from the clock here

log = logging.getLogger(__name__)


async def work(event: dict[str, Any]) -> None:
    """Do what an event asks for. If this raises, it is tried again later.

    It can also run twice for one event, if the process ends in the middle.
    """
    if event.get("type") == "example.failing":
        raise ValueError("This type always fails.")
    log.info("Here you would work on %s.", event)


class Receiver(App):
    """One URL for events, one that lists them, and a worker in the background."""

    def __init__(self, path: Path, secret: str) -> None:
        super().__init__(max_body_size=2**18)
        self._events = Events(path)
        self._key = (secret or kept_secret(path.parent / "secret")).encode()
        if secret.startswith("whsec_"):  # as Standard Webhooks writes keys
            self._key = base64.b64decode(secret.removeprefix("whsec_"))
        if len(self._key) < 16:
            raise ValueError("WEBHOOK_SECRET needs at least 16 bytes")
        self._stopping = False
        self.startup_handlers.append(self._start)
        self.shutdown_handlers.append(self._stop)

    def index(self) -> dict[str, Any]:
        """Show the last events, without what is in them."""
        return {"events": self._events.last()}

    @methods("POST")
    async def receive(self) -> Any:
        """Keep an event and answer at once, since a sender that waits sends again."""
        kind = self.request.headers.get("content-type", "").partition(";")[0].lower()
        if kind != "application/json":
            raise HTTPError(415, {"error": "Not JSON"})
        # The bytes that were signed, not JSON that was parsed and written anew.
        body = await self.request.body()
        event_id = self._verified_id(body)
        try:
            text = body.decode()
            event_type = str(json.loads(text)["type"])
        except (ValueError, TypeError, KeyError):
            raise HTTPError(400, {"error": "No JSON object with a type"}) from None
        if await to_thread(self._events.add, event_id, event_type, text):
            return 202, {"status": "accepted"}
        return 200, {"status": "known already"}

    def _verified_id(self, body: bytes) -> str:
        headers = self.request.headers
        event_id = headers.get("webhook-id", "")
        sent = headers.get("webhook-timestamp", "")
        digest = hmac.digest(self._key, f"{event_id}.{sent}.".encode() + body, "sha256")
        wanted = b"v1," + base64.b64encode(digest)
        # A sender that is changing its key signs with the old one and the new one.
        given = headers.get("webhook-signature", "").encode().split(b" ")
        if not any(hmac.compare_digest(wanted, one) for one in given):
            raise HTTPError(401, {"error": "Wrong signature"})
        if not sent.isdecimal() or abs(time.time() - int(sent)) > TOLERANCE:
            raise HTTPError(401, {"error": "Too old"})
        return event_id

    async def _start(self) -> None:
        self._worker = asyncio.create_task(self._run())

    async def _stop(self) -> None:
        """Wait for the event that is worked on, within limits."""
        self._stopping = True
        await asyncio.wait([self._worker], timeout=10)
        self._worker.cancel()

    async def _run(self) -> None:
        while not self._stopping:
            try:
                taken = await to_thread(self._events.take)
                for event_id, body, tries in taken:
                    error = await _error_of_work(event_id, body)
                    await to_thread(self._events.finish, event_id, tries, error)
                if not taken:
                    await asyncio.sleep(0.2)
            except Exception:
                log.exception("The queue failed. It goes on in a moment.")
                await asyncio.sleep(1)


async def _error_of_work(event_id: str, body: str) -> str:
    try:
        async with asyncio.timeout(LEASE / 2):
            await work(json.loads(body))
    # The others would end the server, or this worker.
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        log.exception("Event %s failed.", event_id)
        return repr(error)
    return ""


def kept_secret(path: Path) -> str:
    """Return the secret in a file, which the first start makes."""
    if not path.exists():
        own = path.with_name(secrets.token_hex(8))
        own.touch(0o600)
        own.write_text(secrets.token_hex(32))
        # A link replaces no file. So processes that start together share one secret.
        try:
            path.hardlink_to(own)
        except (OSError, NotImplementedError):  # it is there, or there are no links
            if not path.exists():
                own.replace(path)
        own.unlink(missing_ok=True)
    secret = path.read_text().strip()
    if len(secret) < 32:
        raise ValueError(f"{path} needs 32 characters. A start without it makes some.")
    return secret


app = Receiver(DATABASE, SECRET)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
