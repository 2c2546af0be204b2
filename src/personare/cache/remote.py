"""The tier behind the disk: features in a folder of any file system that fsspec knows
(`--cache-remote URL`).

    URL/ab/abcd....safetensors      the same files, by the same names, as on disk

What comes from there is untrusted: bounded in size, compared with its checksum, its key and its
stage, and only then put among the features. Nothing of it is ever executed. A remote that fails
or stalls is warned about once and then left alone for the rest of the process; nobody waits
longer than STALL_SECONDS for its next sign of life, nor LONGEST_SECONDS in all.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from personare.cache.feature_file import DamagedFeature, check_feature
from personare.errors import InvalidOption

log = logging.getLogger(__name__)

STALL_SECONDS = 5.0
LONGEST_SECONDS = 60.0
MAX_FEATURE_BYTES = 4 * 10**9
_BLOCK_BYTES = 1 << 20
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|:)")

Result = TypeVar("Result")
Alive = Callable[[], None]
"""alive(): called whenever the remote gave a sign of life; raises TimeoutError once nobody
waits any more.
"""


class RemoteTier:
    """Features in a folder of a remote file system. Thread-safe. Nothing is connected before
    the first use.

    url: what fsspec understands: file:///mnt/share, s3://bucket/features, sftp://...,
    memory://. Raises InvalidOption for a protocol that does not exist or whose package is not
    installed.
    """

    def __init__(
        self,
        url: str,
        *,
        stall_seconds: float = STALL_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
        max_feature_bytes: int = MAX_FEATURE_BYTES,
    ) -> None:
        self.url = url
        self._stall_seconds = stall_seconds
        self._longest_seconds = longest_seconds
        self._max_feature_bytes = max_feature_bytes
        self._filesystem, self._root = _open(url)
        self._dead = threading.Event()

    @property
    def dead(self) -> bool:
        """Whether it failed before and is left alone."""
        return self._dead.is_set()

    def download(self, key: str, stage: str, part: Path) -> bool:
        """Write the feature of this key to `part`; False if there is none, it is not sound, or
        the remote is dead.
        """
        path = self._path(key)

        def fetch(alive: Alive) -> bool:
            try:
                source = self._filesystem.open(path, "rb")
            except FileNotFoundError:
                return False
            with source, part.open("wb") as target:
                size = 0
                while block := source.read(_BLOCK_BYTES):
                    size += len(block)
                    if size > self._max_feature_bytes:
                        raise DamagedFeature(f"it is larger than {self._max_feature_bytes} bytes")
                    target.write(block)
                    alive()
            check_feature(part, key, stage)
            return True

        try:
            return bool(self._bounded(fetch, "read"))
        except DamagedFeature as damage:
            log.warning(
                "feature %s/%s is not used: %s", self.url, path.removeprefix(self._root).lstrip("/"), damage
            )
            return False

    def upload(self, key: str, file: Path) -> None:
        """Keep a copy of a feature file there, in place of what is there; it gets its name when
        it is complete, where the file system can rename (others show an object when it is
        complete).
        """
        path = self._path(key)

        def store(alive: Alive) -> None:
            with suppress(NotImplementedError):
                self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            renames = _renames(self._filesystem)
            target = f"{path}.{secrets.token_hex(6)}.part" if renames else path
            try:
                with file.open("rb") as source, self._filesystem.open(target, "wb") as copy:
                    while block := source.read(_BLOCK_BYTES):
                        copy.write(block)
                        alive()
                if renames:
                    self._filesystem.mv(target, path)
            except BaseException:
                if renames:
                    with suppress(Exception):
                        self._filesystem.rm_file(target)
                raise

        self._bounded(store, "written")

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key}.safetensors"

    def _bounded(self, action: Callable[[Alive], Result], what: str) -> Result | None:
        """The result of an action of the remote; None, and a warning once, if it fails or
        stalls. Raises DamagedFeature.
        """
        if self._dead.is_set():
            return None
        answer: list[Result] = []
        failure: list[Exception] = []
        given_up = threading.Event()
        began = last = time.monotonic()

        def alive() -> None:
            nonlocal last
            last = time.monotonic()
            if given_up.is_set():
                raise TimeoutError

        def run() -> None:
            try:
                answer.append(action(alive))
            except (
                Exception
            ) as error:  # whatever a file system of other people raises: it is told to the waiting thread
                failure.append(error)

        # A thread of its own, because no file system can be trusted to time out; a daemon, so
        # that none holds up the end.
        thread = threading.Thread(target=run, name="personare-remote", daemon=True)
        thread.start()
        while thread.is_alive():
            now = time.monotonic()
            left = min(last + self._stall_seconds, began + self._longest_seconds) - now
            if left <= 0:
                given_up.set()
                self._give_up(f"no answer within {now - began:.0f} s", what)
                return None
            thread.join(left)
        if failure and isinstance(failure[0], DamagedFeature):
            raise failure[0]
        if failure:
            reason = " ".join(str(failure[0]).split())[:200] or "no reason given"
            self._give_up(f"{type(failure[0]).__name__}: {reason}", what)
            return None
        return answer[0]

    def _give_up(self, reason: str, what: str) -> None:
        if not self._dead.is_set():
            self._dead.set()
            log.warning("remote cache %s cannot be %s (%s); going on without", self.url, what, reason)


def _open(url: str) -> tuple[Any, str]:
    import fsspec  # type: ignore[import-untyped]

    if not (_URL.match(url) or Path(url).is_absolute()):
        raise InvalidOption(
            f"--cache-remote {url!r} is not a URL", hint="give a URL: file:///mnt/share, s3://bucket/features"
        )
    try:
        filesystem, root = fsspec.url_to_fs(url)
    except ImportError as error:
        raise InvalidOption(
            f"--cache-remote {url}: {error}", hint="install the package that it names"
        ) from None
    except Exception as error:  # each file system reads its URL in its own way
        reason = " ".join(str(error).split())[:200]
        hint = "give a URL that fsspec knows: file:///mnt/share, s3://bucket/features"
        raise InvalidOption(f"--cache-remote {url!r} is not usable: {reason}", hint=hint) from None
    return filesystem, str(root).rstrip("/")


def _renames(filesystem: Any) -> bool:
    """Whether a file shows half-written under its name, and can be renamed: folders, sftp, smb;
    not object stores or memory.
    """
    protocols = {filesystem.protocol} if isinstance(filesystem.protocol, str) else set(filesystem.protocol)
    return bool(protocols & {"file", "local", "sftp", "ssh", "smb", "ftp", "hdfs", "webhdfs", "arrow_hdfs"})
