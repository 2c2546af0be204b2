"""Whether WebRTC comes through: a connection to this service that carries nothing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from personare.serve.bodies import problems
from personare.serve.house import house_of
from personare.serve.routes.sessions import OFFER, offer_of, transport_for

router = APIRouter(prefix="/v1/webrtc", tags=["sessions"])


class WebrtcAnswer(BaseModel):
    """ice_servers: URLs, for the caller's end. reason: why it cannot reach him; "" if it may."""

    ice_servers: list[str]
    reason: str


@router.get("")
async def webrtc(request: Request) -> WebrtcAnswer:
    """What to know before a connection is tried."""
    transport, reason = transport_for("webrtc", request)
    servers = house_of(request).live.ice_servers
    return WebrtcAnswer(ice_servers=list(servers), reason="" if transport == "webrtc" else reason)


@router.post(
    "",
    status_code=201,
    response_class=Response,
    openapi_extra=OFFER,
    responses=problems(415, 422, 503),
)
async def try_webrtc(request: Request) -> Response:
    """Try a connection without a session: an SDP offer in, the answer out. It carries nothing,
    and ends with the caller's end, or after 10 s.
    """
    answer = await house_of(request).live.try_webrtc(await offer_of(request))
    return Response(answer, 201, media_type="application/sdp")
