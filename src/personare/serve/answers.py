"""What routes answer: our own shapes, and those of OpenAI's videos API."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from personare.serve.avatars import Kept
from personare.serve.files import Upload
from personare.serve.jobs.requests import CLIP, THUMBNAIL
from personare.serve.jobs.stages import doing
from personare.serve.jobs.store import Row, Status
from personare.shelf.manifest import AvatarManifest

HOUR = 3600.0


class Fault(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    hint: str = ""


class FileAnswer(BaseModel):
    """An upload."""

    id: str
    object: Literal["file"] = "file"
    purpose: str
    filename: str
    bytes: int
    created_at: int
    expires_at: int


class JobAnswer(BaseModel):
    """A job. progress: 0 to 100; 100 exactly with `completed`.

    stage: by its name; doing: the same in words. ahead: jobs before it in the queue.
    files: name -> where a result is. report: what was made and what it cost. request: what was
    asked for.
    """

    id: str
    object: Literal["job"] = "job"
    kind: Literal["clip", "avatar", "photo"]
    status: Status
    progress: int
    stage: str
    doing: str
    ahead: int
    created_at: int
    started_at: int | None
    completed_at: int | None
    expires_at: int | None
    attempts: int
    request: dict[str, Any]
    files: dict[str, str]
    report: dict[str, Any] | None
    error: Fault | None


class JobList(BaseModel):
    """Jobs, page by page: `after` is the last_id of the page before."""

    object: Literal["list"] = "list"
    data: list[JobAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class AvatarAnswer(BaseModel):
    """An avatar. status: "preparing" until its job has ended. photo: what was seen of the
    portrait, and advice.
    """

    name: str
    object: Literal["avatar"] = "avatar"
    status: Literal["preparing", "ready"]
    engine: str | None
    options: dict[str, Any]
    created_at: int
    consent: str
    consent_until: str | None
    job: str | None
    photo: dict[str, Any] | None


class AvatarList(BaseModel):
    object: Literal["list"] = "list"
    data: list[AvatarAnswer]


class FileList(BaseModel):
    object: Literal["list"] = "list"
    data: list[FileAnswer]


class Deleted(BaseModel):
    id: str
    object: str
    deleted: bool = True


class VideoError(BaseModel):
    code: str
    message: str


class Video(BaseModel):
    """A clip in the shape of OpenAI's videos API. A cancelled one has failed, there."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    seconds: str
    size: str
    prompt: str | None
    remixed_from_video_id: str | None = None
    error: VideoError | None


class VideoList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Character(BaseModel):
    """An avatar in the shape of OpenAI's characters."""

    id: str
    object: Literal["character"] = "character"
    created_at: int
    name: str


def file_answer(upload: Upload, keep_hours: float) -> FileAnswer:
    return FileAnswer(
        id=upload.id,
        purpose=upload.purpose,
        filename=upload.filename,
        bytes=upload.bytes,
        created_at=int(upload.created),
        expires_at=int(upload.created + keep_hours * HOUR),
    )


def results(row: Row) -> dict[str, str]:
    """Name of a result -> the file in the job's folder."""
    if row.kind != "clip" or row.status != "completed":
        return {}
    found = {"video": CLIP, "thumbnail": THUMBNAIL}
    if (curves := row.request.get("curves")) is not None:
        found["curves"] = f"curves.{curves}"
    if (motion := row.request.get("motion_out")) is not None:
        found["motion"] = f"motion.{motion}"
    return found


def job_answer(row: Row, keep_hours: float, ahead: int = 0) -> JobAnswer:
    return JobAnswer(
        id=row.id,
        kind=row.kind,
        status=row.status,
        progress=row.progress,
        stage=row.stage,
        doing=doing(row.stage),
        ahead=ahead,
        created_at=int(row.created),
        started_at=None if row.started is None else int(row.started),
        completed_at=None if row.done is None else int(row.done),
        expires_at=_expires(row, keep_hours),
        attempts=row.attempts,
        request=row.request,
        files={name: f"/v1/jobs/{row.id}/content?variant={name}" for name in results(row)},
        report=row.report,
        error=None if row.error is None else Fault(**row.error),
    )


def video(row: Row, keep_hours: float) -> Video:
    report = row.report or {}
    error = None if row.error is None else VideoError(code=row.error["code"], message=row.error["message"])
    if row.status == "cancelled":
        error = VideoError(code="cancelled", message="it was cancelled")
    return Video(
        id=row.id,
        model=report.get("engine") or row.request.get("engine") or row.place,
        status="failed" if row.status == "cancelled" else row.status,
        progress=row.progress,
        created_at=int(row.created),
        completed_at=None if row.done is None else int(row.done),
        expires_at=_expires(row, keep_hours),
        seconds=f"{report.get('audio_seconds', 0):g}",
        size=f"{report['width']}x{report['height']}" if report else "",
        prompt=row.request.get("text"),
        error=error,
    )


def avatar_answer(name: str, manifest: AvatarManifest | None, kept: Kept | None) -> AvatarAnswer:
    agreed = None if manifest is None else manifest.consent
    created = kept.created if kept is not None else manifest.created.timestamp() if manifest else 0.0
    return AvatarAnswer(
        name=name,
        status="preparing" if manifest is None else "ready",
        engine=None if manifest is None else manifest.engine,
        options={} if manifest is None else dict(manifest.options),
        created_at=int(created),
        consent=agreed.text if agreed is not None else "" if kept is None else kept.consent,
        consent_until=None if agreed is None or agreed.until is None else agreed.until.isoformat(),
        job=None if kept is None else kept.job,
        photo=None if kept is None else kept.photo,
    )


def _expires(row: Row, keep_hours: float) -> int | None:
    return None if row.done is None else int(row.done + keep_hours * HOUR)
