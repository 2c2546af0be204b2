"""Alive, ready, and figures."""

from __future__ import annotations

import shutil

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from personare.engines.engine import engine_entry_points
from personare.errors import PersonareError
from personare.serve.house import house_of
from personare.studio.studio import Studio

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: str = "ok"


class Ready(BaseModel):
    """engines: those that can run. warm: whether all that was to be loaded first is. place:
    whether another job may be asked for. disk: whether uploads have room.
    """

    ready: bool
    engines: list[str]
    warm: bool
    place: bool
    disk: bool
    disk_free_bytes: int


@router.get("/healthz")
async def healthz() -> Alive:
    """Alive: the process answers."""
    return Alive()


@router.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
def readyz(request: Request) -> JSONResponse:
    """Ready: 200 where an engine can run, what was to be loaded is, and a job has place."""
    house = house_of(request)
    engines = [name for name in engine_entry_points() if _can_run(name, house.studio)]
    counts = house.jobs.counts()
    place = counts.get("queued", 0) + counts.get("in_progress", 0) < house.settings.limits.waiting
    free = shutil.disk_usage(house.settings.data_folder).free
    disk = free >= house.settings.limits.free_bytes
    ready = Ready(
        ready=bool(engines) and place and disk and house.crew.is_warm,
        engines=engines,
        warm=house.crew.is_warm,
        place=place,
        disk=disk,
        disk_free_bytes=free,
    )
    return JSONResponse(ready.model_dump(), 200 if ready.ready else 503)


@router.get("/metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(house_of(request).figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _can_run(name: str, studio: Studio) -> bool:
    try:
        return not studio.open(name).missing()
    except PersonareError:
        return False
