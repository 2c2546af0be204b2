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
from personare.serve.jobs.store import Kind, Row, new_id, same
from personare.serve.problems import Problem

if TYPE_CHECKING:
    from personare.serve.house import House

KEY_LENGTH = 200


def place_clip(house: House, request: ClipRequest, caller: str, key: str | None = None) -> Row:
    """A clip that is wanted, as a job that waits; the same one again for the same key. Raises
    Problem, PersonareError.
    """
    plain = request.model_dump(mode="json", exclude_none=True)
    if (first := _first(house, "clip", plain, request.uploads, caller, key)) is not None:
        return first
    if request.avatar is not None:
        house.avatars.manifest(request.avatar, caller)
    engine = checked_clip(request, house.studio, house.settings.limits)
    place = request.avatar or engine.name
    return _placed(house, "clip", plain, request.uploads, caller, key, place, fills_machine(engine))


def place_avatar(house: House, request: AvatarRequest, caller: str, key: str | None = None) -> Row:
    """An avatar that is wanted, as a job that waits. Raises Problem (409: the name is taken),
    PersonareError.
    """
    plain = request.model_dump(mode="json")
    uploads = {} if request.portrait is None else {"portrait": request.portrait}
    if (first := _first(house, "avatar", plain, uploads, caller, key)) is not None:
        return first
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
    return _placed(
        house,
        "avatar",
        plain,
        uploads,
        caller,
        key,
        request.name,
        fills_machine(engine),
        reserve=request,
    )


def place_photo(house: House, request: PhotoRequest, caller: str, key: str | None = None) -> Row:
    """A photo that is to be looked at, as a job that waits. Raises Problem."""
    plain, uploads = request.model_dump(mode="json"), {"portrait": request.portrait}
    first = _first(house, "photo", plain, uploads, caller, key)
    return first or _placed(house, "photo", plain, uploads, caller, key, "", False)


def _first(
    house: House, kind: Kind, request: dict[str, Any], ids: Mapping[str, str], caller: str, key: str | None
) -> Row | None:
    """The job that came with this key, whatever has changed since: uploads and avatars that are
    gone, quotas. Raises Problem: 422 if it was another request; 404 if that cannot be told.
    """
    first = house.jobs.of_key(caller, checked_key(key))
    if first is None or (first.kind, first.request) == (kind, request):
        return first
    uploads = {field: house.files.get(upload_id, caller) for field, upload_id in ids.items()}
    return same(first, _digest(kind, request, uploads))


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
        with house.placing:  # of two with one key at once, the second finds the first
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
