"""One process at a time computes a feature; the others wait, see how far it is, and take over
when it dies.

    FOLDER/locks/abcd....lock      held by the one that computes; the system lets go if it dies
    FOLDER/locks/abcd....json      what it says of itself twice a second: process, step, total

The one that computes says so from a thread of its own, whether or not its stage has news. One
that says nothing for 5 s is therefore not busy but stopped (Ctrl-Z, SIGSTOP, a machine asleep),
or on a disk that hangs. Those who wait are told so. After 60 s of silence they compute a stage
of seconds beside it: both come to the same bytes, and each appears whole. A stage of minutes is
waited for, because beside it the work of hours would be done twice; whoever is told can let the
stopped process go on, or end it.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personare.cache.checkpoint import Workspace
from personare.cache.recipe import Stage
from personare.types import Progress

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
SILENT_AFTER_SECONDS = 5.0
BESIDE_AFTER_SECONDS = 60.0
AGAIN_AFTER_SECONDS = 600.0
"""How often those who go on waiting are told again."""

_KEY = re.compile(r"[0-9a-f]{64}")
_MAX_WHAT = 200
_MAX_NOTICE_BYTES = 4096


class _Notice(BaseModel):
    """What the process that computes says of itself. beat: counts up while it lives."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pid: int
    host: str
    beat: int
    what: Annotated[str, Field(max_length=_MAX_WHAT)]
    done: int
    total: int | None


class Turns:
    """Whose turn it is to compute a key. warn: told of a folder where no lock can be made."""

    def __init__(self, folder: Path, warn: Callable[[OSError], None]) -> None:
        self._folder = folder
        self._warn = warn

    @contextmanager
    def alone(self, stage: Stage, key: str, workspace: Workspace) -> Iterator[bool]:
        """Wait until nobody else computes this key, then keep all others waiting; whether they
        do. They do not where no lock can be made, nor beside a stopped process.

        workspace: its progress is what the others are shown; its caller is told of the process
        that is waited for, and may raise Cancelled.
        """
        lock = self._locked(stage, key, workspace)
        if lock is None:
            yield False
            return
        try:
            with _Heartbeat(self._notice(key), workspace):
                yield True
        finally:
            _release(lock)

    @contextmanager
    def unless_taken(self, key: str) -> Iterator[bool]:
        """Keep everybody from computing a key for a moment; False if somebody is at it."""
        lock: FileLock = FileLock(self._lock(key))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
            free = True
        except (OSError, Timeout):
            free = False
        try:
            yield free
        finally:
            if free:
                _remove_notice(self._notice(key))
                _release(lock)

    def sweep(self) -> None:
        """Delete what killed processes left among the locks."""
        for key in sorted({path.stem for path in _entries(self._folder) if _KEY.fullmatch(path.stem)}):
            with self.unless_taken(key):
                pass

    def _locked(self, stage: Stage, key: str, workspace: Workspace) -> FileLock | None:
        lock: FileLock = FileLock(self._lock(key))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("waiting for another process that computes %s", stage.name)
                waiting = _Waiting(self._notice(key), stage, workspace.caller)
                return lock if waiting.acquire(lock) else None
        except OSError as error:
            self._warn(error)
            return None
        return lock

    def _lock(self, key: str) -> Path:
        return self._folder / f"{key}.lock"

    def _notice(self, key: str) -> Path:
        return self._folder / f"{key}.json"


class _Heartbeat:
    """Says twice a second, from a thread of its own, that this process lives and how far it is."""

    def __init__(self, path: Path, workspace: Workspace) -> None:
        self._path = path
        self._workspace = workspace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="personare-heartbeat", daemon=True)

    def __enter__(self) -> None:
        _remove_notice(self._path)  # of one that was killed
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        _remove_notice(self._path)

    def _run(self) -> None:
        beat = 0
        while not self._over.wait(BEAT_SECONDS):
            beat += 1
            what, done, total = self._workspace.told
            notice = _Notice(
                pid=os.getpid(),
                host=platform.node(),
                beat=beat,
                what=what[:_MAX_WHAT],
                done=done,
                total=total,
            )
            part = _part(self._path)
            with suppress(OSError):  # nobody is the worse for it: they wait all the same
                part.write_text(notice.model_dump_json(), encoding="utf-8")
                part.replace(self._path)


class _Waiting:
    """Waits for a lock and tells what its holder says, or that it says nothing."""

    def __init__(self, notice: Path, stage: Stage, progress: Progress) -> None:
        self._path = notice
        self._stage = stage
        self._progress = progress
        self._notice: _Notice | None = None
        self._silent_seconds = 0.0
        self._warned_at_seconds = 0.0

    def acquire(self, lock: FileLock) -> bool:
        """Whether the lock was had in the end; False to compute beside the one that holds it."""
        looked_at = time.monotonic()
        while True:
            with suppress(Timeout):
                lock.acquire(timeout=BEAT_SECONDS)
                return True
            now = time.monotonic()
            # Much more than one look at a time means that this process was stopped as well.
            self._look(min(now - looked_at, 2 * BEAT_SECONDS))
            looked_at = now
            if self._stage.cost == "seconds" and self._silent_seconds >= BESIDE_AFTER_SECONDS:
                log.warning("%s is computed here as well", self._stage.name)
                return False

    def _look(self, passed_seconds: float) -> None:
        notice = _read(self._path)
        if notice is not None and notice != self._notice:
            self._notice, self._silent_seconds, self._warned_at_seconds = notice, 0.0, 0.0
        else:
            self._silent_seconds += passed_seconds
        silent = self._silent_seconds >= SILENT_AFTER_SECONDS
        self._tell(f", silent for {self._silent_seconds:.0f} s" if silent else "")
        if silent and (
            not self._warned_at_seconds
            or self._silent_seconds - self._warned_at_seconds >= AGAIN_AFTER_SECONDS
        ):
            self._warned_at_seconds = self._silent_seconds
            log.warning(
                "another process%s is preparing %s and has said nothing for %.0f s; it may be stopped; %s",
                self._process(),
                self._stage.name,
                self._silent_seconds,
                self._advice(),
            )

    def _tell(self, silence: str) -> None:
        if self._notice is None:
            self._progress(f"{self._stage.name} (another process){silence}", 0, None)
        else:
            name, comma, figures = self._notice.what.partition(",")
            what = f"{name}{self._process()}{silence or comma + figures}"
            self._progress(what, self._notice.done, self._notice.total)

    def _advice(self) -> str:
        if self._stage.cost == "seconds":
            return f"after {BESIDE_AFTER_SECONDS:.0f} s this one computes it as well"
        if self._notice is None:
            return "waiting until it goes on or ends"
        pid = self._notice.pid
        return f"waiting until it goes on (kill -CONT {pid}) or ends (kill -KILL {pid} keeps its checkpoint)"

    def _process(self) -> str:
        if self._notice is None:
            return ""
        elsewhere = "" if self._notice.host == platform.node() else f" on {self._notice.host}"
        return f" (pid {self._notice.pid}{elsewhere})"


def _read(path: Path) -> _Notice | None:
    try:
        with path.open("rb") as file:
            return _Notice.model_validate_json(file.read(_MAX_NOTICE_BYTES))
    except (OSError, ValidationError):
        return None


def _release(lock: FileLock) -> None:
    with suppress(OSError):  # while it is held: whoever waits for this very file then starts over
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _remove_notice(path: Path) -> None:
    for each in (path, _part(path)):
        with suppress(OSError):
            each.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_suffix(".part")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
