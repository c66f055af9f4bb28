"""The application of the large uploads: no limits, and handlers that keep nothing."""

from __future__ import annotations

import asyncio
import zlib

from micropie import App, UploadedFile


class Root(App):
    async def ready(self) -> str:
        return "ready"

    async def upload(
        self, file: UploadedFile, before: str = "", after: str = ""
    ) -> dict[str, int | str]:
        """Gets its file when the form is read to its end, since `after` may follow."""
        return {"before": before, "after": after, **await self._read(file)}

    async def last(self, before: str, file: UploadedFile) -> dict[str, int | str]:
        """Runs while its file still arrives."""
        return {"before": before, **await self._read(file)}

    async def unread(self, file: UploadedFile) -> str:
        return "not read"

    async def nameless(self) -> str:
        """Does not even ask for a file."""
        return "not asked for"

    async def idle(self, file: UploadedFile) -> str:
        await file.read()
        return "read"

    async def waits(self, file: UploadedFile) -> str:
        """Never reads, and does not return either."""
        await asyncio.Event().wait()
        return "never"

    async def _read(self, file: UploadedFile) -> dict[str, int | str]:
        size, checksum = 0, 0
        async for chunk in file:
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
        return {"size": size, "crc32": checksum}


app = Root(max_body_size=None, max_upload_size=None)
