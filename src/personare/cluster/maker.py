"""In an actor: tasks are done, each about files in a folder of its own.

What is the user's own (avatars, marks) is this process's, in a scratch folder, and comes with
the parcels. Features and networks are the machine's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from personare.cluster.parcels import (
    Done,
    Get,
    Parcel,
    Put,
    SentAvatar,
    outputs,
    put_down,
    renamed,
    sent,
    unpack,
    written,
)
from personare.errors import Cancelled, PersonareError
from personare.ground.progress import cancellable
from personare.provenance.ledger import Ledger
from personare.provenance.settings import MarksSettings, write_marks_settings
from personare.shelf.archive import write_archive
from personare.shelf.home import home
from personare.shelf.manifest import with_digest
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.studio.transfer import import_avatar
from personare.types import Avatar
from personare.work.jobs import Job
from personare.work.making import make
from personare.work.queue import Ended
from personare.work.tasks import Creation, Step, Task

_PREFIX = "personare-actor-"


class Household:
    """A studio in a process that has no user: settings as they came, a scratch folder for what
    is somebody's own.
    """

    def __init__(self, settings: Settings, marks: MarksSettings) -> None:
        _sweep()
        self.scratch = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        features = home(settings.cache_dir).features
        os.environ["PERSONARE_HOME"] = str(self.scratch)
        write_marks_settings(marks)
        self.studio = Studio(settings.model_copy(update={"cache_dir": features}))
        self._here: dict[str, str] = {}

    def welcome(self, avatar: SentAvatar | None, get: Get) -> None:
        """Keep an avatar here, unless it is. Raises OSError, PersonareError."""
        if avatar is None or self._here.get(avatar.name) == avatar.digest:
            return
        archive = written(avatar.archive, self.scratch / "in.avatar", get)
        import_avatar(self.studio, archive, avatar.name, replace=True)
        archive.unlink()
        if avatar.options:
            self._lead_to_files(avatar, get)
        self._here[avatar.name] = avatar.digest

    def _lead_to_files(self, sent: SentAvatar, get: Get) -> None:
        """What its options name lies here now."""
        shelf = self.studio.shelf
        folder = Path(tempfile.mkdtemp(dir=self.scratch, prefix="options-"))
        manifest = shelf.load_manifest(sent.name)
        options = {**manifest.options, **put_down(sent.options, folder, get)}
        avatar = Avatar(manifest.engine, options, manifest.portrait, manifest.keys, {})
        portrait = shelf.portrait(manifest)
        shelf.save(sent.name, avatar, portrait, replace=True, consent=manifest.consent)

    def close(self) -> None:
        """Nothing is left of it but features."""
        self.studio.store.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


class Maker:
    """Does one task at a time; `told`, `stop` and `close` come from other threads meanwhile."""

    def __init__(self, settings: Settings, marks: MarksSettings, put: Put, get: Get) -> None:
        self.household = Household(settings, marks)
        self._put, self._get = put, get
        self._step: Step | None = None
        self._stopped = threading.Event()
        self._name = ""
        self._at_work = threading.Lock()
        self._leaving = False

    def make(self, parcel: Parcel) -> Done:
        """Do a task; whatever fails is told, not raised."""
        with self._at_work:
            self._name, self._step = parcel.task.name, None
            if self._leaving:
                return Done(unsent(parcel.task, Cancelled(f"{parcel.task.name} was cancelled")))
            self._stopped.clear()
            folder = Path(tempfile.mkdtemp(dir=self.household.scratch))
            try:
                return self._made(parcel, folder)
            except PersonareError as error:
                return Done(unsent(parcel.task, error))
            except OSError as error:
                what = f"{parcel.task.name}: {error.strerror or error}"
                hint = "is the disk of that machine full?"
                return Done(Ended(parcel.task, error=what, hint=hint, kind="UnwritableOutput"))
            finally:
                self._name = ""
                shutil.rmtree(folder, ignore_errors=True)

    def told(self) -> Step | None:
        """How far the task is."""
        return self._step

    def stop(self, name: str) -> None:
        """A task is not wanted any more."""
        if name == self._name:
            self._stopped.set()

    def close(self) -> None:
        """End at the task's next step; nothing half-written is left."""
        self._leaving = True
        self._stopped.set()
        with self._at_work:
            self.household.close()

    def _made(self, parcel: Parcel, folder: Path) -> Done:
        household = self.household
        household.welcome(parcel.avatar, self._get)
        task, there = unpack(parcel, folder, self._get)
        ended = make(task, household.studio, cancellable(self._note, self._stopped.is_set))
        mine = renamed(ended, parcel.task, there)
        if ended.error:
            return Done(mine)
        if isinstance(task, Job):
            noted = Ledger().noted(ended.report["marks"].get("id", ""))
            return Done(mine, outputs(task.order, self._put), noted)
        if isinstance(task, Creation) and isinstance(parcel.task, Creation):
            asked = {name: parcel.task.options[name] for name in parcel.options}
            return Done(mine, {"avatar": self._exported(task, folder, asked)})
        return Done(mine)

    def _exported(self, task: Creation, folder: Path, asked: Mapping[str, Any]) -> Any:
        """asked: options that name files, as they do where it was asked for."""
        shelf = self.household.studio.shelf
        manifest = shelf.load_manifest(task.avatar)
        manifest = with_digest(manifest.model_copy(update={"options": {**manifest.options, **asked}}))
        archive = folder / "out.avatar"
        write_archive(archive, manifest, shelf.portrait(manifest), {})
        shelf.remove(task.avatar)  # it is the caller's to keep
        return sent(archive, self._put)

    def _note(self, what: str, done: int, total: int | None) -> None:
        self._step = Step(what, done, total)


def unsent(task: Task, error: Exception) -> Ended:
    """A task that could not be sent."""
    if isinstance(error, PersonareError):
        return Ended(task, error=error.message, hint=error.hint, kind=type(error).__name__)
    reason = getattr(error, "strerror", None) or str(error)
    return Ended(task, error=f"{task.name}: {reason}", hint="check its files", kind="UnreadableMedia")


def _sweep(alive: Callable[[int], bool] | None = None) -> None:
    """Remove the folders of actors that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        number = path.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdigit() and not (alive or _is_alive)(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
