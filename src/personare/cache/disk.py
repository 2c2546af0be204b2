"""The tier on disk: one file per feature, and a place for damaged ones.

FOLDER/ab/abcd....safetensors      features, by the first two digits of their key
FOLDER/quarantine/                 damaged files, each with its reason in a .txt beside it
FOLDER/locks/                      a file per feature being computed (waiting.py)
FOLDER/workspaces/                 checkpoints of stages of minutes (checkpoint.py)
FOLDER/index.sqlite3               see index.py

A file is never changed once it has its name: who has it mapped keeps reading what it was.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from personare.cache.feature_file import DamagedFeature, read_feature, read_stage, write_feature
from personare.cache.keys import FileStamp
from personare.errors import CacheError
from personare.ground.durable import remove_abandoned_parts, replaced_when_complete
from personare.types import Feature

log = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{64}")
_FEATURE_FILE = re.compile(r"(?P<key>[0-9a-f]{64})\.safetensors")
_SHARD = re.compile(r"[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What can be told of a feature file without opening it. modified: seconds since the epoch."""

    bytes: int
    modified: float

    @classmethod
    def of(cls, status: os.stat_result) -> FileFacts:
        return cls(status.st_size, status.st_mtime)


class DiskTier:
    """Feature files in a folder. Writes raise OSError as the file system does; a damaged file
    reads as an absent one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._verified: dict[str, FileStamp] = {}

    def path(self, key: str) -> Path:
        """Where the feature of this key is kept. Raises CacheError for what is not a key."""
        if not _KEY.fullmatch(key):
            raise CacheError(f"{key!r} is not the key of a feature", hint="a key is 64 hexadecimal digits")
        return self.folder / key[:2] / f"{key}.safetensors"

    def read(self, key: str) -> tuple[Feature, str, FileFacts] | None:
        """Feature, stage name and file facts, or None if there is none or it is damaged (it is
        then quarantined).

        The checksum is compared when this process reads the file for the first time, and again
        if the file was replaced.
        """
        path = self.path(key)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                stamp = FileStamp.of(status)
                try:
                    feature, stage = read_feature(file, key, verify=self._verified.get(key) != stamp)
                except DamagedFeature as damage:
                    self._quarantine(key, str(damage), stamp)
                    return None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            log.warning("feature %s cannot be read: %s", path, error.strerror)
            return None
        self._verified[key] = stamp
        return feature, stage, FileFacts.of(status)

    def write(self, key: str, feature: Feature, stage: str) -> FileFacts:
        """Keep a `storable` feature; the file appears, or is replaced, only when it is complete
        and on the disk.
        """
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_when_complete(path) as part:
            write_feature(part, feature, key, stage)
        return FileFacts.of(path.stat())

    def remove(self, key: str) -> int:
        """Delete a feature; the bytes freed. Processes that have it mapped keep reading it
        (POSIX).
        """
        path = self.path(key)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        except OSError as error:
            log.warning("feature %s cannot be deleted: %s", path, error.strerror)
            return 0
        return size

    def facts(self, key: str) -> FileFacts | None:
        """Size and time of a feature's file without opening it, None if there is none."""
        with suppress(OSError):
            return FileFacts.of(self.path(key).stat())
        return None

    def stage(self, key: str) -> str | None:
        """The stage that made a feature, from its header; None if it is gone or damaged (it is
        then quarantined).
        """
        with suppress(OSError), self.path(key).open("rb") as file:
            try:
                return read_stage(file, key)
            except DamagedFeature as damage:
                self._quarantine(key, str(damage), FileStamp.of(os.fstat(file.fileno())))
        return None

    def scan(self) -> Iterator[tuple[str, FileFacts]]:
        """Every feature file by its name, unopened, in the order of keys. Parts that killed
        processes left are deleted.
        """
        for shard in self._shards():
            remove_abandoned_parts(shard)
            for entry in _sorted_entries(shard):
                match = _FEATURE_FILE.fullmatch(entry.name)
                if match and match["key"].startswith(shard.name):
                    with suppress(OSError):
                        yield match["key"], FileFacts.of(entry.stat())

    def damage(self, key: str) -> str | None:
        """Read and check a whole file, even one that was checked before: None if it is sound or
        gone, else what is wrong.

        A damaged file is quarantined; one that cannot be read is not.
        """
        try:
            with self.path(key).open("rb") as file:
                try:
                    read_feature(file, key, verify=True)
                except DamagedFeature as damage:
                    self._quarantine(key, str(damage), FileStamp.of(os.fstat(file.fileno())))
                    return str(damage)
        except FileNotFoundError:
            return None
        except OSError as error:
            return str(error.strerror)
        return None

    def quarantined(self) -> list[Path]:
        return [
            Path(entry.path)
            for entry in _sorted_entries(self._quarantine_folder)
            if _FEATURE_FILE.fullmatch(entry.name)
        ]

    def empty_quarantine(self) -> int:
        """Delete the damaged files; the bytes freed."""
        freed = 0
        for path in self.quarantined():
            with suppress(OSError):
                freed += path.stat().st_size
                path.unlink()
                path.with_suffix(".txt").unlink(missing_ok=True)
        return freed

    @property
    def _quarantine_folder(self) -> Path:
        return self.folder / "quarantine"

    def _shards(self) -> list[Path]:
        return [Path(entry.path) for entry in _sorted_entries(self.folder) if _SHARD.fullmatch(entry.name)]

    def _quarantine(self, key: str, reason: str, seen: FileStamp) -> None:
        path, target = self.path(key), self._quarantine_folder / self.path(key).name
        try:
            if path.stat().st_ino != seen.inode:
                return  # another process has put a new file in its place
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            target.with_suffix(".txt").write_text(f"{reason}\n", encoding="utf-8")
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning(
                "feature %s is damaged (%s) and cannot be moved away: %s", path, reason, error.strerror
            )
        else:
            log.warning(
                "feature %s is damaged (%s); it was moved to %s and will be computed again",
                path,
                reason,
                target,
            )


def _sorted_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []
