"""Scenes of the small examples and of the whole apps."""

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from tests.examples.accounts import ARTICLE, account
from tests.examples.browsing import file_named, fill_in
from tests.examples.scenes import only_opened, pretty, scene

BUTTONS = "Buttons to choose a theme, and a table of the headers that the browser has sent."
PAGES = {  # that are only opened: the path, the zoom, and the description
    "hello_world": ("greet/Alice", 5, "The browser shows one line, Hello, Alice!"),
    "routing": ("", 1.1, "A table of URLs, and of the methods that answer them."),
    "headers_and_cookies": ("", 1.5, BUTTONS),
    "gallery": (
        "",
        1,
        "Cards of examples, each with buttons to open it, its README and its source.",
    ),
}


for name, page in PAGES.items():
    only_opened(name, *page)


@scene(1)
def forms(scene):
    """The form with what was filled in, and beside two of its fields what is wrong with them."""
    scene.browsing.expected = ["422"]
    scene.open()
    scene.fill(name="Alice", email="alice@example.org", age="7")
    scene.page.get_by_label("Anything else?").fill("Will there be plums?")
    scene.press("Sign up")
    scene.page.get_by_text("The course is for people from 16 to 120.").wait_for()


@scene(2)
def explicit_routing(scene):
    """The routes as JSON, in the browser's own view of it."""
    scene.open()
    pretty(scene)


@scene(2)
def json_api(scene):
    """The list of notes as JSON, in the browser's own view of it."""
    for title, text in (
        ("Flour", "Two bags, the plain kind"),
        ("Plums", "Ripe ones"),
        ("Butter", "Half a pound"),
    ):
        assert (
            scene.page.request.post(
                f"{scene.base}/notes", data={"title": title, "text": text}
            ).status
            == 201
        )
    scene.open("notes")
    pretty(scene)


@scene(2)
def validation(scene):
    """The JSON Schema of an order, in the browser's own view of it."""
    scene.open("schema")
    pretty(scene)


@scene()
def templates(scene):
    """The pies of a shop on cards, and above them the message 2 × Plum pie in your basket."""
    scene.open()
    scene.page.get_by_role("link", name="Plum pie").click()
    fill_in(scene.page, {"How many?": "2"}, "Into the basket", "2 × Plum pie in your basket.")


@scene(1.25)
def static_files(scene):
    """The picture of a pie, and a table that says how long each file may be kept."""
    scene.open()
    expect(scene.page.locator("td", has_text="…")).to_have_count(0)
    scene.page.locator("img").evaluate("image => image.decode()")


#: A script for the page of the uploads. It ends one before it is done, so the page stays as it is.
STOP_HALFWAY = """() => {
  const look = () => { if (document.querySelector("progress")?.value > 0.6) stop(); };
  new MutationObserver(look)
    .observe(document.querySelector("#sending"), {subtree: true, attributes: true});
}"""


@scene(1.25)
def file_uploads(scene):
    """A field to drop files into, the progress of an upload, and a list of two files."""
    scene.open()
    for name, size in (("menu.txt", 1_300), ("plum-tart.jpg", 184_000)):
        scene.page.set_input_files("input[type=file]", file_named(name, b"x" * size))
        scene.press("Upload")
        scene.page.get_by_role("link", name=name).wait_for()
    scene.page.locator("#sending").evaluate("list => list.replaceChildren()")
    slow = scene.page.context.new_cdp_session(scene.page)
    rates = {
        "offline": False,
        "latency": 0,
        "downloadThroughput": -1,
        "uploadThroughput": 300_000,  # so slow that a busy machine sees it before it is done
    }
    slow.send("Network.emulateNetworkConditions", rates)
    film = file_named("in the oven.mp4", b"x" * 1_000_000, "video/mp4")
    scene.page.set_input_files("input[type=file]", film)
    scene.page.evaluate(STOP_HALFWAY)
    scene.press("Upload")
    scene.page.wait_for_function("document.querySelector('progress')?.value > 0.6")


@scene(1)
def streaming(scene):
    """A poem that came line by line, a link to a CSV file, and a film."""
    scene.open()
    scene.page.locator("#poem").evaluate("poem => { poem.dataset.url += '?pause=0'; }")
    scene.press("Recite")
    scene.page.get_by_text("Indeed I have not any.").wait_for()
    scene.page.locator("#poem").evaluate("poem => poem.scrollTo(0, 0)")


@scene(1.2)
def server_sent_events(scene):
    """A clock, and a chat of Alice and Bob with three messages."""
    other = scene.browsing.page()
    for page in (scene.page, other):
        scene.open(page=page)
        page.get_by_text("Connected.").wait_for()
    for name, text, page in (
        ("Alice", "Is there any pie left?", scene.page),
        ("Bob", "Two pieces, on the upper shelf.", other),
        ("Alice", "On my way!", scene.page),
    ):
        scene.fill(page, name=name, text=text)
        scene.press("Send", page=page)
        scene.page.locator("#messages").get_by_text(text).wait_for()
        expect(page.locator("#text")).to_have_value("")  # the answer empties it
    other.close()
    scene.page.locator("#clock").evaluate("clock => { clock.textContent = '12:34:56'; }")


