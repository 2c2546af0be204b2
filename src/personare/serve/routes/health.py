"""Alive, ready, and figures."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from personare.engines.engine import engine_entry_points, load_engine
from personare.errors import PersonareError
from personare.serve.house import house_of

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Alive: the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    """Ready: 200 where some engine can run, else 503."""
    house_of(request)
    ready = [name for name in engine_entry_points() if _is_ready(name)]
    return JSONResponse({"ready": bool(ready), "engines": ready}, 200 if ready else 503)


def _is_ready(name: str) -> bool:
    try:
        return not load_engine(name).missing()
    except PersonareError:
        return False
