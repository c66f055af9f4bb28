"""Measure what ``import micropie`` costs over a bare interpreter, and what it loads.

    python benchmarks/import_cost.py             the numbers
    python benchmarks/import_cost.py --check     exit 1 when the import is too slow or loads too much

Bare and importing interpreters take turns, so that a machine that slows down meets both alike.
Counted is CPU time, of which an import does nothing else, and the check goes by the best rounds:
whatever else the machine does can only add to them. Five sixths of it are asyncio, which every ASGI
server imports: where that takes longer than on the machine that the aim is for, so may the whole.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 21
AIM = 0.045  # seconds
ASYNCIO = 0.037  # of them
NOT_YET_NEEDED = ("jinja2", "multipart")


def make_environment(byte_code: str) -> dict[str, str]:
    """Return an environment in which byte code is kept in a folder, as an installed package has it."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": byte_code,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONHASHSEED": "0",
    }


def seconds(code: str, environment: dict[str, str]) -> float:
    """Return the CPU time that a new interpreter takes for a line of code."""
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", code], environment)
    _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise SystemExit(f"{code!r} failed")
    return usage.ru_utime + usage.ru_stime


def import_seconds(environment: dict[str, str]) -> tuple[float, float, float]:
    """Return what the import adds to a bare interpreter, at best and in the median; and asyncio's alone, at best."""
    seconds("import micropie", environment)  # writes the byte code
    rounds: dict[str, list[float]] = {"pass": [], "import asyncio": [], "import micropie": []}
    for _ in range(ROUNDS):
        for code, found in rounds.items():
            found.append(seconds(code, environment))
    bare, asyncio, importing = rounds.values()
    median = statistics.median(importing) - statistics.median(bare)
    return min(importing) - min(bare), median, min(asyncio) - min(bare)


def loaded_too_early(environment: dict[str, str]) -> list[str]:
    """Return the optional packages that the import loads though nothing has asked for them."""
    code = f"import sys, micropie; print(*(name for name in {NOT_YET_NEEDED!r} if name in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, timeout=60, capture_output=True, text=True
    )
    return run.stdout.split()


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the import.")
    parser.add_argument("--check", action="store_true", help="exit 1 when it is too slow or loads too much")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="import-cost-") as byte_code:
        environment = make_environment(byte_code)
        best, median, asyncio = import_seconds(environment)
        early = loaded_too_early(environment)
    limit = AIM * max(1, asyncio / ASYNCIO)
    print(f"import micropie, over a bare interpreter: {best * 1000:.1f} ms (at most {limit * 1000:.1f} ms)")
    print(f"the same, median of {ROUNDS} rounds: {median * 1000:.1f} ms")
    print(f"asyncio alone: {asyncio * 1000:.1f} ms")
    print(f"optional packages loaded by it: {', '.join(early) or 'none'}")
    return 1 if options.check and (best > limit or early) else 0


if __name__ == "__main__":
    sys.exit(main())
