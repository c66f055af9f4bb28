"""A mail server in a thread of the tests, which keeps what it gets.

It has TLS (STARTTLS) and takes one name and password.
"""

import base64
import contextlib
import email
import re
import socketserver
import ssl
import tempfile
import threading
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from tests.processes import certificate

USER, PASSWORD = "mailer", "pass word"
#: Each mail that came, with whether it came by TLS and after the login.
MAILS: list[tuple[Message, bool]] = []


class _Session(socketserver.StreamRequestHandler):
    safe = False

    def handle(self) -> None:
        self.say("220 ready")
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            getattr(self, f"do_{verb.lower()}", self.say)(rest or "250 OK")
            if verb.lower() == "quit":
                return

    def finish(self) -> None:
        super().finish()
        self.request.close()  # by TLS, it is not the one that the server closes

    def say(self, text: str) -> None:
        self.wfile.write((text if text[:3].isdigit() else "250 OK").encode() + b"\r\n")

    def do_ehlo(self, _: str) -> None:
        self.wfile.write(b"250-localhost\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")

    def do_starttls(self, _: str) -> None:
        self.say("220 go on")
        context: ssl.SSLContext = self.server.context  # type: ignore[attr-defined]
        self.request = context.wrap_socket(self.request, server_side=True)
        self.setup()

    def do_auth(self, rest: str) -> None:
        given = base64.b64decode(rest.removeprefix("PLAIN ")).decode()
        self.safe = isinstance(self.request, ssl.SSLSocket) and given == f"\0{USER}\0{PASSWORD}"
        self.say("235 welcome" if self.safe else "535 no")

    def do_data(self, _: str) -> None:
        self.say("354 go on")
        lines = iter(self.rfile.readline, b".\r\n")
        MAILS.append((email.message_from_bytes(b"".join(lines)), self.safe))
        self.say("250 OK")

    def do_quit(self, _: str) -> None:
        self.say("221 bye")


@contextlib.contextmanager
def mail_server() -> Iterator[dict[str, str]]:
    """Serve; the variables lead an example to it."""
    with tempfile.TemporaryDirectory() as folder:
        chain, key = certificate(Path(folder), "localhost")
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session) as server:
            server.daemon_threads = True
            server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # type: ignore[attr-defined]
            server.context.load_cert_chain(chain, key)  # type: ignore[attr-defined]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield {
                "SMTP_HOST": "localhost",
                "SMTP_PORT": str(server.server_address[1]),
                "SMTP_USER": USER,
                "SMTP_PASSWORD": PASSWORD,
                "SSL_CERT_FILE": str(chain),
            }
            server.shutdown()


def mails_to(address: str) -> list[Message]:
    """Return the mails that came for an address."""
    return [mail for mail, _ in MAILS if mail["To"] == address]


def token_for(address: str) -> str:
    """Return the token of the link in the newest mail for an address."""
    text = mails_to(address)[-1].get_payload(decode=True)
    assert isinstance(text, bytes)
    return re.findall(r"/reset/(\S+)", text.decode())[0]
