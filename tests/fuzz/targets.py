"""All targets: to import this module registers them in `inputs.TARGETS`."""

from tests.fuzz import (  # noqa: F401
    binding,
    bodies,
    copied,
    floods,
    headers,
    responses,
    sessions,
    sockets,
    urls,
    whole,
)
from tests.fuzz.inputs import TARGETS, Target

__all__ = ["TARGETS", "Target"]
