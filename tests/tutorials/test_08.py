"""tutorials/08-pictures"""

import pytest
from playwright.sync_api import expect

from tests.tutorials.steps import pie, send_picture


def files_on_disk(server):
    return list((server.folder / "data" / "pictures").glob("*"))


def test_pictures_are_shown_to_all(browsing, picture, visitor, vote):
    for choice in ("Apple", "Cherry", "Apple"):
        vote(visitor(), choice)
    ada, bob = browsing.page((800, 1490)), browsing.page()
    for page in (ada, bob):
        page.goto("/")
        page.locator("#state", has_text="counted live").wait_for()
    for name, color in (("Cherry pie with a lattice", "#a4161a"), ("Rhubarb pie", "#d96a8b")):
        send_picture(ada, name, pie(color))
        for reader in (ada, bob):
            shown = reader.locator("#pictures li", has_text=name).locator("img")
            expect(shown).to_be_visible()
            expect(shown).to_have_js_property("naturalWidth", 400)
    ada.locator("#say input").fill("Look at these!")
    ada.get_by_role("button", name="Send", exact=True).click()
    expect(ada.locator("#messages li")).to_contain_text("Look at these!")
    ada.locator("#say input").blur()
    picture(ada)
    browsing.check_look("/")


def test_progress_is_shown_and_refusals_are_said(browsing):
    browsing.expected += ["413", "422", "403"]
    page = browsing.page()
    page.goto("/")
    page.evaluate(
        """() => {
            window.seen = [];
            const bar = document.querySelector("progress");
            new MutationObserver(() => seen.push([bar.hidden, bar.value]))
              .observe(bar, { attributes: true, attributeFilter: ["value", "hidden"] });
        }"""
    )
    send_picture(page, "Too large", pie("red") + b"x" * 6_000_000)
    expect(page.get_by_text("This picture is too large.")).to_be_visible()
    send_picture(page, "No picture", b"<html>" * 300_000)
    expect(page.get_by_text("Please choose a PNG, JPEG or GIF picture.")).to_be_visible()
    seen = page.evaluate("seen")
    assert [False, 1] in seen and seen[-1][0], seen
    page.context.clear_cookies()  # as after a restart: the server knows no such session
    send_picture(page, "A pie", pie("red"))
    expect(page.get_by_text("This page is too old.")).to_be_visible()


@pytest.mark.parametrize(("size", "status"), [(10, 422), (5 * 2**20 + 1, 413), (17 * 2**20, 413)])
def test_nothing_stays_of_what_is_refused(client, server, size, status):
    before = len(files_on_disk(server))
    client.get("/")
    fields = {"description": "No pie"}
    answer = client.post("/upload", data=fields, files={"picture": ("pie.png", b"x" * size)})
    assert answer.status_code == status
    assert len(files_on_disk(server)) == before


def test_only_the_page_sends_pictures(client, server):
    before = len(files_on_disk(server))
    answer = client.post(
        "/upload", data={"description": "A pie"}, files={"picture": ("pie.png", pie("red"))}
    )
    assert answer.status_code == 403
    assert len(files_on_disk(server)) == before


@pytest.mark.parametrize(
    "name", ["..%2Fpoll.db", "%2Fetc%2Fpasswd", "0" * 32 + ".png", "." + "0" * 32]
)
def test_nothing_but_pictures_is_sent(client, name):
    assert client.get(f"/picture/{name}").status_code == 404


def test_description_is_text(client):
    client.get("/")
    fields = {"description": '"><script>alert(1)</script>'}
    assert (
        client.post(
            "/upload", data=fields, files={"picture": ("x.png", pie("blue", 20))}
        ).status_code
        == 303
    )
    assert "<script>alert" not in client.get("/").text
