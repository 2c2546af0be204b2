"""The bytes of one file, fetched into a part that grows until it has them all.

A transfer that breaks is taken up where it ended. What a server may cost is bounded: it may not
send more than it promised, not crawl, and not break for ever.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path

from personare.errors import WeightsMismatch, WeightsMissing
from personare.types import Progress
from personare.weights.client import RemoteFile, TransferBroken, fetched, hub_address, unreachable

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""So often in a row a transfer may break without having brought LEAST_BYTES."""
MOST_BREAKS = 100
"""So often it may break in all; the next pull goes on."""
LEAST_BYTES = 1 << 16
PAUSE_SECONDS = 1.0
"""Before the second attempt; doubled before each further one."""
WINDOW_SECONDS = 30.0
LEAST_RATE = 1000.0
"""Bytes a second, over every window: slower is as good as never."""


class _Pace:
    """Watches that bytes come fast enough, over connections that break as well."""

    def __init__(self) -> None:
        self._began, self._came = time.monotonic(), 0

    def add(self, count: int) -> None:
        """Note bytes that came, or that none did. Raises WeightsMissing after a window in which
        too few came.
        """
        self._came += count
        took = time.monotonic() - self._began
        if took < WINDOW_SECONDS:
            return
        if self._came < LEAST_RATE * took:
            raise WeightsMissing(
                f"{hub_address()} sends less than {LEAST_RATE / 1000:g} kB a second",
                hint="try again later, or from another network; what was fetched is kept",
            )
        self._began, self._came = time.monotonic(), 0


def transfer(remote: RemoteFile, part: Path, name: str, progress: Progress) -> None:
    """Append to the part until it has all bytes of the file.

    Raises WeightsMissing if the hub cannot be reached or is too slow, WeightsMismatch if it
    sends more than it promised (the part is then removed), OSError as the file system does.
    """
    failures = breaks = 0
    pace = _Pace()
    if _size(part) > remote.size:
        part.unlink()
    while (have := _size(part)) < remote.size or not part.exists():
        try:
            _append(remote, part, have, name, progress, pace)
            reason = "the server ended early"
        except TransferBroken as broken:
            reason = str(broken)
        if (now := _size(part)) == remote.size and part.exists():
            break
        breaks += 1
        failures = 0 if now - have >= LEAST_BYTES else failures + 1
        log.info("%s: transfer broke at %d of %d bytes: %s", name, now, remote.size, reason)
        if failures >= ATTEMPTS or breaks >= MOST_BREAKS:
            raise unreachable(TransferBroken(reason))
        if failures:
            time.sleep(PAUSE_SECONDS * 2 ** (failures - 1))
        pace.add(0)


def _append(remote: RemoteFile, part: Path, have: int, name: str, progress: Progress, pace: _Pace) -> None:
    """One request for what is not there yet. Raises TransferBroken, WeightsError."""
    done = have
    with part.open("ab", buffering=0) as file, closing(fetched(remote, have)) as pieces:
        for piece in pieces:
            if piece is None:
                pace.add(0)
                continue
            position, block = piece
            if position != done:  # the server cannot continue
                file.truncate(position)
            done = position + len(block)
            if done > remote.size:
                break
            file.write(block)
            pace.add(len(block))
            progress(name, done, remote.size)
    if done > remote.size:
        part.unlink()
        raise WeightsMismatch(
            f"{name} is longer than the {remote.size} bytes that {hub_address()} promised; it was removed",
            hint="something between you and the hub changes files, or HF_ENDPOINT is no faithful mirror",
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
