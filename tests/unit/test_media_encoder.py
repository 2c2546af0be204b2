"""Targets that fail: at every write, at the very end too, a clip ends with an error and never
waits.
"""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from personare.errors import UnwritableOutput
from personare.media.encoder import Sink
from personare.media.writer import ClipWriter

NOISE = np.random.default_rng(0).integers(0, 255, (24, 64, 64, 3), dtype=np.uint8)
VOICE = np.random.default_rng(1).normal(0, 0.1, (15360, 1)).astype(np.float32)


class FailsAt:
    """A target whose write number `k` fails in one of four ways."""

    def __init__(self, k: int, way: str) -> None:
        self.k, self.way, self.writes = k, way, 0

    def write(self, data: bytes) -> int:
        self.writes += 1
        if self.writes - 1 < self.k:
            return len(data)
        if self.way == "raises":
            raise OSError(28, "No space left on device")
        return {"nothing": 0, "negative": -1, "too much": len(data) + 1}[self.way]


def write_live(target: FailsAt, frames: np.ndarray = NOISE) -> None:
    with ClipWriter(target, size=(64, 64), fps=Fraction(25), voice_rate=16000) as writer:
        writer.write_voice(VOICE)
        writer.write_frames(frames)


@pytest.mark.parametrize("way", ["raises", "nothing", "negative", "too much"])
def test_a_live_clip_fails_at_every_write(way):
    counted = FailsAt(10**9, way)
    write_live(counted)
    assert counted.writes > 3
    for k in range(counted.writes):
        with pytest.raises(UnwritableOutput):
            write_live(FailsAt(k, way))
    write_live(FailsAt(counted.writes, way))


@pytest.mark.parametrize("frames", [0, 1, 8, 9, 24])
def test_a_live_clip_that_fails_when_it_is_ended(frames):
    """With few frames everything is still on its way when the block ends."""
    with pytest.raises(UnwritableOutput):
        write_live(FailsAt(0, "raises"), NOISE[:frames])


def test_a_sink_does_not_turn_round_for_ever():
    for way in ("nothing", "negative", "too much"):
        with pytest.raises(OSError, match="bytes"):
            Sink(FailsAt(0, way)).write(b"12345")
    taken = FailsAt(10**9, "nothing")
    assert Sink(taken).write(b"12345") == 5


_FILE_THAT_MAY_NOT_GROW = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from personare.errors import UnwritableOutput
from personare.media.writer import ClipWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
target = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), dtype=np.uint8)
voice = np.random.default_rng(1).normal(0, 0.1, (3840, 1)).astype(np.float32)
def write():
    with ClipWriter(target, size=(64, 64), fps=Fraction(25), voice_rate=16000) as writer:
        writer.write_voice(voice)
        writer.write_frames(noise)
write()
size = target.stat().st_size
target.unlink()
failed = 0
for limit in [*range(0, size, size // 40), size - 1]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write()
    except UnwritableOutput:
        failed += 1
    else:
        sys.exit(f"no error at {limit} of {size} bytes")
    if list(target.parent.iterdir()):
        sys.exit(f"something is left at {limit} of {size} bytes")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write()
print(failed)
"""


@pytest.mark.slow
def test_a_file_fails_wherever_the_disk_is_full(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", _FILE_THAT_MAY_NOT_GROW, str(tmp_path / "a.mp4")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 40
