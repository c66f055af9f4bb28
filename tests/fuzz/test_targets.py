"""Each target over its kept inputs and some mutations of them, without Atheris.

The mutations are the same in every run. `make fuzz` looks for new ones.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.inputs import Input
from tests.fuzz.targets import TARGETS
from tests.processes import ROOT

CORPUS = Path(__file__).parent / "corpus"
MUTATIONS = 25
LARGEST = 300_000  # bytes of all kept inputs


def kept(name: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((CORPUS / name).iterdir())]


def mutated(data: bytes, tokens: tuple[bytes, ...], chance: random.Random) -> bytes:
    """Replace some bytes at a random place by a token, random bytes, or others of the same."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice([0, 0, 1, 4]))
        instead = [chance.choice(tokens), chance.randbytes(chance.randint(1, 3)), data[start:][:9]]
        data = data[:start] + chance.choice(instead) + data[end:]
    return data


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_holds_for_any_bytes(name):
    check, tokens = TARGETS[name]
    chance = random.Random(name)
    inputs = [b"", *kept(name)]

    for data in [
        *inputs,
        *(mutated(chance.choice(inputs), tokens, chance) for _ in range(MUTATIONS)),
    ]:
        try:
            check(data)
        except BaseException as error:
            error.add_note(f"The input of {name}: {data!r}")
            raise


def test_each_target_has_inputs_and_each_folder_a_target():
    folders = [folder.name for folder in CORPUS.iterdir()]

    assert sorted(folders) == sorted(TARGETS)
    assert all(kept(name) for name in folders)
    assert sum(len(data) for name in folders for data in kept(name)) < LARGEST


def test_decisions_are_read_from_the_front_and_what_is_left_is_the_rest():
    given = Input(b"\x03\x01\x02ab\xffrest")

    assert given.number(2) == 1
    assert given.pick("xyz") == "y"
    assert given.some() == b"ab"
    assert given.one_of([b"c", b"d"]) == b"c"  # 255 % 3
    assert given.rest() == b"rest"
    assert (Input(b"").number(9), Input(b"").pick("ab"), Input(b"").some()) == (0, "a", b"")


@pytest.mark.parametrize("data", [b"", b"\x03\x80\x10\xff", b"\x04\x01\x01\x01\x01"])
def test_pieces_of_a_body_are_the_body_again(data):
    assert b"".join(Input(data).cut(b"0123456789")) == b"0123456789"


def test_replay_says_that_an_input_is_taken_or_shows_the_fault(tmp_path):
    (tmp_path / "good").write_bytes(b"a=1")
    command = [sys.executable, "-m", "tests.fuzz", "query", "--replay", str(tmp_path / "good")]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, f"query takes {tmp_path / 'good'}.\n")
    absent = subprocess.run(
        [*command[:3], "no_such"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert absent.returncode == 2 and "no target no_such" in absent.stderr
