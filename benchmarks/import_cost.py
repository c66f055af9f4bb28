"""Measure what ``import micropie`` costs over a bare interpreter, and what it loads.

    python benchmarks/import_cost.py             the numbers
    python benchmarks/import_cost.py --check     exit 1 when the import is too slow or loads too much

Bare and importing interpreters take turns, so that a machine that slows down meets both alike. The
check goes by the best times: whatever else the machine does can only add to them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 21
AIM = 0.045  # seconds
NOT_YET_NEEDED = ("jinja2", "multipart")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}


def seconds(code: str) -> float:
    """Return how long a new interpreter takes for a line of code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True, timeout=60)
    return time.perf_counter() - start


def import_seconds() -> tuple[float, float]:
    """Return what the import adds to a bare interpreter: at best, and in the median of all rounds."""
    seconds("import micropie")  # writes the byte code
    bare, importing = zip(*((seconds("pass"), seconds("import micropie")) for _ in range(ROUNDS)), strict=True)
    return min(importing) - min(bare), statistics.median(importing) - statistics.median(bare)


def loaded_too_early() -> list[str]:
    """Return the optional packages that the import loads though nothing has asked for them."""
    code = f"import sys, micropie; print(*(name for name in {NOT_YET_NEEDED!r} if name in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, check=True, timeout=60, capture_output=True, text=True
    )
    return run.stdout.split()


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the import.")
    parser.add_argument("--check", action="store_true", help="exit 1 when it is too slow or loads too much")
    options = parser.parse_args()
    best, median = import_seconds()
    early = loaded_too_early()
    print(f"import micropie, over a bare interpreter: {best * 1000:.1f} ms (at most {AIM * 1000:.0f} ms)")
    print(f"the same, median of {ROUNDS} rounds: {median * 1000:.1f} ms")
    print(f"optional packages loaded by it: {', '.join(early) or 'none'}")
    return 1 if options.check and (best > AIM or early) else 0


if __name__ == "__main__":
    sys.exit(main())
