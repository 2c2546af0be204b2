"""What a photo is good for, before it is used."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from personare.serve.answers import JobAnswer
from personare.serve.bodies import body, problems
from personare.serve.files import Purpose
from personare.serve.house import caller_of, house_of
from personare.serve.jobs.placing import place_photo
from personare.serve.jobs.requests import PhotoRequest
from personare.serve.routes.jobs import described
from personare.serve.uploads import sent

router = APIRouter(prefix="/v1/photos", tags=["avatars"])
FILES: Mapping[str, Purpose | None] = {"portrait": "portrait"}


@router.post(
    "",
    status_code=202,
    response_model=JobAnswer,
    openapi_extra=body(PhotoRequest, FILES),
    responses=problems(400, 404, 413, 415, 422, 429),
)
async def check(request: Request) -> JSONResponse:
    """Look at a photo before it is prepared. A job does it, ahead of all others; `report.photo`
    holds size of the face, turn, sharpness, glasses, and advice. Where no face can be animated,
    the job fails and says why.
    """
    house, caller = house_of(request), caller_of(request)
    key = request.headers.get("idempotency-key")
    async with sent(request, FILES) as given:
        wanted = PhotoRequest.model_validate(given.with_uploads())
        row = await run_in_threadpool(place_photo, house, wanted, caller, key)
    answer = await run_in_threadpool(described, house, row)
    return JSONResponse(answer.model_dump(), 202, {"Location": f"/v1/jobs/{row.id}"})
