"""Checks of step 8: pictures that visitors send."""

import re

from checking import Missing, Place, Program, Visitor, statements
from checking_client import Answer
from checking_poll import STEP_7, expect_known, expect_script

# More checks: what the steps up to this one have added still works.
MORE = STEP_7
PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of a picture"
PAGE = Place("templates/index.html")
MEGABYTES = 5


async def send(
    visitor: Visitor, content: bytes, description: str = "A pie", name: str = "pie.png"
) -> Answer:
    """Send a picture, as the form of the page does."""
    await visitor.get("/")
    fields = [("description", description), ("picture", (name, content))]
    return await visitor.post("/upload", multipart=fields)


async def upload(visitor: Visitor, description: str = "A pie", name: str = "pie.png") -> Answer:
    """Send a picture that the app must take."""
    answer = await send(visitor, PNG, description, name)
    text = "`upload` must keep the picture, and send the visitor back to the page."
    return answer.expect(303, text)


async def pictures_on(poll: Program) -> list[str]:
    """Return the URLs of the pictures on the page."""
    page = (await poll.visitor().get("/")).expect(200, "`/` must show the page.")
    return re.findall(r'<img[^>]*src="([^"]+)"', page.text)


def kept(poll: Program) -> list[str]:
    """Return the names of the files that the app has kept, without the databases."""
    found = [path for path in (poll.folder / "data").rglob("*") if path.is_file()]
    return [path.name for path in found if ".db" not in path.name]


async def check_picture(poll: Program) -> None:
    """A picture is shown on the page, and comes back as it was."""
    await upload(poll.visitor(), "A cherry pie")
    urls = await pictures_on(poll)
    if len(urls) != 1:
        raise Missing(
            PAGE, f"After one upload, the page must show one picture, and it shows {len(urls)}."
        )
    answer = await poll.visitor().get(f"/{urls[0].removeprefix('./').removeprefix('/')}")
    answer.expect(200, "`picture` must send a picture.")
    if answer.body != PNG:
        answer.missing("The picture must come back as it was sent.")
    if answer.header("content-type") != "image/png":
        kind = answer.header("content-type")
        answer.missing(f"A PNG picture must have the type `image/png`, and it has `{kind}`.")
    if answer.header("x-content-type-options") != "nosniff":
        text = (
            "Send `x-content-type-options: nosniff` with a picture, so that no browser takes it "
            "for an HTML page."
        )
        answer.missing(text)


async def check_content(poll: Program) -> None:
    """A file that is no picture is refused, and nothing stays of it."""
    answer = await send(poll.visitor(), b"<html><script>alert(1)</script>")
    text = (
        "The first bytes of a file must be those of a picture. This was HTML with the name "
        "`pie.png`."
    )
    answer.expect(range(400, 500), text)
    if kept(poll):
        raise Missing(poll.at("pictures.py", "checked"), "Delete the file if it is no picture.")


async def check_size(poll: Program) -> None:
    """A picture of more than 5 MB is refused, and nothing stays of it."""
    answer = await send(poll.visitor(), PNG + bytes(MEGABYTES * 2**20))
    answer.expect(413, "Save the picture with a limit, `await picture.save(path, limit=MAX_SIZE)`.")
    if kept(poll):
        raise Missing(
            poll.at("pictures.py", "keep"), "Delete the part of a file that is too large."
        )


async def check_file_name(poll: Program) -> None:
    """The visitor's file name is no part of a path."""
    for name in ("../../evil.png", "/tmp/evil.png", "evil.png"):
        await upload(poll.visitor(), name=name)
    if list(poll.folder.parent.glob("*evil*")) or any("evil" in name for name in kept(poll)):
        text = "The name of the visitor's file became a part of the path. Choose the name yourself."
        raise Missing(poll.at("pictures.py", "keep"), text)


