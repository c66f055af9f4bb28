"""Commands for whoever runs the blog: `python manage.py --help`."""

import argparse
import asyncio
import getpass
import sys

from sqlalchemy import select

import database
from accounts import AccountError, add_user, set_password
from database import Database
from models import User
from passwords import Passwords
from settings import Settings


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Manage the accounts of the blog.")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add-user", help="add an account; asks for its password")
    add.add_argument("name", help="to log in with")
    add.add_argument(
        "--full-name", help="what stands under the posts; without it, the name"
    )
    change = commands.add_parser(
        "set-password", help="give an account another password, and end its sessions"
    )
    change.add_argument("name")
    return parser.parse_args()


def asked_password() -> str:
    """Ask for a password, or read it from standard input where nobody can be asked."""
    return (
        getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    )


async def run(wanted: argparse.Namespace, settings: Settings) -> str:
    """Do what is wanted, and say what was done.

    Raises:
        AccountError: It cannot be done.
    """
    base = Database(settings.database)
    passwords = Passwords(settings.password_memory, settings.password_rounds)
    try:
        if wanted.command == "add-user":
            user = await add_user(
                base,
                passwords,
                wanted.name,
                wanted.full_name or wanted.name,
                asked_password(),
            )
            return f"{user.name} can log in now."
        async with base.session() as db:
            found = await db.scalar(select(User).where(User.name == wanted.name))
        if found is None:
            raise AccountError(f"There is no account {wanted.name}.")
        await set_password(base, passwords, found, asked_password())
        return f"{found.name} has a new password."
    finally:
        await base.engine.dispose()


def main() -> None:
    """Run a command."""
    wanted, settings = arguments(), Settings.from_environment()
    database.migrate(settings.database)
    try:
        print(asyncio.run(run(wanted, settings)))
    except AccountError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
