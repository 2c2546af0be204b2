"""How a process of ours uses memory and threads.

Imports next to nothing: it stands before anything that takes time is imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ALLOCATOR_VARIABLE = "PERSONARE_ALLOCATOR"
"""Set to `system`, it leaves memory to the C library as that comes."""

_ONE_THREAD_VARIABLE = "OPENCV_FOR_THREADS_NUM"
_HUGE_PAGES_VARIABLE = "THP_MEM_ALLOC_ENABLE"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt(3)."""
_KEPT_BYTES = 1 << 30
"""So much free memory at its end the heap keeps; above, it is given back."""
_OLDER_MMAP_THRESHOLD = 1 << 25
"""The most that older C libraries take."""


def settle() -> None:
    """This process is ours alone, and begins: the command line, or a worker.

    OpenCV gets one thread: our steps work side by side, and its own threads would spin between
    its many small calls, a seventh of all processor time. Memory is kept, see `keep_memory`.
    """
    os.environ.setdefault(_ONE_THREAD_VARIABLE, "1")
    keep_memory()


def keep_memory() -> bool:
    """Keep memory that is freed for the next use, in large pages; whether that is so now.

    The C library maps every large array anew and gives it back, so that the system clears its
    pages one by one at each use. Networks on a processor make hundreds of such arrays a second.
    Only with glibc, and unless ALLOCATOR_VARIABLE says `system`; before torch is imported. It
    changes no number that is computed.
    """
    if os.environ.get(ALLOCATOR_VARIABLE, "").strip().lower() == "system" or not _has_glibc():
        return False
    import ctypes

    os.environ.setdefault(_HUGE_PAGES_VARIABLE, "1")  # torch: arrays of 2 MiB and more
    mallopt = ctypes.CDLL(None).mallopt
    mapped_above = any(mallopt(_MMAP_THRESHOLD, size) for size in (_KEPT_BYTES, _OLDER_MMAP_THRESHOLD))
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)) and mapped_above


def limit_memory(most: int | None, beside: int = 0) -> None:
    """What a damaged or hostile file makes a decoder ask for ends a process, not the machine.

    most: bytes that this one may have; None: as much as there is. beside: what it has already
    that does not count. (Not every system knows it.)
    """
    if most is None:
        return
    with suppress(ImportError, ValueError, OSError):
        import resource

        hardest = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (most + beside, hardest))


def data_bytes() -> int:
    """What `limit_memory` would count of this process now; 0 where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123  # as little as can be
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        return int(lines["VmData"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return 0


def _has_glibc() -> bool:
    try:
        return sys.platform == "linux" and (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False


class _Shared:
    """How many are at work in `one_thread`, and what was set before the first came."""

    lock = threading.Lock()
    inside = 0
    before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV works on the caller's thread alone inside; the last one out puts its setting back.

    Nothing is touched where the user's environment says how many threads OpenCV has, and where
    nobody has imported it.
    """
    cv2 = sys.modules.get("cv2")
    if cv2 is None or _ONE_THREAD_VARIABLE in os.environ:
        yield
        return
    with _Shared.lock:
        if not _Shared.inside:
            _Shared.before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _Shared.inside += 1
    try:
        yield
    finally:
        with _Shared.lock:
            _Shared.inside -= 1
            if not _Shared.inside:
                cv2.setNumThreads(_Shared.before)
