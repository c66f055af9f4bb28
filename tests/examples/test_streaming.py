"""examples/streaming"""

import csv
import io
import time

import httpx
import pytest

from tests.examples.harness import EXAMPLES, PLAIN
from tests.examples.loading import load
from tests.timing import shortest

ranges = load("streaming", "ranges")
pytestmark = pytest.mark.usefixtures("measured")

VIDEO = (EXAMPLES / "streaming" / "video.webm").read_bytes()
POEM = (EXAMPLES / "streaming" / "poem.txt").read_text()
SIZE = len(VIDEO)


def test_poem_comes_line_by_line(client):
    lines = len(POEM.splitlines())
    started = time.monotonic()
    with client.stream("GET", "/poem?pause=2") as response:
        first = next(response.iter_lines())
    assert time.monotonic() - started < 2 * (lines - 1), (
        "the first line came no sooner than the last one"
    )
    assert first == POEM.splitlines()[0]
    assert client.get("/poem?pause=0.01").text == POEM


@pytest.mark.parametrize("pause", ["-1", "3", "nan", "x"])
def test_pause_out_of_range_is_400(client, pause):
    assert client.get(f"/poem?pause={pause}").status_code == 400


#: A script for a page, which keeps in `lines` how many lines there were when the first text came.
COUNT_FIRST = """
window.lines = 0;
new MutationObserver(() => {
  lines ||= document.querySelector("#poem").textContent.split("\\n").length - 1;
}).observe(document.querySelector("#poem"), {childList: true});
"""


def test_page_recites_the_poem(page):
    def first():
        page.goto("/")
        page.evaluate(COUNT_FIRST)
        page.get_by_role("button", name="Recite").click()
        page.wait_for_function("lines && !document.querySelector('#recite').disabled")
        assert page.evaluate("document.querySelector('#poem').textContent") == POEM
        return page.evaluate("lines")

    assert shortest(first, 6) < 7, "it came all at once"


def test_export_is_whole(client):
    rows = list(csv.DictReader(io.StringIO(client.get("/export").text)))

    assert len(rows) == 100_000
    assert rows[-1] == {"id": "100000", "customer": "Customer 300", "pie": "cherry", "euros": "5.0"}
    assert "content-length" not in client.get("/export").headers


def test_export_ends_when_its_client_leaves(server, client):
    for _ in range(50):  # more than there are threads
        with (
            httpx.Client(base_url=server.url, verify=PLAIN, timeout=60) as leaving,
            leaving.stream("GET", "/export") as response,
        ):
            next(response.iter_raw())

    assert client.get("/export").text.count("\n") == 100_001


def test_export_is_saved(page):
    page.goto("/")
    with page.expect_download() as download:
        page.get_by_text("Save the orders").click()

    assert download.value.suggested_filename == "orders.csv"


def test_video_plays_and_jumps(page):
    answers = []
    page.on(
        "response",
        lambda response: (
            answers.append(response.status) if response.url.endswith("/video") else None
        ),
    )
    page.goto("/")
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    assert round(page.evaluate("document.querySelector('video').duration")) == 30
    page.evaluate("document.querySelector('video').currentTime = 25")
    page.wait_for_function("!document.querySelector('video').seeking")

    assert page.evaluate("document.querySelector('video').currentTime") == 25
    assert set(answers) == {206}


RANGES = {"0-0": (0, 1), "0-": (0, SIZE), "100-199": (100, 200), f"5-{SIZE * 2}": (5, SIZE)}
ENDS = {f"{SIZE - 1}-": (SIZE - 1, SIZE), "-1": (SIZE - 1, SIZE), f"-{SIZE * 2}": (0, SIZE)}


@pytest.mark.parametrize("wanted", [*RANGES, *ENDS])
def test_ranges(client, wanted):
    start, end = {**RANGES, **ENDS}[wanted]
    answer = client.get("/video", headers={"range": f"bytes={wanted}"})

    assert answer.status_code == 206
    assert answer.content == VIDEO[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"


def test_malformed_range_gets_the_whole_video_and_one_behind_the_end_416(client):
    for wanted in (
        "bytes=5-4",
        "bytes=0-1,3-4",
        "bytes=-",
        "bytes=a-b",
        "lines=0-1",
        "bytes=" + "9" * 99,
    ):
        answer = client.get("/video", headers={"range": wanted})
        assert (answer.status_code, answer.content) == (200, VIDEO), wanted
    for wanted in (f"bytes={SIZE}-", "bytes=-0", "bytes=999999999999999999-"):
        answer = client.get("/video", headers={"range": wanted})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{SIZE}"), (
            wanted
        )


def test_unchanged_video_is_304(client):
    tag = client.get("/video").headers["etag"]

    assert client.get("/video", headers={"if-none-match": tag}).status_code == 304
    assert client.get("/video", headers={"range": "bytes=0-1", "if-range": tag}).status_code == 206
    assert (
        client.get("/video", headers={"range": "bytes=0-1", "if-range": '"other"'}).status_code
        == 200
    )
    assert client.head("/video").headers["content-length"] == str(SIZE)


def test_conditions_of_the_video(client):
    tag = client.get("/video").headers["etag"]
    date, own = "Mon, 01 Jan 2001 00:00:00 GMT", client.get("/video").headers["last-modified"]
    part = {"range": "bytes=0-1"}
    for status, headers in (
        (304, {"if-none-match": f"W/{tag}"}),
        (304, {"if-none-match": f'"other", W/{tag}'}),
        (304, {"if-none-match": "*"}),
        (200, {"if-modified-since": date}),
        (412, {"if-unmodified-since": date}),
        (304, {"if-modified-since": own}),
        (200, {"if-unmodified-since": own}),
        (200, {"if-modified-since": own.replace("GMT", "+0000")}),
        (304, {"if-none-match": tag, **part}),
        (200, {"if-none-match": '"other"', "if-modified-since": date}),
        (412, {"if-match": '"other"', **part}),
        (412, {"if-match": f"W/{tag}"}),
        (206, {"if-match": tag, **part}),
        (412, {"if-match": ""}),
        (206, {"if-match": f'"other", {tag}', **part}),
        (206, {"if-range": tag, **part}),
        (200, {"if-range": f"W/{tag}", **part}),
        (200, {"if-range": f"{tag}, {tag}", **part}),
        (200, {"if-range": date, **part}),
        (200, {"if-range": "", **part}),
        (200, {"if-range": '"other"', "range": f"bytes={SIZE}-"}),
        (206, {"range": "Bytes=0-1"}),
        (206, {"range": "bytes=0-" + "9" * 99}),
        (416, {"range": "bytes=" + "9" * 99 + "-"}),
    ):
        answer = client.get("/video", headers=headers)
        assert answer.status_code == status, headers
        if status == 304:
            assert answer.headers["etag"] == tag


def test_head_ignores_a_range(client):
    for wanted in ("bytes=0-1", f"bytes={SIZE}-"):
        answer = client.head("/video", headers={"range": wanted})
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))
        assert "content-range" not in answer.headers


def test_file_that_was_replaced_meanwhile_is_not_mixed(tmp_path):
    path = tmp_path / "video"
    path.write_bytes(b"first")
    version = ranges.version_of(path.stat())
    assert b"".join(ranges.file_chunks(path, version, 1, 3)) == b"irs"
    path.write_bytes(b"the second")
    with pytest.raises(RuntimeError, match="has been replaced"):
        list(ranges.file_chunks(path, version, 1, 3))
