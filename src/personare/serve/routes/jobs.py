"""Jobs: clips that are wanted, and avatars under preparation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from personare.serve.answers import Deleted, JobAnswer, JobList, job_answer
from personare.serve.bodies import body, problems
from personare.serve.files import Purpose
from personare.serve.house import House, caller_of, house_of
from personare.serve.jobs.content import content_of
from personare.serve.jobs.placing import place_clip
from personare.serve.jobs.requests import ClipRequest
from personare.serve.jobs.store import Row
from personare.serve.jobs.stream import events_of
from personare.serve.uploads import sent

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
JobId = Annotated[str, Path(max_length=64)]
Variant = Literal["video", "thumbnail", "curves", "motion"]
FILES: Mapping[str, Purpose | None] = {
    "portrait": "portrait",
    "speech": "speech",
    "guide": "guide",
    "motion": "motion",
    "sound": "sound",
}


@router.post(
    "",
    status_code=202,
    response_model=JobAnswer,
    openapi_extra=body(ClipRequest, FILES),
    responses=problems(400, 404, 413, 415, 422, 429, 503),
)
async def create(request: Request) -> JSONResponse:
    """Ask for a clip. With an Idempotency-Key, asking again gives the same job."""
    house, caller = house_of(request), caller_of(request)
    key = request.headers.get("idempotency-key")
    async with sent(request, FILES) as given:
        wanted = ClipRequest.model_validate(given.with_uploads())
        row = await run_in_threadpool(place_clip, house, wanted, caller, key)
    answer = await run_in_threadpool(described, house, row)
    return JSONResponse(answer.model_dump(), 202, {"Location": f"/v1/jobs/{row.id}"})


@router.get("", responses=problems(404))
def listed(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str, Query(max_length=64)] = "",
    order: Literal["asc", "desc"] = "desc",
) -> JobList:
    """Jobs of this caller, the newest first."""
    house = house_of(request)
    rows, more = house.jobs.page(caller_of(request), limit=limit, after=after, ascending=order == "asc")
    ends = (rows[0].id, rows[-1].id) if rows else (None, None)
    data = [described(house, row) for row in rows]
    return JobList(data=data, first_id=ends[0], last_id=ends[1], has_more=more)


@router.get("/{job_id}", responses=problems(404))
def one(request: Request, job_id: JobId) -> JobAnswer:
    """How far a job is."""
    house = house_of(request)
    return described(house, house.jobs.get(job_id, caller_of(request)))


@router.post("/{job_id}/cancel", responses=problems(404, 409))
def cancel(request: Request, job_id: JobId) -> JobAnswer:
    """Stop a job; its worker is free within two seconds. 409 if it has ended."""
    house, caller = house_of(request), caller_of(request)
    house.cancel_open(house.jobs.get(job_id, caller))
    return described(house, house.jobs.get(job_id, caller))


@router.delete("/{job_id}", responses=problems(404))
def delete(request: Request, job_id: JobId) -> Deleted:
    """Forget a job with its files; one that has not ended is cancelled."""
    house = house_of(request)
    house.remove(house.jobs.get(job_id, caller_of(request)))
    return Deleted(id=job_id, object="job.deleted")


@router.get("/{job_id}/content", response_class=FileResponse, responses=problems(404, 409))
def content(request: Request, job_id: JobId, variant: Variant = "video") -> Response:
    """What was made: the clip, its first picture, curves or motion."""
    house = house_of(request)
    return content_of(house, house.jobs.get(job_id, caller_of(request)), variant)


@router.get("/{job_id}/events", response_class=StreamingResponse, responses=problems(404))
async def events(request: Request, job_id: JobId) -> StreamingResponse:
    """The job at each change, as server-sent events: `progress`, and `done` at its end."""
    house, caller = house_of(request), caller_of(request)
    await run_in_threadpool(house.jobs.get, job_id, caller)

    def state() -> tuple[Row, str]:
        row = house.jobs.get(job_id, caller)
        return row, described(house, row).model_dump_json()

    return streamed(events_of(house, job_id, state))


def described(house: House, row: Row) -> JobAnswer:
    """A job as callers see it."""
    ahead = house.jobs.ahead(row) if row.status == "queued" else 0
    return job_answer(row, house.settings.keep_hours, ahead)


def streamed(events: AsyncIterator[str]) -> StreamingResponse:
    """Server-sent events that no proxy holds back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)
