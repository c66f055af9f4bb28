"""Pictures: checked, encoded anew, stored under random names, and sent."""

import asyncio
import io
import os
import secrets
from pathlib import Path
from typing import Any

from micropie import HTTPError, UploadedFile, methods
from PIL import ExifTags, Image, ImageCms
from sqlalchemy import func, select

from models import TITLE_LENGTH, Picture, User
from settings import Settings
from text import PICTURE, clean_line
from web import CACHE_FOREVER, Site

# Pillow reads many more formats, and each adds code that an attacker can feed.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
)
# That many take 160 MB of memory.
MOST_PIXELS = 40_000_000
LONGEST_SIDE = 1600
AT_ONCE = 2
# By the orientation in Exif.
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(Exception):
    """The file is no picture that can be shown; the text says why."""


def reencoded(data: bytes) -> tuple[bytes, int, int]:
    """Return a picture as WebP, with its width and height.

    Only the pixels are copied, and not the place and time that a camera adds.

    Raises:
        PictureError: It cannot be read, or is too large.
    """
    try:
        # This reads only the size.
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise PictureError(
                    f"A picture has at most {MOST_PIXELS // 1_000_000} million pixels."
                )
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            plain = _in_srgb(image).convert(
                "RGBA" if image.has_transparency_data else "RGB"
            )
    except PictureError:
        raise
    except Exception as error:  # Pillow raises many kinds for broken files
        raise PictureError(
            "The file is no picture that can be read: send JPEG, PNG, WebP or GIF."
        ) from error
    if orientation in TRANSPOSITIONS:
        plain = plain.transpose(TRANSPOSITIONS[orientation])
    new = io.BytesIO()
    plain.save(new, "WEBP", quality=82, icc_profile=b"", exif=b"", xmp=b"")
    return new.getvalue(), plain.width, plain.height


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return a picture in sRGB, so that it needs no color profile."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in {"RGB", "RGBA"}:
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return (
            ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))
            or image
        )
    except (OSError, ImageCms.PyCMSError):  # browsers leave a broken profile alone too
        return image


def store_picture(folder: Path, data: bytes) -> tuple[str, int]:
    """Encode and store a picture; return its name and size.

    Raises:
        PictureError: It cannot be read, or is too large.
    """
    content, width, height = reencoded(data)
    name = f"{secrets.token_hex(16)}-{width}x{height}.webp"
    part = folder / f".{name}"
    part.write_bytes(content)
    os.replace(part, folder / name)  # so no reader gets half of it
    return name, len(content)


class Pictures(Site):
    """The pages for pictures, and the pictures."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.env.globals["markdown_of"] = markdown_of

    @methods("GET")
    async def pictures(self) -> str:
        """List an author's own pictures."""
        user = await self._author()
        async with self._database.session() as db:
            query = (
                select(Picture)
                .where(Picture.owner_id == user.id)
                .order_by(Picture.id.desc())
            )
            found = list(await db.scalars(query))
        return await self._page(
            "pictures.html", pictures=found, limit=self._settings.picture_limit
        )

    @methods("POST")
    async def upload(self, picture: UploadedFile) -> Any:
        """Add a picture; a script gets its Markdown, a form goes back to the list."""
        user = await self._author()
        try:
            new = await self._add_picture(
                await picture.read(limit=self._settings.picture_limit), user
            )
        except PictureError as error:
            raise HTTPError(422, str(error)) from None
        if "application/json" in self.request.headers.get("accept", ""):
            return 201, {"markdown": markdown_of(new)}
        self._flash("The picture is here. Copy its line into a post.")
        self._redirect_to("pictures")

    @methods("GET")
    def picture(self, name: str, /) -> tuple[int, bytes, dict[str, str]]:
        """Send a picture. Caches keep it forever, since no other one gets its name."""
        path = self._pictures_folder / name
        if not PICTURE.fullmatch(f"/picture/{name}") or not path.exists():
            raise HTTPError(404)
        headers = {
            "content-type": "image/webp",
            "cache-control": CACHE_FOREVER,
            "content-security-policy": "sandbox",
        }
        return 200, path.read_bytes(), headers

    @methods("POST")
    async def delete_picture(self, picture_id: int, /) -> Any:
        """Delete a picture; where a post shows it, its description stays."""
        user = await self._author()
        async with self._database.session.begin() as db:
            found = (
                await db.get(Picture, picture_id) if 0 < picture_id < 2**31 else None
            )
            if found is None or found.owner_id != user.id:
                raise HTTPError(404)
            await db.delete(found)
        (self._pictures_folder / found.name).unlink(missing_ok=True)
        self._flash("The picture is deleted.")
        self._redirect_to("pictures")

    async def _add_picture(self, data: bytes, user: User) -> Picture:
        async with self._database.session() as db:
            used = (
                await db.scalar(
                    select(func.sum(Picture.size)).where(Picture.owner_id == user.id)
                )
                or 0
            )
        if used + len(data) > self._settings.picture_quota:
            raise PictureError(
                "Your pictures have reached their limit. Delete some first."
            )
        async with self._slots:
            name, size = await asyncio.to_thread(
                store_picture, self._pictures_folder, data
            )
        alt = clean_line(self.request.form("alt", ""))[:TITLE_LENGTH]
        new = Picture(owner_id=user.id, name=name, alt=alt, size=size)
        async with self._database.session.begin() as db:
            db.add(new)
        return new


def markdown_of(picture: Picture) -> str:
    """Return the Markdown that shows a picture in a post."""
    alt = picture.alt.translate({ord(sign): f"\\{sign}" for sign in "\\[]`*_<"})
    return f"![{alt}](/picture/{picture.name})"
