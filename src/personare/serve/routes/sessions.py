"""Live sessions: an avatar that idles, speaks as the voice comes, and stops at a word."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal, Self

from fastapi import APIRouter, Path, Query, Request, WebSocket
from pydantic import BaseModel, Field, JsonValue, model_validator
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from personare.errors import UnknownName
from personare.serve.answers import Deleted
from personare.serve.bodies import problems
from personare.serve.house import House, caller_of, house_of
from personare.serve.jobs.requests import FileId, ready_engine, refuse_files, refuse_paths
from personare.serve.live.opened import Wanted, check_live
from personare.serve.live.place import UNWATCHED_SECONDS, Place
from personare.serve.live.socket import serve_socket
from personare.serve.live.wire import Media, Say
from personare.serve.problems import Problem
from personare.studio.checked import CheckedModel

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])
SessionId = Annotated[str, Path(max_length=64)]
Token = Annotated[str, Query(max_length=64)]
Transport = Literal["websocket", "webrtc", "mp4"]
OFFER = {"requestBody": {"required": True, "content": {"application/sdp": {"schema": {"type": "string"}}}}}
_LATER = {"Retry-After": f"{UNWATCHED_SECONDS:.0f}"}
_ASKED = "as asked for"
_NEAR = "on this network it is the steadiest, and keeps sound and picture closest"
_FAR = "over the internet, what is late matters less than what is lost"
_STAYS = "WebRTC of this service does not leave its machine: it needs another --host, or TURN"
MEDIA: dict[str, Media | None] = {"mjpeg": "mjpeg", "fmp4": "fmp4", "sound": "sound", "none": None}
_WATCHED: dict[Transport, Media] = {"websocket": "mjpeg", "webrtc": "h264", "mp4": "fmp4"}
"""What a session is measured with, by its transport."""


class SessionRequest(CheckedModel):
    """A session that is wanted. Without an avatar the bundled portrait speaks."""

    WHAT: ClassVar[str] = "a session"

    avatar: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="name of an avatar; none: the bundled portrait"
    )
    engine: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="which engine animates; none: the avatar's own, or the default"
    )
    options: dict[str, JsonValue] = Field({}, description="options of the engine; see /v1/engines")
    guide: FileId | None = Field(None, description="upload: a video that `follow` plays")
    transport: Transport | Literal["auto"] = Field(
        "auto", description="how the page means to watch; auto: the answer says what suits it, and why"
    )

    @model_validator(mode="after")
    def _plain(self) -> Self:
        refuse_paths(self.options)
        return self


class SessionAnswer(BaseModel):
    """A session. ws, whep: where it is watched; the token is needed for both.

    latency_seconds: of voice before the first speaking picture. columns: names of the curves.
    reason: why this transport. connect_seconds: without a watcher it ends after so long.
    """

    id: str
    object: Literal["session"] = "session"
    token: str | None = None
    avatar: str | None
    engine: str
    size: tuple[int, int]
    fps: str
    generation: int
    latency_seconds: float
    columns: list[str]
    transport: Transport
    reason: str
    ws: str
    whep: str
    ice_servers: list[str]
    connect_seconds: int


class SessionList(BaseModel):
    object: Literal["list"] = "list"
    data: list[SessionAnswer]


class Interruption(BaseModel):
    """generation: the new one. utterance: what was being said, if anything was."""

    generation: int
    utterance: str | None


class Said(BaseModel):
    generation: int


@router.post("", status_code=201, response_model=SessionAnswer, responses=problems(404, 422, 429, 503))
async def create(request: Request, wanted: SessionRequest) -> JSONResponse:
    """Ask for a session; it is ready to be watched. 503 where no more fit, 429 where the key
    allows no more, both with Retry-After.
    """
    house, caller = house_of(request), caller_of(request)
    checked = await run_in_threadpool(_checked, house, caller, wanted)
    most = house.quota(caller).sessions
    if most is not None and house.live.count(caller) >= most:
        hint = "end one: DELETE /v1/sessions/ID"
        raise Problem(429, f"you have {most} sessions here", hint, code="quota", headers=_LATER)
    transport, reason = transport_for(wanted.transport, request)
    place = await house.live.create(replace(checked, media=_WATCHED[transport]), caller)
    answer = _answer(house, place, transport, reason, token=place.token)
    return JSONResponse(answer.model_dump(mode="json"), 201, {"Location": f"/v1/sessions/{place.id}"})


@router.get("")
async def listed(request: Request) -> SessionList:
    """The sessions of this caller."""
    house = house_of(request)
    found = house.live.of(caller_of(request))
    return SessionList(data=[_answer(house, place, *transport_for("auto", request)) for place in found])


@router.get("/{session_id}", responses=problems(404))
async def one(request: Request, session_id: SessionId) -> SessionAnswer:
    """One session."""
    return _answer(house_of(request), _mine(request, session_id), *transport_for("auto", request))


@router.delete("/{session_id}", responses=problems(404))
async def delete(request: Request, session_id: SessionId) -> Deleted:
    """End a session; whoever watches it is told."""
    _mine(request, session_id).close()
    return Deleted(id=session_id, object="session.deleted")


@router.post("/{session_id}/interrupt", responses=problems(404))
async def interrupt(request: Request, session_id: SessionId) -> Interruption:
    """Void what is said and what waits, at once."""
    interrupted = await _mine(request, session_id).interrupt()
    return Interruption(generation=interrupted.generation, utterance=interrupted.utterance)


@router.post("/{session_id}/say", status_code=202, responses=problems(404, 422))
async def say(request: Request, session_id: SessionId, wanted: Say) -> Said:
    """Say a text after what is said already."""
    place = _mine(request, session_id)
    await place.room()
    place.obey(wanted)
    return Said(generation=place.generation)


@router.websocket("/{session_id}/ws")
async def ws(socket: WebSocket, session_id: SessionId, token: Token = "", media: str = "mjpeg") -> None:
    """Messages both ways, and media. Close codes: 4404 no such session or token, 4408 too slow,
    unwatched or paused for too long, 4409 watched elsewhere, 4422 no such media.
    """
    await socket.accept()
    try:
        place = house_of(socket).live.find(session_id, token)
    except UnknownName:
        await socket.close(4404, "no such session, or another token")
        return
    if media not in MEDIA:
        await socket.close(4422, f"media is one of {', '.join(MEDIA)}")
        return
    await serve_socket(socket, place, MEDIA[media])


@router.post(
    "/{session_id}/whep",
    status_code=201,
    response_class=Response,
    openapi_extra=OFFER,
    responses=problems(404, 415, 422),
)
async def whep(request: Request, session_id: SessionId, token: Token = "") -> Response:
    """Watch over WebRTC: an SDP offer in, the answer out, with all candidates."""
    house = house_of(request)
    place = house.live.find(session_id, _token(request, token))
    peer, answer = await house.live.answer(place, await offer_of(request))
    location = f"/v1/sessions/{session_id}/whep/{peer}"
    headers = {"Location": location, "ETag": f'"{peer}"'}
    return Response(answer, 201, headers, "application/sdp")


@router.delete("/{session_id}/whep/{peer}", status_code=204, responses=problems(404))
async def hang_up(
    request: Request,
    session_id: SessionId,
    peer: Annotated[str, Path(max_length=32)],
    token: Token = "",
) -> Response:
    """End a WebRTC connection; the session waits for another one."""
    house = house_of(request)
    house.live.find(session_id, _token(request, token))
    house.live.hang_up(peer)
    return Response(status_code=204)


async def offer_of(request: Request) -> str:
    """The SDP offer that a request brings. Raises Problem."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/sdp":
        raise Problem(415, "the body is not an SDP offer", "Content-Type: application/sdp")
    return (await request.body()).decode("utf-8", "replace")


