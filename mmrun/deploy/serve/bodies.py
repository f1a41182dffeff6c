"""Reads the bodies of requests within limits: JSON with rows, or a form with the cells and files of one row."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from mmrun.data import limits
from mmrun.deploy.serve.cells import ReadRow, read_rows
from mmrun.deploy.serve.problems import RequestError
from mmrun.deploy.serve.schema import Schema
from mmrun.deploy.serve.scratch import RequestFiles
from mmrun.deploy.serve.settings import MIB, Settings
from mmrun.errors import nearest

JSON, FORM = "application/json", "multipart/form-data"
LARGE = 1 << 18  # bytes of a body that another thread parses, so that other requests go on
JSON_MEND = 'send {"rows": [{COLUMN: cell, ...}, ...]}'


class BodyReader:
    """Reads bodies, and bounds the memory of all of them together.

    Args:
        settings: limits.
        schema: of the run.
        folder: for files while their request is answered.
    """

    def __init__(self, settings: Settings, schema: Schema, folder: Path) -> None:
        self._settings, self._schema, self._folder = settings, schema, folder
        self._held = 0  # bytes

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[list[ReadRow]]:
        """Yield the rows of a request; their files are removed when the context ends.

        Args:
            request: with a body that was not read.

        Raises:
            RequestError: the body is too large, too slow, or not what it says; or a row cannot be read.
        """
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (JSON, FORM):
            what = f"is {content_type!r}" if content_type else "is missing"
            raise RequestError(415, "header Content-Type", what, f"send {JSON}, or {FORM} for one row with files")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestError(415, "header Content-Encoding", "is not read", "send the body uncompressed")
        body = await self._read_bytes(request)
        with self._hold(len(body)), RequestFiles(self._folder) as files:
            form = await self._parse_form(request, body) if content_type == FORM else None
            if len(body) > LARGE:
                yield await asyncio.to_thread(self._read_rows, body, form, files)
            else:
                yield self._read_rows(body, form, files)

    def _read_rows(self, body: bytes, form: dict[str, object] | None, files: RequestFiles) -> list[ReadRow]:
        rows: list[object] = self._parse_json(body) if form is None else [form]
        return read_rows(self._schema, self._check_rows(rows), files)

    async def _read_bytes(self, request: Request) -> bytes:
        body = bytearray()
        if int(request.headers.get("content-length", 0)) > self._settings.max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._settings.max_body:
                        raise self._too_large()
                    if self._held + len(body) > self._settings.max_bodies:
                        raise RequestError(503, "body", "too many large requests at once", "send it again later", 1)
        except TimeoutError:
            what = f"did not arrive within {self._settings.body_seconds:g} s"
            raise RequestError(408, "body", what, "send a smaller body, or send it faster") from None
        except ClientDisconnect:
            raise RequestError(400, "body", "ended early", "send as many bytes as Content-Length says") from None
        return bytes(body)

    @contextmanager
    def _hold(self, size: int) -> Iterator[None]:
        """Count the bytes of a body while the context is open."""
        self._held += size
        try:
            yield
        finally:
            self._held -= size

    def _too_large(self) -> RequestError:
        limit = f"{self._settings.max_body // MIB} MiB" if self._settings.max_body >= MIB else "what is accepted"
        return RequestError(413, "body", f"is larger than {limit}", "send fewer rows or smaller files")

    def _parse_json(self, body: bytes) -> list[object]:
        try:
            document = limits.parse_json(body.decode())
        except UnicodeDecodeError as error:
            raise RequestError(400, "body", f"is not UTF-8 (byte {error.start})", "send JSON in UTF-8") from None
        except ValueError as error:
            raise RequestError(400, "body", f"is not JSON: {error}", JSON_MEND) from None
        if not isinstance(document, Mapping) or not isinstance(document.get("rows"), list):
            raise RequestError(422, "body", "is no object with a list of rows", JSON_MEND)
        for name in document:
            if name != "rows":
                raise RequestError(422, name, f"is not read{nearest(name, ['rows'])}", JSON_MEND)
        rows: list[object] = document["rows"]
        return rows

    async def _parse_form(self, request: Request, body: bytes) -> dict[str, object]:
        """Return the only row of a form."""
        messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            return next(messages)

        num_lists = sum(column.is_list for column in self._schema.fields.values())
        max_parts = len(self._schema.fields) + len(self._schema.targets) + num_lists * limits.MAX_ITEMS + 10
        replayed = Request(request.scope, receive)
        cells: dict[str, object] = {}
        try:
            form = await replayed.form(max_files=max_parts, max_fields=max_parts, max_part_size=limits.MAX_TEXT_BYTES)
            try:
                for name in form:
                    parts = [await self._read_part(part) for part in form.getlist(name)]
                    is_list = name in self._schema.fields and self._schema.fields[name].is_list
                    if len(parts) > 1 and not is_list:
                        raise RequestError(422, f"rows[0].{name}", "is given twice", "send it once")
                    cells[name] = parts if len(parts) > 1 else parts[0]
            finally:
                await form.close()
        except (MultiPartException, KeyError, UnicodeError) as error:
            raise _broken_form(error) from None
        except Exception as error:  # of FastAPI, with the message of the parser
            if isinstance(error, RequestError) or not hasattr(error, "detail"):
                raise
            raise _broken_form(error.detail) from None
        return cells

    async def _read_part(self, part: UploadFile | str) -> bytes | str:
        return await part.read() if isinstance(part, UploadFile) else part

    def _check_rows(self, rows: list[object]) -> list[object]:
        if not rows:
            raise RequestError(422, "rows", "is empty", "send at least one row")
        if len(rows) > self._settings.max_rows:
            what = f"has {len(rows):,} rows, more than {self._settings.max_rows:,}"
            raise RequestError(413, "rows", what, "send them in several requests")
        return rows


def _broken_form(reason: object) -> RequestError:
    return RequestError(400, "body", f"is no readable form: {reason}", f"send {FORM} as `curl -F NAME=@FILE` does")
