"""The CPU time of an import over a bare interpreter.

``python -m benchmarks.imports`` measures MicroPie alone.

The interpreters take turns, so that a machine that slows down meets all of them alike. With
``--check`` it exits 1 if MicroPie's import takes too long. It goes by the best rounds, because
other work on the machine can only add to them. Five sixths of the cost are asyncio, which every
ASGI server imports: if that takes longer than on the machine that the aim was set on, so may the
whole.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys

from benchmarks.peers import Peer, environment

ROUNDS = 21
AIM = 0.045  # seconds
ASYNCIO = 0.037  # of them


def _cpu_seconds(code: str) -> float:
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", code], environment())
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{code!r} failed")
    return usage.ru_utime + usage.ru_stime


def take_turns(codes: list[str], rounds: int) -> list[list[float]]:
    """Return the CPU seconds that new interpreters take for each line of code, by round."""
    for code in codes:
        _cpu_seconds(code)  # leaves the byte code behind
    every_round = [[_cpu_seconds(code) for code in codes] for _ in range(rounds)]
    return [list(samples) for samples in zip(*every_round, strict=True)]


def measure_imports(names: list[str], rounds: int) -> dict[str, float]:
    """Return the median cost in seconds of what a hello-world app of each framework imports."""
    codes = ["pass"]
    for name in names:
        with Peer(name) as peer:
            codes.append(peer.info["imports"])
    bare, *medians = map(statistics.median, take_turns(codes, rounds))
    return {name: median - bare for name, median in zip(names, medians, strict=True)}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.imports", description="Measure MicroPie's import."
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if it takes too long")
    options = parser.parse_args()
    bare, asyncio, ours = take_turns(["pass", "import asyncio", "import micropie"], ROUNDS)
    best, best_asyncio = min(ours) - min(bare), min(asyncio) - min(bare)
    limit = AIM * max(1, best_asyncio / ASYNCIO)
    print(
        f"import micropie, over a bare interpreter: {best * 1000:.1f} ms "
        f"(at most {limit * 1000:.1f} ms)"
    )
    print(
        f"median of {ROUNDS} rounds: "
        f"{(statistics.median(ours) - statistics.median(bare)) * 1000:.1f} ms"
    )
    print(f"asyncio alone: {best_asyncio * 1000:.1f} ms")
    return 1 if options.check and best > limit else 0


if __name__ == "__main__":
    sys.exit(main())
