"""`make fuzz`: search for inputs that break a target, with Atheris.

python -m tests.fuzz [TARGET ...] [--seconds 60]   search, each target in another process
python -m tests.fuzz TARGET --replay FILE          run one input, without Atheris
python -m tests.fuzz [TARGET ...] --keep           put what reaches new branches into corpus/
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
FOUND = ROOT / "build" / "fuzz"
INSTRUMENTED = ["micropie", "multipart", "ranges", "conditions", "routing"]
LARGEST = 4096
SLOWEST = 20  # seconds for one input


def search(name: str, options: list[str]) -> None:
    """Fuzz one target in this process; the options are those of libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        import multipart  # noqa: F401 - MicroPie imports it at its first use

        from tests.fuzz.targets import TARGETS

    check, tokens = TARGETS[name]
    words = FOUND / f"{name}.dict"
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in tokens))
    # When libFuzzer merges, it gives this command to a shell.
    command = f"{sys.executable} -m tests.fuzz {name} --search"
    arguments = [command, f"-dict={words}", f"-artifact_prefix={FOUND}/{name}-", *options]
    atheris.Setup(arguments, check)
    atheris.Fuzz()


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


def _run(name: str, *options: str) -> tuple[int, str]:
    """Run `search` in another process; return its exit code and its output."""
    command = [sys.executable, "-m", "tests.fuzz", name, "--search", *options]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def fuzz(name: str, seconds: int) -> bool:
    """Search for so many seconds; print one line, or the fault and how to see it again."""
    own, kept = FOUND / name, CORPUS / name
    own.mkdir(parents=True, exist_ok=True)
    code, output = _run(
        name,
        str(own),
        *([str(kept)] if kept.is_dir() else []),
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        f"-timeout={SLOWEST}",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    )
    runs = re.search(r"number_of_executed_units: (\d+)", output)
    branches = re.findall(r"\bcov: (\d+)", output)
    where = re.search(r"Test unit written to (\S+)", output)
    if code == 0 and runs:
        print(f"{name:16} {int(runs[1]):>9,} inputs  {branches[-1]:>5} branches  ok", flush=True)
        return True
    print(f"{name:16} FAILED\n{output[-6000:]}")
    if where:
        file = Path(where[1])
        print(
            f"The input that breaks {name} is {file}. To see it again:\n"
            f"    .venv/dev/bin/python -m tests.fuzz {name} --replay {file}\n"
            f"When it is mended, keep it: cp {file} {CORPUS.relative_to(ROOT)}/{name}/",
            flush=True,
        )
    return False


def keep(name: str) -> bool:
    """Reduce what was found to the fewest small inputs that reach the same branches, and keep it.

    The inputs that were kept before come first; an input joins them if it reaches more.
    """
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    code, output = _run(
        name,
        "-set_cover_merge=1",
        "-use_counters=0",  # once is enough for each branch
        f"-max_len={KEPT}",
        f"-timeout={SLOWEST}",
        str(kept),
        str(FOUND / name),
    )
    size = sum(one.stat().st_size for one in kept.iterdir())
    print(f"{name:16} {len(list(kept.iterdir())):>4} files  {size:>7,} bytes", flush=True)
    return code == 0 or bool(print(output[-3000:]))


KEPT = 200
"""Bytes of the largest input that `--keep` takes."""


def replay(name: str, file: Path) -> None:
    """Run a target over one input; what it raises is shown."""
    from tests.fuzz.targets import TARGETS

    TARGETS[name].check(file.read_bytes())
    print(f"{name} takes {file}.")


def main() -> int:
    """Do what the command line says; return 1 if a target failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--replay", type=Path, metavar="FILE")
    parser.add_argument("--keep", action="store_true")
    found = parser.parse_args()
    if found.replay is not None:
        replay(found.targets[0], found.replay.resolve())
        return 0
    from tests.fuzz.targets import TARGETS

    names = found.targets or sorted(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(sorted(TARGETS))}")
    FOUND.mkdir(parents=True, exist_ok=True)
    at_once = min(os.cpu_count() or 1, len(names))
    if not found.keep:
        print(
            f"Fuzzing {len(names)} targets of tests/fuzz for {found.seconds} seconds each, "
            f"{at_once} at a time. What they find is kept in {FOUND}.",
            flush=True,
        )
    with ThreadPoolExecutor(at_once) as pool:
        each = keep if found.keep else lambda name: fuzz(name, found.seconds)
        return 0 if all(list(pool.map(each, names))) else 1


if __name__ == "__main__":
    if "--search" in sys.argv:
        search(sys.argv[1], sys.argv[3:])
    sys.exit(main())
