"""What making a clip cost: the report of `speak --json`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """What was made and what it cost.

    timings: seconds of each preparation stage that was computed or read, of "perform" (voice to frames), of the rooms inside it
    where the engine tells them ("drive", "motion", "render", "compose"; rooms that work side by side may add up to more), of
    "write" (waiting for the encoder and the file) and "total". realtime_factor: seconds of clip made per second of
    perform + write (preparation not counted); above 1 is faster than real time. peak_memory_mb: of the whole process, None
    where the system does not tell.
    """

    output: str
    engine: str
    avatar: str
    frames: int
    fps: float
    width: int
    height: int
    audio_seconds: float
    timings: Mapping[str, float]
    cache: Mapping[str, Any]
    realtime_factor: float
    peak_memory_mb: float | None


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process in MB (10^6 bytes), None where the system does not tell.

    Linux is asked for the peak of this program's own memory: getrusage there remembers that of the process which started it.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        peak_kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        return round(int(peak_kb) * 1024 / 1e6, 1)
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)
