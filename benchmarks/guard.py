"""Fail when MicroPie takes more instructions than it did: ``python -m benchmarks.guard``.

The ratios to the hand-written floor repeat to a fraction of a percent, whatever else the machine
does: three percent of room tell a regression from noise. ``--record`` writes down the present
ratios as those to keep. The aims are held as well, however near to them a ratio is.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor

from benchmarks.aims import INSTRUCTION_AIMS
from benchmarks.callgrind import count_instructions, missing_tool
from benchmarks.peers import ROOT

RECORD = ROOT / "benchmarks" / "guard.json"
ROOM = 1.03
COUNTS = (100, 400)


def measure() -> dict[str, float]:
    """Return MicroPie's instructions per request in those of the floor, for each workload."""
    names = list(INSTRUCTION_AIMS)
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(count_instructions, peer, names, COUNTS) for peer in ("floor", "micropie")
        ]
        floor, ours = (job.result() for job in jobs)
    return {name: ours[name] / floor[name] for name in names}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard", description="Guard the instruction ratios."
    )
    parser.add_argument("--record", action="store_true", help="write the present ratios down")
    options = parser.parse_args()
    if problem := missing_tool():
        print(f"Needed first: {problem}", file=sys.stderr)
        return 2
    ratios = measure()
    if options.record:
        rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
        RECORD.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    worse = False
    for name, ratio in ratios.items():
        limit = min(recorded[name] * ROOM, INSTRUCTION_AIMS[name])
        worse = worse or ratio > limit
        print(
            f"{'FAIL' if ratio > limit else 'ok  '}  {name}: {ratio:.3f} times the floor "
            f"(at most {limit:.3f})"
        )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
