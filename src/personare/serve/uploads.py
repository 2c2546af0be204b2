"""What comes with a POST: JSON, or a multipart form whose files become uploads."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

from personare.serve.files import FILE_ID, PURPOSES, SOUNDS, FileShelf, Purpose, Upload
from personare.serve.house import House, caller_of, house_of
from personare.serve.problems import Problem

MOST_FILES, MOST_FIELDS = 6, 64
_NESTED = re.compile(r"(?P<name>\w{1,64})\[(?P<key>\w{0,64})\]")
_BROKEN = (
    "OpenAI's SDK sends no files in extra_body: give the file as input_reference, or POST it to /v1/files "
    "and give its id"
)


@dataclass
class Sent:
    """What a caller sent.

    fields: as JSON has them; those of a form are text, `options` is an object (one field with
        JSON in it, or options[size]=256).
    uploads: field -> file that came in the form; it has no other use than this request.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def with_uploads(self) -> dict[str, Any]:
        """The fields, with the ids of files that came along."""
        return {**self.fields, **{name: upload.id for name, upload in self.uploads.items()}}


@asynccontextmanager
async def sent(request: Request, names: Mapping[str, Purpose | None]) -> AsyncIterator[Sent]:
    """What a request brings. The files that came in a form are gone when the block ends: a job
    has its own links to them.

    names: fields that may be files -> what for; None: its type decides (a sound is a speech,
        anything else a portrait). Raises Problem.
    """
    house, caller = house_of(request), caller_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        yield Sent(await _json(request))
        return
    if kind != "multipart/form-data":
        raise Problem(415, "the body is neither JSON nor a multipart form", "Content-Type: application/json")
    found = Sent()
    try:
        await _read_form(request, house, caller, names, found)
        yield found
    finally:
        for upload in found.uploads.values():
            await run_in_threadpool(house.files.remove, upload)


async def _json(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON", "one JSON object") from None
    if not isinstance(value, dict):
        raise Problem(422, "the body is not a JSON object", "one JSON object")
    return value


async def _read_form(
    request: Request,
    house: House,
    caller: str,
    names: Mapping[str, Purpose | None],
    found: Sent,
) -> None:
    most = house.settings.limits.json_bytes
    async with request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=most) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                if name not in names:
                    raise Problem(422, f"{name[:64]!r} is not a file here", f"files are: {', '.join(names)}")
                purpose = names[name] or purpose_of(value)
                target = purpose if names[name] is None else name
                if target in found.uploads or target in found.fields:
                    raise Problem(422, f"{target} is given twice", "give it once")
                found.uploads[target] = await keep(house.files, caller, purpose, value)
            else:
                _read_field(name, value, names, found)


async def keep(files: FileShelf, caller: str, purpose: Purpose, file: UploadFile) -> Upload:
    """An upload of a file that came in a form."""
    return await run_in_threadpool(files.keep, caller, purpose, file.filename or "", file.file)


def purpose_of(file: UploadFile) -> Purpose:
    """What a file is for, by its type and name: a sound is a speech, anything else a portrait."""
    is_sound = (file.content_type or "").startswith("audio/") or (file.filename or "").lower().endswith(
        SOUNDS
    )
    return "speech" if is_sound else "portrait"


def _read_field(name: str, value: str, names: Mapping[str, Purpose | None], found: Sent) -> None:
    nested = _NESTED.fullmatch(name)
    plain = nested["name"] if nested else name
    if plain in names or plain in PURPOSES:
        if nested or not FILE_ID.fullmatch(value):
            raise Problem(422, f"{plain} is neither a file nor the id of one", _BROKEN, code="broken-file")
        target = "portrait" if names.get(plain, "") is None else plain
        if target in found.fields or target in found.uploads:
            raise Problem(422, f"{target} is given twice", "give it once")
        found.fields[target] = value
        return
    if nested:
        inner = found.fields.setdefault(plain, {})
        if not isinstance(inner, dict) or nested["key"] in inner or not nested["key"]:
            raise Problem(422, f"{plain} is given twice, or is a list", "give it once")
        inner[nested["key"]] = value
        return
    if name in found.fields:
        raise Problem(422, f"{name[:64]} is given twice", "give it once")
    if name == "options":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Problem(422, "options is not JSON", 'as {"size": 256}, or options[size]=256') from None
        if not isinstance(value, dict):
            raise Problem(422, "options is not an object", 'as {"size": 256}')
    found.fields[name] = value
