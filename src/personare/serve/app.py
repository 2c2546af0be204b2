"""The application: what every request goes through, the routes, what starts and ends with it.

    Counted -> Doors (Host, Origin, key) -> CORS, if asked for -> Bodies (size, pace) -> routes

A new noun is a file in routes/ with a `router`, and a line in ROUTES.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from personare.serve.doors import Doors
from personare.serve.house import House
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
)
from personare.serve.settings import ServeSettings

ROUTES = (
    jobs.router,
    sessions.router,
    avatars.router,
    photos.router,
    files.router,
    engines.router,
    videos.router,
    health.router,
    page.router,
)


def create_app(settings: ServeSettings) -> FastAPI:
    """The service that settings describe. It starts with the application's lifespan."""
    house = House.of(settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        try:
            await house.start()
            yield
        finally:
            await house.close()

    app = FastAPI(
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
            allow_methods=["GET", "POST", "DELETE", "PATCH"],
            allow_headers=["authorization", "content-type", "idempotency-key"],
            expose_headers=["location", "etag", "retry-after"],
        )
    app.add_middleware(Doors, settings=settings)
    app.add_middleware(Counted, figures=house.figures)
    return app
