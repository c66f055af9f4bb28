"""examples/file_uploads"""

import contextlib
import http.client
import os
import re
import subprocess

import pytest

from tests.examples.accounts import UPLOAD_LIMIT as LIMIT
from tests.examples.browsing import file_named
from tests.examples.harness import EXAMPLES, copied, running
from tests.processes import wait_until

WATCH_BARS = """() => {
  window.bars = [];
  const note = (node) => window.bars.push(node.querySelector("progress").ariaLabel);
  new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(note)))
    .observe(document.querySelector("#sending"), {childList: true});
}"""


@pytest.fixture
def upload(client):
    def send(name="a.txt", content=b"content"):
        return client.post("/upload", files={"file": (name, content)})

    return send


def kept(server):
    return sorted(path.name for path in (server.folder / "data" / "uploads").glob("*/[!.]*"))


def test_files_are_sent_with_a_bar_listed_and_deleted(page, server):
    page.goto("/")
    files = [
        file_named(name, b"x" * 300_000, "text/html") for name in ("<b>one</b>.html", "zwei ü.txt")
    ]
    page.set_input_files("input[type=file]", files)
    page.evaluate(WATCH_BARS)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("link", name="zwei_ü.txt").wait_for()

    assert page.evaluate("window.bars") == ["Upload of <b>one</b>.html", "Upload of zwei ü.txt"]
    assert sorted(page.locator("#files a").all_inner_texts()) == ["b_.html", "zwei_ü.txt"]
    with page.expect_download() as download:
        page.get_by_role("link", name="zwei_ü.txt").click()
    assert download.value.path().read_bytes() == b"x" * 300_000
    page.get_by_role("button", name="Delete zwei_ü.txt").click()
    page.get_by_role("link", name="zwei_ü.txt").wait_for(state="detached")
    assert "zwei_ü.txt" not in kept(server)


TOO_LARGE = "This file is too large. Please choose one of at most 1.0 MB."


def test_too_large_a_file_is_not_even_sent(page, server):
    page.goto("/")
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("input[type=file]", file_named("large.bin", b"x" * (LIMIT + 1), ""))
    page.get_by_role("button", name="Upload").click()

    assert page.locator(".error").inner_text() == TOO_LARGE
    assert "POST" not in sent
    assert "large.bin" not in kept(server)


def test_413_of_the_server_is_shown_in_words_for_visitors(browsing, page, server):
    browsing.expected = ["413"]
    page.add_init_script("Object.defineProperty(File.prototype, 'size', {value: 1})")
    page.goto("/")
    page.set_input_files("input[type=file]", file_named("large.bin", b"x" * (LIMIT + 1), ""))
    page.get_by_role("button", name="Upload").click()

    assert page.locator(".error").inner_text() == TOO_LARGE
    assert "large.bin" not in kept(server)


def test_form_works_without_scripts(browser, server):
    with contextlib.closing(
        browser.new_context(java_script_enabled=False, base_url=server.url)
    ) as context:
        page = context.new_page()
        page.goto("/")
        for name in ("first.txt", "second.txt"):
            page.get_by_label("Choose a file").set_input_files(file_named(name, b"x", ""))
            page.get_by_role("button", name="Upload").click()
            page.get_by_role("link", name=name).wait_for()


def test_form_without_scripts_sends_as_large_a_file_as_any(tmp_path, measure):
    folder = copied("file_uploads", tmp_path)
    with running("python app.py", folder, measure) as server, server.client() as client:
        browser, large = {"accept": "text/html"}, {"file": ("large.bin", b"x" * 17 * 2**20)}
        assert client.post("/upload", files=large, headers=browser).headers["location"] == "/"
        assert kept(server) == ["large.bin"]


def test_command_of_the_readme_deletes_what_a_crash_has_left(tmp_path):
    readme = (EXAMPLES / "file_uploads" / "README.md").read_text()
    (command,) = re.findall("`(find data/uploads .*)`", readme)
    folder = tmp_path / "data" / "uploads"
    for name in ("old", "new", "whole"):
        (folder / name).mkdir(parents=True)
        (folder / name / ("pie.txt" if name == "whole" else ".0123.part")).touch()
    (folder / "empty").mkdir()
    for path in (*folder.glob("old/.*"), *folder.glob("whole/*"), *folder.iterdir(), folder):
        if path.name not in {"new"}:
            os.utime(path, (0, 0))

    for _ in range(2):  # a folder is a day old on the second day
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
        if (folder / "old").exists():
            os.utime(folder / "old", (0, 0))
    assert sorted(path.name for path in folder.iterdir()) == ["new", "whole"]


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_sizes_up_to_the_limit_are_kept_whole(client, upload, size):
    answer = upload(content=b"x" * size)

    assert answer.status_code == 201
    assert client.get(answer.json()["url"]).content == b"x" * size


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 2**16, 4 * LIMIT])
def test_file_over_the_limit_is_413_and_not_kept(server, upload, size):
    assert upload("large.txt", b"x" * size).status_code == 413
    assert "large.txt" not in kept(server)


def test_the_same_name_twice_is_two_files(client, upload):
    first, second = (upload(content=content).json()["url"] for content in (b"1", b"2"))

    assert (client.get(first).content, client.get(second).content) == (b"1", b"2")


@pytest.mark.parametrize(
    "name", ["../../evil.txt", "..\\evil.txt", "/etc/evil.txt", "%2e%2e/evil.txt", "a\x00/evil.txt"]
)
def test_names_stay_in_the_folder(server, upload, name):
    answer = upload(name)

    assert answer.json()["name"] == "evil.txt"
    assert not [path for folder in server.folder.parents[:3] for path in folder.glob("*evil*")]


SAFE = {
    **{name: name for name in ("archive.tar.gz", "Käse-2.txt", "noending")},
    **{"Käse (2).txt": "Käse__2_.txt", "-rf": "rf", "猫" * 80 + ".txt": "猫" * 53 + ".txt"},
    **{".htaccess": "htaccess", "a;b|c`d.txt": "a_b_c_d.txt", "...": "file"},
    "x" * 300 + ".jpeg": "x" * 160 + ".jpeg",
}


@pytest.mark.parametrize(("name", "safe"), SAFE.items())
def test_odd_names_are_made_safe(client, upload, name, safe):
    answer = upload(name).json()

    assert answer["name"] == safe
    assert client.get(answer["url"]).content == b"content"


def test_path_to_another_file_is_404(client, upload):
    wrong_name = upload().json()["url"].replace("a.txt", "b.txt")
    for target in ("x/a.txt", "..%2F..%2Fapp.py/app.py", "../app.py", "0" * 32 + "/a"):
        assert (
            client.get(f"/files/{target}").status_code == client.get(wrong_name).status_code == 404
        )


def test_upload_that_breaks_off_leaves_nothing(client, server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="half.bin"\r\n\r\n'
    connection.putrequest("POST", "/upload")
    connection.putheader("content-type", "multipart/form-data; boundary=b")
    connection.putheader("content-length", "500000")
    connection.endheaders(head + b"x" * 200_000)
    partial = wait_until(
        lambda: list((server.folder / "data" / "uploads").glob("*/.*.part")), what="the first half"
    )
    assert client.get("/").status_code == 200
    assert client.get(f"/files/{partial[0].parent.name}/{partial[0].name}").status_code == 404
    connection.close()

    wait_until(lambda: not partial[0].parent.exists(), what="the end of the half")
    assert "half.bin" not in kept(server)


def test_page_looks_good(browsing, upload):
    upload(
        "a rather long name of a file that somebody has found nice enough to keep for "
        "ever and ever.txt"
    )

    browsing.check_look("/")