def chat(scene):
    other = scene.browsing.page()
    for page, name in ((scene.page, "Ada"), (other, "Eve")):
        scene.open(page=page)
        fill_in(page, {"Your name": name}, "Enter", "You are here.")
    for page, text in (
        (other, "Is there any pie left?"),
        (scene.page, "Two pieces, on the upper shelf."),
        (other, "On my way!"),
    ):
        scene.fill(page, text=text)
        page.locator("#text").press("Enter")
        scene.page.locator("#log").get_by_text(text).wait_for()


@scene(1.25)
def websockets(scene):
    """A chat of Ada and Eve with three messages, and a form to say something."""
    chat(scene)


@scene(1.25)
def socketio(scene):
    """A chat of Ada and Eve with three messages."""
    chat(scene)


@scene(1.25)
def cluster(scene):
    """A room of a chat, in which Ada and Eve are present, with three messages."""
    other = scene.browsing.page()
    for page, name in ((scene.page, "ada"), (other, "eve")):
        scene.open("sign_up", page=page)
        scene.fill(page, name=name, password="analytical engine")
        scene.press("Sign up", page=page)
        page.get_by_role("link", name="kitchen").click()
        page.get_by_text("Connected.").wait_for()
    for page, text in (
        (other, "Is there any pie left?"),
        (scene.page, "Two pieces, on the upper shelf."),
        (other, "On my way!"),
    ):
        scene.fill(page, text=text)
        page.locator("#text").press("Enter")
        scene.page.locator("#log").get_by_text(text).wait_for()
    scene.page.locator("#log").evaluate(
        "log => log.querySelectorAll('time').forEach(time => { time.textContent = '12:34'; })"
    )


@scene()
def sessions(scene):
    """The account of a user who is logged in, with the number of visits."""
    for _ in range(3):
        scene.page.request.post(f"{scene.base}/visit")
    scene.open("login")
    scene.fill(username="ada", password="analytical engine")
    scene.press("Log in")
    scene.page.get_by_role("heading", name="ada").wait_for()


@scene()
def session_backends(scene):
    """The page counts seven visits by this browser, kept in SQLite."""
    for _ in range(7):
        scene.page.request.post(f"{scene.base}/visit")
    scene.open()


@scene(2)
def lifespan(scene):
    """The list of books as JSON, in the browser's own view of it."""
    for title, copies in (
        ("Bread, and Waiting for It", 3),
        ("Plums", 2),
        ("The Art of the Pie", 5),
    ):
        assert (
            scene.page.request.post(
                f"{scene.base}/add", data={"title": title, "copies": copies}
            ).status
            == 201
        )
    scene.open()
    pretty(scene)


@scene()
def middleware(scene):
    """The page of an error, 404 Not Found, with a sentence that says what may have happened."""
    scene.browsing.expected = ["404"]
    scene.open("nothing")


@scene()
def sub_apps(scene):
    """The notes of the mounted app, and a form to add another one."""
    scene.open("notes/")
    for note in ("Order flour", "Ask Bob for the large tin"):
        fill_in(scene.page, {"New note": note}, "Add", note)


@scene()
def background_jobs(scene):
    """The result of the job, 78498 primes."""
    scene.open()
    fill_in(scene.page, {"Count the primes below": "1000000"}, "Start", "78498 primes")


PASTE = '''\
"""How long a pie has to bake."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pie:
    name: str
    weight: float  # kilograms

    def minutes(self, *, oven: int = 180) -> int:
        if oven < 100:
            raise ValueError(f"{self.name} stays raw at {oven} degrees")
        return round(45 * self.weight**0.5 * 180 / oven)


print(Pie("plum", 1.2).minutes())  # 49
'''


@scene(1.15)
def pastebin(scene):
    """A paste with colored Python code, and a button to delete it."""
    scene.open()
    scene.fill(text=PASTE, title="pie.py")
    scene.press("Create")
    scene.page.get_by_role("heading", name="pie.py").wait_for()


@scene(1.05)
def url_shortener(scene):
    """A short link with its QR code, and a chart of its clicks on each of thirty days."""
    scene.open()
    scene.fill(url="https://example.com/parties/2026/summer/programme.html", alias="summer-party")
    scene.press("Shorten")
    scene.page.get_by_role("heading", name="summer-party").wait_for()
    today = datetime.now(UTC).date()
    followed = [(str(today - timedelta(days=29 - day)), (day * 7) % 11 + day) for day in range(30)]
    with (
        contextlib.closing(
            sqlite3.connect(scene.data / "url_shortener" / "app.sqlite3")
        ) as database,
        database,
    ):
        [(link,)] = database.execute("SELECT id FROM links")
        database.executemany(
            f"INSERT INTO clicks (link_id, day, count) VALUES ({link}, ?, ?)", followed
        )
    scene.page.reload()
    scene.page.locator("svg.chart").wait_for()


@scene(1.25)
def blog(scene):
    """An article with a list and a quotation."""
    scene.open("sign_up")
    fill_in(scene.page, account("ada", "Ada Lovelace"), "Sign up", "Welcome, Ada Lovelace.")
    scene.open("write")
    fields = {"Title": "The patience of a sourdough", "Text": ARTICLE}
    fill_in(scene.page, fields, "Publish", "Your post is published.", exact=True)
    scene.page.reload()
