"""Several clients with one app: what each of them sees is its own."""

from __future__ import annotations

from typing import Any

from micropie import App, InMemorySessionBackend
from tests.asgi import Browser, run
from tests.clock import ManualClock
from tests.fuzz.inputs import Input, logged, target


class Accounts(App):
    """A login, a logout, and pages that read and write the session."""

    async def login(self, name: str) -> None:
        self.request.regenerate_session()
        self.request.session["user"] = name

    async def logout(self) -> None:
        self.request.session.clear()

    async def note(self, text: str) -> None:
        self.request.session["note"] = text

    async def look(self) -> Any:
        session = self.request.session
        return [session.get("user"), session.get("note")]


class _Client(Browser):
    """A browser, and what its session must hold."""

    def __init__(self, app: App, name: str) -> None:
        super().__init__(app)
        self.name = name
        self.expected: list[Any] = [None, None]
        self.used = -1e9

    @property
    def session_id(self) -> str:
        return str(self.jar.get(("session_id", "/"), ""))


@target(b"\x00\x00", b"\x01\x00", b"\x02\x00", b"\x00\x01", b"\x01\x01", b"\x02\x01", b"\x04\x02")
def clients(data: bytes) -> None:
    """No client sees what another one has put into its session, whatever the order of requests."""
    given, clock = Input(data), ManualClock()
    app = Accounts(InMemorySessionBackend(clock=clock), session_timeout=100)
    people = [_Client(app, name) for name in ("ada", "bob", "eve")]

    async def act() -> None:
        for _ in range(40):
            if given.is_empty:
                break
            await _step(given, clock, people)
            for one in people:
                await _check(one, clock)

    with logged() as records:
        run(act())
    assert not [one for one in records if one.levelname == "ERROR"], records


async def _step(given: Input, clock: ManualClock, people: list[_Client]) -> None:
    step, who = given.number(7), given.pick(people)
    if step == 0:
        await who.get(f"/login/{who.name}")
        had_note = who.expected[1] if clock.now - who.used < 100 else None
        who.expected, who.used = [who.name, had_note], clock.now
    elif step == 1:
        await who.get("/logout")
        who.expected = [None, None]
    elif step == 2:
        text = f"{who.name}'s"
        await who.get(f"/note/{text}")
        who.expected = [who.expected[0] if clock.now - who.used < 100 else None, text]
        who.used = clock.now
    elif step == 3:
        clock.advance(given.pick([1.0, 60.0, 101.0]))
    elif step == 4:  # an attacker plants an id of its own before a login
        planted = given.pick(["x" * 43, "../", people[2].session_id])
        if who is not people[2] and planted:
            await who.get(f"/login/{who.name}")
            old = who.session_id
            who.jar[("session_id", "/")] = planted
            await who.get(f"/login/{who.name}")
            assert who.session_id not in (planted, old)
            # The attacker's own session was renewed, and its old id is gone.
            if planted == people[2].session_id:
                who.expected = [who.name, await _note_of(who)]
                people[2].jar.clear()
                people[2].expected = [None, None]
            else:
                who.expected = [who.name, None]
            who.used = clock.now
    elif step == 5:  # another origin's page
        evil = {"origin": "https://evil.example"}
        response = await who.post(f"/login/{given.pick(people).name}", headers=evil)
        assert response.cookies == {}
    else:  # a cookie of any bytes is no session
        stray = given.some(60)
        response = await Browser(who.app).get("/look", headers=[(b"cookie", stray)])
        assert response.json() == [None, None] or any(
            one.session_id and one.session_id in stray.decode("latin-1") for one in people
        )


async def _note_of(who: _Client) -> Any:
    return (await who.get("/look")).json()[1]


async def _check(one: _Client, clock: ManualClock) -> None:
    if clock.now - one.used >= 100:
        one.expected = [None, None]
    seen = (await one.get("/look")).json()
    assert seen == one.expected, (one.name, seen, one.expected)
    if any(seen):
        one.used = clock.now
