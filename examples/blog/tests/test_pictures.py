"""Pictures: what comes in, and what goes out."""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from app import Blog
from models import Picture
from pictures import LONGEST_SIDE, MOST_PIXELS, PictureError, markdown_of, reencoded
from tests.helpers import Start, Visitor, add, picture

JSON = {"Accept": "application/json"}
SECRET = b"taken at home"


def kept(blog: Blog) -> list[Path]:
    """Return the files of all pictures."""
    return sorted((blog._settings.data / "pictures").iterdir())


async def test_picture_is_made_anew_and_sent(
    ada: Visitor, visitor: Visitor, blog: Blog
) -> None:
    """Under a random name, without what the camera has added, for ever."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()  # the description
    exif[0x0112] = 6  # held sideways
    sent = picture((60, 40), exif=exif)
    assert SECRET in sent
    response = await ada.upload(sent, JSON, alt="A [pie]")

    assert response.status_code == 201
    markdown = response.json()["markdown"]
    match = re.fullmatch(
        r"!\[A \\\[pie\\\]\]\((/picture/[0-9a-f]{32}-40x60\.webp)\)", markdown
    )
    assert match, markdown
    shown = await visitor.get(match[1])
    assert shown.headers["content-type"] == "image/webp"
    assert "immutable" in shown.headers["cache-control"]
    assert (
        shown.headers["content-security-policy"],
        shown.headers["x-content-type-options"],
    ) == ("sandbox", "nosniff")
    assert SECRET not in shown.content
    with Image.open(io.BytesIO(shown.content)) as image:
        assert image.size == (40, 60)
        assert not image.getexif()
    address = await ada.write("With a picture", markdown)
    assert (
        f'property="og:image" content="http://localhost{match[1]}"'
        in await visitor.text(address)
    )
    assert 'alt="A [pie]"' in await visitor.text(address)


async def test_form_leads_to_the_list(ada: Visitor, grace: Visitor, blog: Blog) -> None:
    """An author deletes pictures there, but only their own."""
    response = await ada.upload(picture())
    assert response.headers["location"] == "/pictures"
    page = await ada.text("/pictures")
    match = re.search(r'action="(/delete_picture/\d+)"', page)
    assert match and "without a description" in page
    for wrong in (
        match[1],
        "/delete_picture/999999",
        "/delete_picture/99999999999",
        f"/delete_picture/-{9**30}",
    ):
        assert (await grace.post(wrong)).status_code == 404
    assert len(kept(blog)) == 1
    assert (await ada.post(match[1])).headers["location"] == "/pictures"
    assert kept(blog) == []
    assert match[1] not in await ada.text("/pictures")


async def test_strangers_send_none(visitor: Visitor, ada: Visitor, blog: Blog) -> None:
    """A picture needs a login, and a form needs a picture."""
    assert (await visitor.upload(picture())).status_code == 401
    assert (await ada.client.post("/upload", headers=JSON)).status_code == 400
    assert kept(blog) == []


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that says it is large, and is not."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"x"))
        + chunk(b"IEND", b"")
    )


NO_PICTURES = (
    (b"", "no picture"),
    (b"<script>alert(1)</script>", "no picture"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
    (picture()[:300], "no picture"),
    (picture(kind="BMP"), "no picture"),
    (bomb(7000, 7000), "40 million"),
    (bomb(10_000, 10_000), "no picture"),
    (bomb(60_000, 60_000), "no picture"),
    (bomb(100, 100), "no picture"),
)


async def test_what_is_no_picture(ada: Visitor, blog: Blog) -> None:
    """It is refused before it is unpacked."""
    for data, problem in NO_PICTURES:
        response = await ada.upload(data, JSON)
        assert (response.status_code, kept(blog)) == (422, [])
        assert problem in response.text


async def test_too_large_a_file(start: Start) -> None:
    """Is refused while it comes in; so is one more picture than there is room for."""
    async with start(picture_limit=5000, picture_quota=50_000) as blog:
        await add(blog, "ada")
        ada = Visitor(blog)
        await ada.log_in()
        assert (await ada.upload(picture() + b"x" * 5000)).status_code == 413
        assert (await ada.upload(picture() + b"x" * 100_000)).status_code == 413
        assert (await ada.upload(picture() + b"x" * 4000)).status_code == 303
        [one] = kept(blog)
    async with start(picture_limit=5000, picture_quota=100) as blog:
        await add(blog, "ada")
        ada = Visitor(blog)
        await ada.log_in()
        full = await ada.upload(picture())
        assert full.status_code == 422 and "reached their limit" in full.text
        assert kept(blog) == [one]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "1"])
def test_kinds_of_pictures(kind: str, mode: str) -> None:
    """All become WebP, not larger than a page needs; what is transparent stays so."""
    try:
        sent = picture((LONGEST_SIDE * 2, 100), kind, mode)
    except (OSError, ValueError):
        return  # that kind has no such mode
    data, width, height = reencoded(sent)

    assert (width, height) == (LONGEST_SIDE, 50)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (LONGEST_SIDE, 50))
        assert image.mode == ("RGBA" if mode == "RGBA" and kind != "JPEG" else "RGB")


def color(data: bytes) -> Any:
    """Return the color of a picture that has one."""
    with Image.open(io.BytesIO(data)) as image:
        assert "icc_profile" not in image.info
        return image.getpixel((5, 5))


def test_colors_stay_as_they_were_meant() -> None:
    """By their profile, which is not kept itself: there is room for anything in it."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = (
        srgb.replace(b"rXYZ", b"....")
        .replace(b"bXYZ", b"rXYZ")
        .replace(b"....", b"bXYZ")
    )
    plain, turned, broken = (
        reencoded(picture(icc_profile=profile, comment=SECRET))[0]
        for profile in (b"", swapped + SECRET, SECRET)
    )

    assert SECRET not in plain + turned + broken
    assert color(plain) == color(broken)
    red, _, blue = color(turned)
    assert blue > red


def test_notes_that_cannot_be_read() -> None:
    """Cameras write odd ones, and are no reason to refuse a picture, or to fail."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x011A] = 72.0  # a fraction; as a text below, nobody could write it again
    sent = picture((60, 40), exif=exif)
    at = sent.index(b"\x01\x1a\x00\x05") + 3
    _, *size = reencoded(sent[:at] + b"\x02" + sent[at + 1 :])

    assert size == [40, 60]


def test_limit_of_pixels() -> None:
    """A picture of the largest size is not refused for it."""
    with pytest.raises(PictureError, match="no picture"):
        reencoded(bomb(8000, MOST_PIXELS // 8000))
    with pytest.raises(PictureError, match="million"):
        reencoded(bomb(8000, MOST_PIXELS // 8000 + 1))


def test_markdown_of_a_picture_is_one_line() -> None:
    """Whatever the description is."""
    line = markdown_of(Picture(name="x.webp", alt=r"a\]b[`*_<"))
    assert line == r"![a\\\]b\[\`\*\_\<](/picture/x.webp)"
