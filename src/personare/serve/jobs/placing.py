"""A request becomes a row: checked, within quotas, its inputs linked into the job's folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from personare.cache.keys import canonical_json
from personare.serve.files import Upload
from personare.serve.jobs.requests import (
    AvatarRequest,
    ClipRequest,
    PhotoRequest,
    checked_clip,
    fills_machine,
    ready_engine,
    refuse_files,
)
from personare.serve.jobs.store import Kind, Row, new_id
from personare.serve.problems import Problem

if TYPE_CHECKING:
    from personare.serve.house import House

KEY_LENGTH = 200


def place_clip(house: House, request: ClipRequest, caller: str, key: str | None = None) -> Row:
    """A clip that is wanted, as a job that waits; the same one again for the same key. Raises
    Problem, PersonareError.
    """
    if request.avatar is not None:
        house.avatars.manifest(request.avatar, caller)
    engine = checked_clip(request, house.studio, house.settings.limits)
    place = request.avatar or engine.name
    plain = request.model_dump(mode="json", exclude_none=True)
    return _placed(house, "clip", plain, request.uploads, caller, key, place, fills_machine(engine))


def place_avatar(house: House, request: AvatarRequest, caller: str, key: str | None = None) -> Row:
    """An avatar that is wanted, as a job that waits. Raises Problem (409: the name is taken),
    PersonareError.
    """
    engine = ready_engine(request.engine, house.studio)
    refuse_files(request.options, engine)
    in_force = engine.read_options(request.options)
    if (engine.brings_portrait(in_force) is None) == (request.portrait is None):
        raise Problem(
            422,
            "an avatar needs a portrait"
            if request.portrait is None
            else "with these options the engine brings its own portrait",
            "give an upload as portrait" if request.portrait is None else "leave the portrait out",
        )
    uploads = {} if request.portrait is None else {"portrait": request.portrait}
    return _placed(
        house,
        "avatar",
        request.model_dump(mode="json"),
        uploads,
        caller,
        key,
        request.name,
        fills_machine(engine),
        reserve=request,
    )


def place_photo(house: House, request: PhotoRequest, caller: str, key: str | None = None) -> Row:
    """A photo that is to be looked at, as a job that waits. Raises Problem."""
    plain = request.model_dump(mode="json")
    return _placed(house, "photo", plain, {"portrait": request.portrait}, caller, key, "", False)


def _placed(
    house: House,
    kind: Kind,
    request: dict[str, Any],
    ids: Mapping[str, str],
    caller: str,
    key: str | None,
    place: str,
    fills: bool,
    reserve: AvatarRequest | None = None,
) -> Row:
    uploads = {field: house.files.get(upload_id, caller) for field, upload_id in ids.items()}
    inputs = {field: f"{field}{upload.suffix}" for field, upload in uploads.items()}
    house.check_room(caller)
    quota = house.quota(caller)
    row = Row(
        id=new_id(),
        kind=kind,
        caller=caller,
        status="queued",
        progress=0,
        stage="",
        created=time.time(),
        started=None,
        done=None,
        attempts=0,
        request=request,
        inputs=inputs,
        place=place,
        fills=fills,
        key=checked_key(key),
        digest=_digest(kind, request, uploads),
        report=None,
        error=None,
        bytes=sum(upload.bytes for upload in uploads.values()),
    )
    folder = house.jobs.folder / row.id
    try:
        _link_inputs(house, uploads, inputs, folder)
        if reserve is not None and house.jobs.of_key(caller, row.key) is None:
            house.avatars.reserve(reserve, caller, row.id)
        placed = house.jobs.add(row, house.settings.limits.waiting, quota.waiting, quota.jobs_a_day)
    except BaseException:
        house.avatars.release(row.id)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if placed.id != row.id:
        house.avatars.release(row.id)
        shutil.rmtree(folder, ignore_errors=True)
    else:
        house.crew.wake()
    return placed


def _link_inputs(
    house: House, uploads: Mapping[str, Upload], inputs: Mapping[str, str], folder: Path
) -> None:
    folder.mkdir()
    for field, upload in uploads.items():
        house.files.link(upload, folder / inputs[field])


def checked_key(key: str | None) -> str | None:
    """An Idempotency-Key. Raises Problem 422 for one that is none."""
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH or not key.isprintable():
        raise Problem(422, "this Idempotency-Key is empty or too long", f"{KEY_LENGTH} characters at most")
    return key


def _digest(kind: Kind, request: Mapping[str, Any], uploads: Mapping[str, Upload]) -> str:
    """Of what is asked for; files by their content, for each upload has another id."""
    contents = {field: upload.digest for field, upload in uploads.items()}
    return blake3(canonical_json({"kind": kind, **request, **contents}).encode("ascii")).hexdigest()
