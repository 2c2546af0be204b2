"""Avatars as callers see them: those of the shelf, with who made them over HTTP, with which
consent, and what was seen of the photo.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from personare.errors import PersonareError, UnknownName
from personare.perception.portrait import portrait_template
from personare.serve.database import Database
from personare.serve.jobs.requests import AvatarRequest
from personare.serve.problems import Problem
from personare.shelf.manifest import AvatarManifest
from personare.studio.studio import Studio

_PREVIEW_PX, _PREVIEW_QUALITY = 512, 85


@dataclass(frozen=True, slots=True)
class Kept:
    """What is noted of an avatar that was made over HTTP. caller, consent: whose it is. job:
    that prepares it. photo: the report, when it is ready.
    """

    name: str
    caller: str
    job: str | None
    consent: str
    created: float
    photo: dict[str, Any] | None


class AvatarNotes:
    """Notes about avatars. Those of the shelf without a note belong to everybody."""

    def __init__(self, database: Database, studio: Studio) -> None:
        self._database, self._studio = database, studio

    def reserve(self, request: AvatarRequest, caller: str, job: str) -> None:
        """A name for an avatar that a job prepares. Raises Problem 409 if it is taken."""
        taken = Problem(409, f"there is an avatar named {request.name}", "another name, or DELETE it first")
        if self._manifest(request.name) is not None:
            raise taken
        try:
            self._database.rows(
                "insert into avatars values(?,?,?,?,?,null)",
                (request.name, caller, job, request.consent, time.time()),
            )
        except sqlite3.IntegrityError:
            raise taken from None

    def settle(self, name: str, job: str, photo: dict[str, Any] | None) -> None:
        """It is ready. photo: what was seen of it."""
        self._database.rows(
            "update avatars set photo=? where name=? and job=?", (json.dumps(photo), name, job)
        )

    def release(self, job: str) -> None:
        """It did not become anything: its name is free again."""
        self._database.rows("delete from avatars where job=?", (job,))

    def withdraw(self, name: str, job: str) -> None:
        """It is ready, but no longer wanted."""
        if self._database.rows("delete from avatars where name=? and job=? returning name", (name, job)):
            with suppress(UnknownName):
                self._studio.shelf.remove(name)

    def recover(self) -> None:
        """Names that were reserved for jobs which a killed server never wrote are free again."""
        for row in self._database.rows("select * from avatars where job not in (select id from jobs)"):
            if self._manifest(row["name"]) is None:
                self.release(row["job"])

    def note(self, name: str, caller: str) -> Kept | None:
        """What is noted of it. Raises UnknownName for that of another caller."""
        row = self._database.row("select * from avatars where name=?", (name,))
        if row is None:
            return None
        if row["caller"] != caller:
            raise UnknownName(f"there is no avatar named {name[:64]!r}", hint="see /v1/avatars")
        return _kept(row)

    def notes(self, caller: str) -> dict[str, Kept | None]:
        """Name -> note of every avatar that a caller may use, those under way as well."""
        rows = self._database.rows("select * from avatars")
        of_others = {row["name"] for row in rows if row["caller"] != caller}
        found: dict[str, Kept | None] = {
            manifest.name: None for manifest in self._studio.shelf.list() if manifest.name not in of_others
        }
        return found | {row["name"]: _kept(row) for row in rows if row["caller"] == caller}

    def manifest(self, name: str, caller: str) -> AvatarManifest:
        """A ready one that a caller may use. Raises UnknownName, InvalidOption, CacheError."""
        self.note(name, caller)
        return self._studio.shelf.load_manifest(name)

    def ready(self, name: str) -> AvatarManifest | None:
        """Its manifest; None if it is not ready."""
        return self._manifest(name)

    def remove(self, name: str, caller: str) -> str | None:
        """Forget it; the job that prepares it, if one does. Raises UnknownName."""
        kept = self.note(name, caller)
        if kept is None or self._manifest(name) is not None:
            self._studio.shelf.remove(name)
        self._database.rows("delete from avatars where name=?", (name,))
        return None if kept is None else kept.job

    def preview(self, name: str, caller: str) -> bytes:
        """A JPEG of the portrait, 512 px at most. Raises as `manifest`."""
        path = self._studio.shelf.portrait(self.manifest(name, caller))
        return _jpeg(path)

    def _manifest(self, name: str) -> AvatarManifest | None:
        try:
            return self._studio.shelf.load_manifest(name)
        except PersonareError:
            return None


def _jpeg(path: Path) -> bytes:
    picture = next(iter(portrait_template(path)))
    scale = min(1.0, _PREVIEW_PX / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _PREVIEW_QUALITY]
    )
    return encoded.tobytes()


def _kept(row: sqlite3.Row) -> Kept:
    photo = None if row["photo"] is None else json.loads(row["photo"])
    return Kept(row["name"], row["caller"], row["job"], row["consent"], row["created"], photo)
