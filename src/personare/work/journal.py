"""What is finished: a line per clip beside the outputs, written when the clip is complete.

A clip counts as finished if a line has its job's key and its file still has the digest of that
line. So neither a kill between clip and line, nor a torn last line, nor a clip that was changed
or deleted since can be taken for something it is not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from personare.errors import Busy, PersonareError, UnwritableOutput
from personare.media.local import open_local

JOURNAL = ".personare-batch.jsonl"
_MAX_LINE_BYTES = 1 << 16
_MAX_BYTES = 1 << 28
"""What is further back in a longer journal counts as not made."""


class Journal:
    """The journal of an output folder. digest: of a file's bytes, raises PersonareError if it
    cannot be read.
    """

    def __init__(self, folder: Path, digest: Callable[[Path], str]) -> None:
        self.path = folder / JOURNAL
        self._digest = digest
        self._finished = dict(self._read())

    def has(self, key: str, output: Path) -> bool:
        """Whether this very clip is there."""
        known = self._finished.get(output.name if output.parent == self.path.parent else str(output))
        try:
            return known is not None and known[0] == key and known[1] == self._digest(output)
        except PersonareError:
            return False

    def add(self, key: str, output: Path) -> None:
        """A clip is complete. Raises UnwritableOutput."""
        name = output.name if output.parent == self.path.parent else str(output)
        line = {"output": name, "key": key, "digest": self._digest(output)}
        try:
            with self.path.open("ab+") as file:
                if file.tell() and not self._ends_a_line():
                    file.write(b"\n")
                file.write(json.dumps(line).encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UnwritableOutput(
                f"{self.path} cannot be written: {error.strerror}", hint="check the folder and the disk"
            ) from None
        self._finished[name] = (key, line["digest"])

    def _read(self) -> Iterator[tuple[str, tuple[str, str]]]:
        try:
            if not self.path.lstat().st_size:
                return
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._unreadable(error) from None
        left = _MAX_BYTES
        with open_local(self.path) as file:
            while left > 0 and (line := self._line(file)):
                left -= len(line)
                try:
                    entry = json.loads(line)
                    yield str(entry["output"]), (str(entry["key"]), str(entry["digest"]))
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue  # a torn line: its clip is made again

    def _line(self, file: BinaryIO) -> bytes:
        try:
            return file.readline(_MAX_LINE_BYTES)
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> UnwritableOutput:
        return UnwritableOutput(f"{self.path} cannot be read: {error.strerror}", hint="check its permissions")

    def _ends_a_line(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one batch at a time writes into a folder. Raises Busy, UnwritableOutput."""
    lock = FileLock(folder / f"{JOURNAL}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(
            f"another batch is writing into {folder}", hint="wait for it, or choose another --output-dir"
        ) from None
    except OSError as error:
        raise UnwritableOutput(
            f"{folder} cannot be written: {error.strerror}", hint="choose another --output-dir"
        ) from None
    try:
        yield
    finally:
        lock.release()
