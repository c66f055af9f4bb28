"""Commands for the operator of the blog: `python manage.py --help`."""

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


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Manage the accounts of the blog.")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add-user", help="add an account; asks for its password")
    add.add_argument("name", help="the name of the login")
    add.add_argument(
        "--full-name", help="the name under the posts, by default that of the login"
    )
    change = commands.add_parser(
        "set-password", help="give an account another password, and end its sessions"
    )
    change.add_argument("name")
    return parser.parse_args()


def asked_password() -> str:
    """Ask at a terminal for a password, or read it from another standard input."""
    return (
        getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    )


async def run(arguments: argparse.Namespace, settings: Settings) -> str:
    """Run a command, and return a sentence about it.

    Raises:
        AccountError: It failed.
    """
    base = Database(settings.database)
    passwords = Passwords(settings.password_memory, settings.password_rounds)
    try:
        if arguments.command == "add-user":
            user = await add_user(
                base,
                passwords,
                arguments.name,
                arguments.full_name or arguments.name,
                asked_password(),
            )
            return f"{user.name} can log in now."
        async with base.session() as db:
            found = await db.scalar(select(User).where(User.name == arguments.name))
        if found is None:
            raise AccountError(f"There is no account {arguments.name}.")
        await set_password(base, passwords, found, asked_password())
        return f"{found.name} has a new password."
    finally:
        await base.engine.dispose()


def main() -> None:
    """Run a command."""
    arguments, settings = parse_arguments(), Settings.from_environment()
    database.migrate(settings.database)
    try:
        print(asyncio.run(run(arguments, settings)))
    except AccountError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
