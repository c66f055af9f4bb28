"""The environment variables, all read here."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILE = HERE / "data" / "app.sqlite3"
DATABASE_URL = os.environ.get("DATABASE_URL", f"sqlite+aiosqlite:///{FILE}")
# The URL of a Redis. Without it, the sessions are in the database.
SESSION_STORE = os.environ.get("SESSION_STORE", "")
# For links in mails: a request's Host header might be an attacker's.
PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000")
TRIES = int(os.environ.get("LOGIN_TRIES", "20"))  # in 15 minutes, of one client
# Without a host, mails are written to the log.
SMTP_HOST = os.environ.get("SMTP_HOST", "")
SMTP_PORT = int(os.environ.get("SMTP_PORT", "587"))
SMTP_USER = os.environ.get("SMTP_USER", "")
SMTP_PASSWORD = os.environ.get("SMTP_PASSWORD", "")
MAIL_FROM = os.environ.get("MAIL_FROM", "accounts@localhost")
