"""The names of links: chosen by people, or drawn by lot."""

import re
import secrets

# Nothing that looks like something else: no 0 and o, no 1, i and l.
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
# 31 ** 8 are 850 thousand million. So one that is taken already is drawn rarely, and a
# visitor finds none by trying.
LENGTH = 8
ALIAS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Beside the names of the app's own pages: what others would take for one.
RESERVED = """
    about account admin app assets blog contact css docs health help home imprint info
    js legal login logout manifest me new privacy register root security settings
    sign-in sign-out sign-up signin signout signup status support system
    terms test user users webmail well-known www
"""


class AliasError(ValueError):
    """This cannot be the name of a link; the text says why."""


def drawn() -> str:
    """Return a random name."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def checked(alias: str, taken: frozenset[str]) -> str:
    """Return a chosen name as it is kept.

    Args:
        alias: What somebody would like.
        taken: The names of the app's own pages.

    Raises:
        AliasError: It cannot be had.
    """
    # Two links must not differ in capitals alone, since people type them as they like.
    alias = alias.strip().lower()
    if not 3 <= len(alias) <= 40 or not ALIAS.fullmatch(alias):
        raise AliasError(
            "A name has 3 to 40 letters a to z, digits, and hyphens between them."
        )
    if alias in RESERVED.split() or alias in taken:
        raise AliasError(f"“{alias}” is reserved.")
    return alias
