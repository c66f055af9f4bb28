"""Which commands of a page become requests that its reader can send."""

import importlib
from typing import Any

import pytest

live_requests: Any = importlib.import_module("live_requests")
URL = "http://127.0.0.1:8000"


def made(command: str, **variables: str) -> dict[str, Any]:
    one: dict[str, Any] = live_requests.request(live_requests.filled(command, variables), "", {})
    return one


@pytest.mark.parametrize(
    ("pipe", "filters"),
    [
        ("head -c 8", [{"characters": 8}]),
        ("head -n 2", [{"head": 2}]),
        ("grep -o 'v[0-9.]*'", [{"grep": "v[0-9.]*", "i": False, "o": True, "v": False}]),
        ("grep -iE 'a|b'", [{"grep": "a|b", "i": True, "o": False, "v": False}]),
    ],
)
def test_filters_of_a_pipe(pipe: str, filters: list[dict[str, Any]]) -> None:
    assert made(f"curl {URL}/ | {pipe}")["filters"] == filters


@pytest.mark.parametrize("command", ["curl -m 2.5 {}/", "timeout 2.5 curl {}/ || true"])
def test_seconds_of_a_command(command: str) -> None:
    assert made(command.format(URL))["seconds"] == 2.5


def test_variables_that_a_page_sets_to_a_word_are_filled_in() -> None:
    known: dict[str, str] = {}
    for line in (f"site={URL}", "id=7", "id=$(date)", "two=1 2", "echo three=3"):
        live_requests.keep(line, known)
    assert known == {"site": URL}
    assert made("curl -d '$site' ${site}/write/$site", **known)["body"] == "$site"
    assert made("curl $site/notes/1", **known)["path"] == "/notes/1"


@pytest.mark.parametrize(
    "command",
    [
        f"curl {URL}/$id",
        f"curl {URL}/ > file",
        f"curl {URL}/ | sort",
        f"curl {URL}/ | grep -c a",
        "curl https://example.com/",
        "sleep 2",
        f"timeout 2 wget {URL}/",
    ],
)
def test_a_command_that_needs_more_is_left_out(command: str) -> None:
    with pytest.raises(live_requests.NotHereError):
        made(command)
