"""Notes that AI agents can read and write: an MCP server in an app."""

import logging
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.server.transport_security import TransportSecuritySettings
from micropie import App
from pydantic import Field

from lifespan import Lifespan

DATABASE = Path(os.environ.get("DATABASE", Path(__file__).parent / "data" / "notes.db"))
# Agents read this limit, and the docstrings of tools and resources.
Text = Annotated[str, Field(min_length=1, max_length=1000)]
TOKEN_FILE = DATABASE.with_name("token")  # made at the first start


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


def query(sql: str, *values: Any) -> list[Any]:
    """Run SQL; each call can run in any thread."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
        return database.execute(sql, values).fetchall()


DATABASE.parent.mkdir(parents=True, exist_ok=True)
query("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)")

logging.basicConfig()  # or MCPServer would set up all logging in its own way
server = MCPServer("Notes")


@server.tool()
def add_note(text: Text) -> str:
    """Keep a note for later, and return its URI."""
    [[note_id]] = query("INSERT INTO notes (text) VALUES (?) RETURNING id", text)
    return f"notes://{note_id}"


@server.tool()
def find_notes(words: str) -> list[str]:
    """Find the notes that contain words, the newest 20 first."""
    sql = "SELECT text FROM notes WHERE instr(lower(text), lower(?)) ORDER BY id DESC"
    return [text for [text] in query(f"{sql} LIMIT 20", words)]


@server.resource("notes://{note_id}")
def note(note_id: int) -> str:
    """One note."""
    for [text] in query("SELECT text FROM notes WHERE id = ?", note_id):
        return str(text)
    raise ResourceNotFoundError(f"There is no note {note_id}.")


class TokenRequired:
    """Stands in front of an ASGI app, and refuses requests without the token."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._right = f"Bearer {kept_secret(TOKEN_FILE)}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand the request over, or refuse it."""
        given = dict(scope["headers"]).get(b"authorization", b"")
        if secrets.compare_digest(given, self._right):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
            start = {"type": "http.response.start", "status": 401, "headers": headers}
            await send(start)
            await send({"type": "http.response.body"})


class Root(App):
    """The notes as JSON for all, and the MCP server for those with the token."""

    def __init__(self) -> None:
        super().__init__()
        # That protection is for servers without a token. Other sites' pages have none.
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        settings = {"streamable_http_path": "/", "transport_security": security}
        mcp = Lifespan(server.streamable_http_app(**settings))
        self.mounts["/mcp"] = TokenRequired(mcp)
        self.startup_handlers.append(mcp.start)
        self.shutdown_handlers.append(mcp.stop)

    def index(self) -> dict[str, Any]:
        """Return the last notes."""
        rows = query("SELECT id, text FROM notes ORDER BY id DESC LIMIT 20")
        return {"notes": [{"id": note_id, "text": text} for note_id, text in rows]}


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
