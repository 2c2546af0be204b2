"""Uploads."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from personare.serve.answers import Deleted, FileAnswer, FileList, file_answer
from personare.serve.bodies import problems
from personare.serve.files import PURPOSES
from personare.serve.house import caller_of, house_of
from personare.serve.problems import Problem
from personare.serve.uploads import keep, purpose_of

router = APIRouter(prefix="/v1/files", tags=["files"])
FileId = Annotated[str, Path(max_length=64)]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "purpose": {
                            "type": "string",
                            "enum": list(PURPOSES),
                            "description": "what for; none: a sound is a speech, anything else a portrait",
                        },
                    },
                }
            }
        },
    }
}


@router.post("", status_code=201, openapi_extra=_BODY, responses=problems(400, 413, 415, 422, 507))
async def upload(request: Request) -> FileAnswer:
    """Send a file; its id is what jobs and avatars name it by. Kept for a while only."""
    house, caller = house_of(request), caller_of(request)
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "the body is not a multipart form", "curl -F file=@me.jpg -F purpose=portrait")
    async with request.form(max_files=1, max_fields=4, max_part_size=4096) as form:
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise Problem(422, "there is no file in the form", "curl -F file=@me.jpg -F purpose=portrait")
        found = next((known for known in PURPOSES if known == purpose), None)
        if purpose is not None and found is None:
            raise Problem(422, "there is no such purpose", f"purposes are: {', '.join(PURPOSES)}")
        await run_in_threadpool(house.check_room, caller)
        kept = await keep(house.files, caller, found or purpose_of(file), file)
    return file_answer(kept, house.settings.keep_hours)


@router.get("")
def listed(request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> FileList:
    """The newest uploads."""
    house = house_of(request)
    hours = house.settings.keep_hours
    return FileList(data=[file_answer(file, hours) for file in house.files.page(caller_of(request), limit)])


@router.get("/{file_id}", responses=problems(404))
def one(request: Request, file_id: FileId) -> FileAnswer:
    """About an upload."""
    house = house_of(request)
    return file_answer(house.files.get(file_id, caller_of(request)), house.settings.keep_hours)


@router.delete("/{file_id}", responses=problems(404))
def delete(request: Request, file_id: FileId) -> Deleted:
    """Forget an upload. Jobs that were asked for keep what they need."""
    house = house_of(request)
    house.files.remove(house.files.get(file_id, caller_of(request)))
    return Deleted(id=file_id, object="file.deleted")
