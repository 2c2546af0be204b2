"""Avatars: portraits that are prepared once and kept by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from personare.serve.answers import AvatarAnswer, AvatarList, Deleted, avatar_answer
from personare.serve.bodies import body, problems
from personare.serve.files import Purpose
from personare.serve.house import House, caller_of, house_of
from personare.serve.jobs.placing import place_avatar
from personare.serve.jobs.requests import AvatarRequest
from personare.serve.uploads import sent

router = APIRouter(prefix="/v1/avatars", tags=["avatars"])
Name = Annotated[str, Path(max_length=200)]
FILES: Mapping[str, Purpose | None] = {"portrait": "portrait"}


@router.post(
    "",
    status_code=202,
    response_model=AvatarAnswer,
    openapi_extra=body(AvatarRequest, FILES),
    responses=problems(409, 413, 415, 422, 429, 503),
)
async def create(request: Request) -> JSONResponse:
    """Prepare a portrait and keep it under a name. `job` does it; the photo's report is in the
    avatar when it has ended.
    """
    house, caller = house_of(request), caller_of(request)
    key = request.headers.get("idempotency-key")
    async with sent(request, FILES) as given:
        wanted = AvatarRequest.model_validate(given.with_uploads())
        await run_in_threadpool(place_avatar, house, wanted, caller, key)
    answer = await run_in_threadpool(described, house, caller, wanted.name)
    return JSONResponse(answer.model_dump(), 202, {"Location": f"/v1/avatars/{wanted.name}"})


@router.get("")
def listed(request: Request) -> AvatarList:
    """All avatars that this caller may use."""
    house = house_of(request)
    notes = house.avatars.notes(caller_of(request))
    return AvatarList(
        data=[avatar_answer(name, house.avatars.ready(name), notes[name]) for name in sorted(notes)]
    )


@router.get("/{name}", responses=problems(404))
def one(request: Request, name: Name) -> AvatarAnswer:
    """About an avatar: ready or not, its options, consent, and what was seen of the photo."""
    return described(house_of(request), caller_of(request), name)


@router.get("/{name}/preview.jpg", response_class=Response, responses=problems(404))
def preview(request: Request, name: Name) -> Response:
    """The portrait as a small JPEG."""
    data = house_of(request).avatars.preview(name, caller_of(request))
    return Response(data, media_type="image/jpeg")


@router.delete("/{name}", responses=problems(404, 409))
def delete(request: Request, name: Name) -> Deleted:
    """Forget an avatar, or cancel its preparation. 409 while clips of it wait or are made."""
    house, caller = house_of(request), caller_of(request)
    kept = house.avatars.note(name, caller)
    if kept is None or kept.job is None or not house.cancel_job(kept.job):
        house.avatars.remove(name, caller)
    return Deleted(id=name, object="avatar.deleted")


def described(house: House, caller: str, name: str) -> AvatarAnswer:
    """An avatar as callers see it. Raises UnknownName."""
    kept = house.avatars.note(name, caller)
    manifest = house.avatars.ready(name)
    if kept is None and manifest is None:
        house.avatars.manifest(name, caller)  # which says what is wrong
    return avatar_answer(name, manifest, kept)
