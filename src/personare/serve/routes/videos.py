"""Clips in the shape of OpenAI's videos API, for programs that speak it already. OpenAI calls
that API deprecated: /v1/jobs is the one to begin with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

from personare.serve.answers import Character, Deleted, Video, VideoList, video
from personare.serve.bodies import body, problems
from personare.serve.files import Purpose
from personare.serve.house import House, caller_of, house_of
from personare.serve.jobs.content import content_of
from personare.serve.jobs.placing import place_avatar, place_clip
from personare.serve.jobs.requests import AvatarRequest, ClipRequest, ready_engine
from personare.serve.jobs.store import Row
from personare.serve.jobs.stream import events_of
from personare.serve.problems import Problem
from personare.serve.routes import avatars, jobs
from personare.serve.uploads import sent
from personare.studio.studio import Studio

router = APIRouter(prefix="/v1/videos", tags=["OpenAI's shape"])
VideoId = Annotated[str, Path(max_length=64)]
FILES: Mapping[str, Purpose | None] = {**jobs.FILES, "input_reference": None, "audio": "speech"}
CHARACTER_FILES: Mapping[str, Purpose | None] = {"video": "portrait", "portrait": "portrait"}
_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})")
_MEANINGLESS = ("seconds",)
"""The voice decides how long a clip is."""


class VideoRequest(BaseModel):
    """As videos.create sends it; further fields of a job (POST /v1/jobs) may come with it."""

    prompt: str = Field("", description="the text to be spoken, unless a sound is given")
    model: str | None = Field(None, description="which engine; none: the avatar's own, or the default")
    size: str | None = Field(None, description="as 512x512, for engines with the option size")
    seconds: str | None = Field(None, description="ignored: the voice decides")
    avatar: str | None = Field(None, description="name of an avatar")


class CharacterRequest(BaseModel):
    """As videos.create_character sends it."""

    name: str = Field(description="of the avatar: small letters, digits, - and _")


@router.post("", openapi_extra=body(VideoRequest, FILES), responses=problems(413, 415, 422, 429, 503))
async def create(request: Request) -> Video:
    """Ask for a clip."""
    house, caller = house_of(request), caller_of(request)
    key = request.headers.get("idempotency-key")
    async with sent(request, FILES) as given:
        wanted = await run_in_threadpool(as_clip, given.with_uploads(), house.studio)
        row = await run_in_threadpool(place_clip, house, wanted, caller, key)
    return video(row, house.settings.keep_hours)


@router.get("", responses=problems(404))
def listed(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str, Query(max_length=64)] = "",
    order: Literal["asc", "desc"] = "desc",
) -> VideoList:
    """Clips of this caller, the newest first."""
    house = house_of(request)
    rows, more = house.jobs.page(
        caller_of(request), limit=limit, after=after, ascending=order == "asc", kind="clip"
    )
    ends = (rows[0].id, rows[-1].id) if rows else (None, None)
    data = [video(row, house.settings.keep_hours) for row in rows]
    return VideoList(data=data, first_id=ends[0], last_id=ends[1], has_more=more)


@router.post(
    "/characters", openapi_extra=body(CharacterRequest, CHARACTER_FILES), responses=problems(409, 422)
)
async def create_character(request: Request) -> Character:
    """Prepare an avatar."""
    house, caller = house_of(request), caller_of(request)
    key = request.headers.get("idempotency-key")
    async with sent(request, CHARACTER_FILES) as given:
        fields = given.with_uploads()
        if "video" in fields:
            fields["portrait"] = fields.pop("video")
        wanted = AvatarRequest.model_validate(fields)
        row = await run_in_threadpool(place_avatar, house, wanted, caller, key)
    return Character(id=wanted.name, created_at=int(row.created), name=wanted.name)


@router.get("/characters/{name}", responses=problems(404))
def character(request: Request, name: Annotated[str, Path(max_length=200)]) -> Character:
    """About an avatar."""
    answer = avatars.described(house_of(request), caller_of(request), name)
    return Character(id=name, created_at=answer.created_at, name=name)


@router.get("/{video_id}", responses=problems(404))
def one(request: Request, video_id: VideoId) -> Video:
    """How far a clip is."""
    house = house_of(request)
    return video(_clip(house, request, video_id), house.settings.keep_hours)


@router.delete("/{video_id}", responses=problems(404))
def delete(request: Request, video_id: VideoId) -> Deleted:
    """Forget a clip; one that is under way is cancelled."""
    house = house_of(request)
    house.remove(_clip(house, request, video_id))
    return Deleted(id=video_id, object="video.deleted")


@router.get("/{video_id}/content", response_class=FileResponse, responses=problems(404, 409))
def content(
    request: Request, video_id: VideoId, variant: Annotated[str, Query(max_length=32)] = "video"
) -> Response:
    """What was made: video, thumbnail, and here also curves and motion."""
    house = house_of(request)
    return content_of(house, _clip(house, request, video_id), variant)


@router.get("/{video_id}/events", response_class=StreamingResponse, responses=problems(404))
async def events(request: Request, video_id: VideoId) -> StreamingResponse:
    """The clip at each change, as server-sent events."""
    house = house_of(request)
    await run_in_threadpool(_clip, house, request, video_id)

    def state() -> tuple[Row, str]:
        row = _clip(house, request, video_id)
        return row, video(row, house.settings.keep_hours).model_dump_json()

    return jobs.streamed(events_of(house, video_id, state))


def as_clip(fields: Mapping[str, Any], studio: Studio) -> ClipRequest:
    """A request of OpenAI's shape in ours. Raises Problem, InvalidOption."""
    plain = {name: value for name, value in fields.items() if name not in _MEANINGLESS}
    prompt, model, size = (plain.pop(name, None) for name in ("prompt", "model", "size"))
    if "audio" in plain:
        plain["speech"] = plain.pop("audio")
    voice = plain.get("voice")
    if isinstance(voice, dict):  # as voice={"id": "en-gb"} of other endpoints of OpenAI's
        plain["voice"] = voice.get("id")
    if model is not None:
        plain.setdefault("engine", model)
    if prompt and not any(name in plain for name in ("speech", "text", "guide", "motion")):
        plain["text"] = prompt
    if isinstance(plain.get("track"), str):
        plain["track"] = int(plain["track"]) if plain["track"].isdecimal() else plain["track"]
    side = _side(size)
    if side is not None and isinstance(plain.get("options", {}), dict):
        engine = plain.get("engine")
        if engine is None and "avatar" in plain:
            engine = studio.shelf.load_manifest(str(plain["avatar"])).engine
        if "size" in ready_engine(engine, studio).Options.model_fields:
            plain["options"] = {"size": side, **plain.get("options", {})}
    return ClipRequest.model_validate(plain)


def _side(size: object) -> int | None:
    """The side of a square that fits into 720x1280; even, as encoders want it."""
    if size in (None, "", "auto"):
        return None
    found = _SIZE.fullmatch(str(size))
    if found is None:
        raise Problem(422, "size is not as 512x512", "WIDTHxHEIGHT")
    return min(int(found[1]), int(found[2])) // 2 * 2


def _clip(house: House, request: Request, video_id: str) -> Row:
    row = house.jobs.get(video_id, caller_of(request))
    if row.kind != "clip":
        raise Problem(404, "there is no such video", "see /v1/jobs")
    return row