def _checked(house: House, caller: str, wanted: SessionRequest) -> Wanted:
    """As far as it can be known without opening anything. Raises Problem, PersonareError."""
    options: dict[str, Any] = dict(wanted.options)
    name, kept = wanted.engine, {}
    if wanted.avatar is not None:
        manifest = house.avatars.manifest(wanted.avatar, caller)
        if name not in (None, manifest.engine):
            raise Problem(422, f"this avatar was made for {manifest.engine}", "leave engine out")
        name, kept = manifest.engine, manifest.options
    engine = ready_engine(name, house.studio)
    refuse_files(options, engine)
    check_live(engine, engine.read_options({**kept, **options}))
    guide: FilePath | None = None
    if wanted.guide is not None:
        guide = house.files.path(house.files.get(wanted.guide, caller))
    return Wanted(wanted.avatar or "", engine.name, options, guide, badge=house.settings.badge)


def _mine(request: Request, session_id: str) -> Place:
    place = house_of(request).live.find(session_id)
    if place.caller != caller_of(request):
        raise UnknownName("there is no such session", hint="POST /v1/sessions makes one")
    return place


def _token(request: Request, given: str) -> str:
    """In the query, or as the bearer's, as WHEP players send it."""
    kind, _, bearer = request.headers.get("authorization", "").partition(" ")
    return given or (bearer.strip() if kind.lower() == "bearer" else "")


def transport_for(wanted: Transport | Literal["auto"], request: Request) -> tuple[Transport, str]:
    """What suits a caller, and why; never what cannot reach him."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return ("websocket", "the caller's address is not known") if wanted == "auto" else (wanted, _ASKED)
    is_near = address.is_loopback or address.is_private or address.is_link_local
    transport: Transport = wanted if wanted != "auto" else "websocket" if is_near else "webrtc"
    if transport == "webrtc" and not address.is_loopback and not house_of(request).live.reaches_far:
        return "websocket", _STAYS
    return transport, _ASKED if wanted != "auto" else _NEAR if is_near else _FAR


def _answer(
    house: House, place: Place, transport: Transport, reason: str, token: str | None = None
) -> SessionAnswer:
    there = f"/v1/sessions/{place.id}"
    return SessionAnswer(
        id=place.id,
        token=token,
        avatar=place.wanted.avatar or None,
        engine=place.wanted.engine,
        size=place.facts["size"],
        fps=place.facts["fps"],
        generation=place.generation,
        latency_seconds=place.facts["latency_seconds"],
        columns=place.facts["columns"],
        transport=transport,
        reason=reason,
        ws=f"{there}/ws",
        whep=f"{there}/whep",
        ice_servers=list(house.live.ice_servers),
        connect_seconds=round(UNWATCHED_SECONDS),
    )
