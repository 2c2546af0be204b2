"""The application: what every request goes through, the routes, what starts and ends with it.

    Heads (HEAD as GET) -> Counted -> Doors (Host, Origin, key) -> CORS, if asked for
    -> Bodies (size, pace) -> routes

A new noun is a file in routes/ with a `router`, and a line in ROUTES.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from personare.serve.bodies import with_keys
from personare.serve.doors import OPEN, Doors
from personare.serve.heads import Heads
from personare.serve.house import Elsewhere, House
from personare.serve.limits import Bodies
from personare.serve.metrics import Counted
from personare.serve.problems import answer_with_problems
from personare.serve.routes import (
    avatars,
    engines,
    files,
    health,
    jobs,
    page,
    photos,
    sessions,
    videos,
    webrtc,
)
from personare.serve.settings import ServeSettings

ROUTES = (
    jobs.router,
    sessions.router,
    webrtc.router,
    avatars.router,
    photos.router,
    files.router,
    engines.router,
    videos.router,
    health.router,
    page.router,
)


class _Service(FastAPI):
    """Describes the API key as well: the doors look at it, not a route."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = with_keys(super().openapi(), OPEN)
        return self.openapi_schema


def create_app(settings: ServeSettings, elsewhere: Elsewhere | None = None) -> FastAPI:
    """The service that settings describe. It starts with the application's lifespan.
    elsewhere: who works for it, where it is not this machine.
    """
    house = House.of(settings, elsewhere)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        try:
            await house.start()
            yield
        finally:
            await house.close()

    app = _Service(
        title="personare",
        version=version("personare"),
        summary="A portrait and a voice become a talking person",
        lifespan=life,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.house = house
    answer_with_problems(app)
    for router in ROUTES:
        app.include_router(router)
    # the last one added is the first one that a request meets
    app.add_middleware(Bodies, limits=settings.limits)
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allow_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE", "PATCH"],
            allow_headers=["authorization", "content-type", "idempotency-key"],
            expose_headers=["location", "etag", "retry-after"],
        )
    app.add_middleware(Doors, settings=settings)
    app.add_middleware(Counted, figures=house.figures)
    app.add_middleware(Heads)
    return app