async def check_other_files(poll: Program) -> None:
    """Nothing but pictures is sent."""
    await upload(poll.visitor())
    for path in [path for path in (poll.folder / "data").rglob("*.png") if path.is_file()]:
        (path.parent / "notes.txt").write_text("These are not for visitors.")
    for name in ("notes.txt", "..%2Fpoll.db", "%2Fetc%2Fpasswd", "0" * 32 + ".png"):
        answer = await poll.visitor().get(f"/picture/{name}")
        text = "Only pictures can be asked for, so check the name before it becomes part of a path."
        answer.expect(404, text)


async def check_session(poll: Program) -> None:
    """Only a visitor of the page can send a picture."""
    fields = [("description", "A pie"), ("picture", ("pie.png", PNG))]
    answer = await poll.visitor().post("/upload", multipart=fields)
    text = "Refuse a picture without a session, as you refuse a vote."
    answer.expect(range(400, 500), text)
    if kept(poll) or await pictures_on(poll):
        answer.missing(text)


async def check_twelve(poll: Program) -> None:
    """The poll keeps twelve pictures."""
    ada = poll.visitor()
    for number in range(14):
        await upload(ada, f"Picture {number}")
    shown, files = len(await pictures_on(poll)), len(kept(poll))
    if shown != 12:
        text = f"After 14 uploads, the page must show the latest 12 pictures, and it shows {shown}."
        raise Missing(poll.at("store.py", "add_picture"), text)
    if files > 12:
        text = (
            f"After 14 uploads, {files} files are on the disk. Delete the files of pictures that "
            "the poll shows no more."
        )
        raise Missing(poll.at("pictures.py", "remove"), text)
    page = await ada.get("/")
    if "Picture 13" not in page.text or "Picture 1<" in page.text:
        raise Missing(poll.at("store.py", "add_picture"), "The oldest pictures must go first.")


async def check_description(poll: Program) -> None:
    """A description is text, of at most 100 characters."""
    await upload(poll.visitor(), "<script>alert(1)</script>" + "x" * 200)
    await upload(poll.visitor(), "' onpie=1 \" onpie=1 ")
    page = await poll.visitor().get("/")
    if "<script>alert(1)" in page.text or "onpie" in dict(page.page().attributes):
        raise Missing(PAGE, "A description became HTML. Let Jinja escape it, without `safe`.")
    if "x" * 101 in page.text:
        text = "A description has at most 100 characters, so cut it with `[:MAX_DESCRIPTION]`."
        raise Missing(poll.handler("/upload"), text)


async def check_news(poll: Program) -> None:
    """All open pages get an event with the pictures."""
    async with poll.visitor().events("/events") as events:
        await events.next()
        answer = await upload(poll.visitor(), "A cherry pie")
        event = await events.next(5)
        if event is None:
            text = "After an upload, a reader of `/events` got no event. Call `self._news.tell()`."
            answer.missing(text)
        if [one.get("description") for one in event.get("pictures", [])] != ["A cherry pie"]:
            text = (
                'An event must have `"pictures"`, a list of `name` and `description`, and it '
                f"was `{event}`."
            )
            events.answer.missing(text)


async def check_page(poll: Program) -> None:
    """The page has the form, and the script that shows the progress."""
    page = (await poll.visitor().get("/")).expect(200, "`/` must show the page.")
    forms = [form for form in page.forms() if form.has("picture")]
    if not forms:
        raise Missing(PAGE, "The page must have a form with a field `picture`.")
    names = [one.get("name") for one in forms[0].fields]
    if forms[0].kind != "multipart/form-data" or forms[0].method != "post":
        raise Missing(
            PAGE, 'A form with a file needs `method="post"` and `enctype="multipart/form-data"`.'
        )
    if "description" not in names or names.index("description") > names.index("picture"):
        text = (
            "The description must come before the picture, so that the app has it when the "
            "picture starts."
        )
        raise Missing(PAGE, text)
    await expect_script(
        poll, "upload.js", "shows the progress", ("XMLHttpRequest",), (".", "send", "(")
    )


async def check_sql(poll: Program) -> None:
    """A description is never a part of the SQL."""
    with statements(poll) as found:
        await poll.restart()
        for description in ("A pie", "A cherry pie", "My aunt's pie"):
            known = set(found)
            await upload(poll.visitor(), description)
    expect_known(found, known)
