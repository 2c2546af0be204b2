"""What making a clip cost: the report of `speak --json`."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personare.cache.clips import ClipFacts
from personare.cache.run import Outcome
from personare.weights import resident


@dataclass(frozen=True, slots=True)
class Report:
    """What was made and what it cost.

    timings: seconds of each preparation stage that was computed or read, of "perform" (voice to
        frames), of the steps inside it where the engine tells them ("drive", "motion",
        "render", "compose"; steps that work side by side may add up to more), of "write"
        (waiting for the encoder and the file) and "total". A clip that was found finished has
        "hear" (the speech, once) and "copy" instead.
    cache: hits and misses among the stages, those that were "performed" (what is heard or
        watched, rather than prepared), and "clip": whether the whole clip was found
        ("hit"), made ("miss") or neither looked for nor kept ("off").
    realtime_factor: seconds of clip made per second of perform + write (preparation not
        counted), or of hearing and copying; above 1 is faster than real time.
    peak_memory_mb: of the whole process, None where the system does not tell.
    warnings: what should be told about the clip, a plain sentence each: a mouth that never
        opened, a voice that is too quiet, several faces to choose from, a portrait that may not
        be a person.
    marks: what the clip says of itself: "marks" on or off, "reason" if off, "id", "c2pa"
        ("signed", "development" or "off"), "label" and "cue", if there are any.
    resident_bytes: what networks hold in this process when the clip is done, on all devices;
        the next clip finds them.
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
    resident_bytes: int
    warnings: tuple[str, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        engine: str,
        avatar: str,
        output: str | Path,
        facts: ClipFacts,
        *,
        seconds: Mapping[str, float],
        stages: Mapping[str, Outcome],
        clip: str,
        working_seconds: float,
        marks: Mapping[str, str],
        performed: Collection[str] = (),
    ) -> Report:
        """The report of a clip with these facts. working_seconds: what the realtime factor is
        counted from.
        """
        return cls(
            output=str(output),
            engine=engine,
            avatar=avatar,
            **facts.model_dump(exclude={"created", "content"}),
            timings={name: round(value, 4) for name, value in seconds.items()},
            cache={
                "hits": list(stages.values()).count("hit"),
                "misses": list(stages.values()).count("miss"),
                "stages": dict(stages),
                "performed": list(performed),
                "clip": clip,
            },
            realtime_factor=round(facts.audio_seconds / working_seconds, 3),
            peak_memory_mb=peak_memory_mb(),
            resident_bytes=resident.resident_bytes(),
            marks=dict(marks),
        )


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process in MB (10^6 bytes), None where the system does not
    tell.

    Linux is asked for the peak of this program's own memory: getrusage there remembers that of
    the process which started it.
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
