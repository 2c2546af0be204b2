"""What a job has made, as a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from starlette.responses import FileResponse

from personare.ground.durable import replaced_when_complete
from personare.media.template import Template
from personare.serve.answers import results
from personare.serve.jobs.requests import CLIP
from personare.serve.jobs.store import Row
from personare.serve.problems import Problem

if TYPE_CHECKING:
    from personare.serve.house import House

_TYPES = {
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".npz": "application/octet-stream",
}


def content_of(house: House, row: Row, variant: str) -> FileResponse:
    """A result of a job. Raises Problem: 409 before it is completed, 404 for what there is
    not.
    """
    if row.status != "completed":
        raise Problem(
            409, f"this job is {row.status}, not completed", f"GET /v1/jobs/{row.id}/events tells when"
        )
    found = results(row)
    if variant not in found:
        hint = f"there are: {', '.join(found) or 'none'}"
        if variant in ("curves", "motion"):
            asked = "curves" if variant == "curves" else "motion_out"
            hint = f"ask for them with the job: {asked}"
        raise Problem(404, f"this job has no {variant}", hint)
    path = house.jobs.folder / row.id / found[variant]
    clip = path.with_name(CLIP)
    if variant == "thumbnail" and clip.exists() and not path.exists():
        _make_thumbnail(clip, path)
    if not path.exists():
        raise Problem(404, "this result is no longer there", "make it again")
    return FileResponse(
        path,
        media_type=_TYPES[path.suffix],
        filename=f"{row.id}{path.suffix}",
        content_disposition_type="inline",
    )


def _make_thumbnail(clip: Path, target: Path) -> None:
    picture = next(iter(Template(clip)))
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    with replaced_when_complete(target) as part:
        part.write_bytes(encoded.tobytes())
