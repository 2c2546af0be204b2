"""Whole clips from the command line: real-time factor by length, first and second run, and peak
memory.

    python benchmarks/end_to_end.py [PORTRAIT VOICE]

Without arguments the bundled portrait speaks what espeak-ng reads. Figures are of one run on
one machine: compare ratios.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np

from personare.media.audio import open_speech
from personare.voice.tts import open_text

SECONDS = (10, 30, 120)


def main() -> None:
    arguments = sys.argv[1:]
    portrait = arguments[0] if arguments else str(files("personare") / "assets" / "portrait.jpg")
    speech = (
        open_speech(Path(arguments[1]))
        if len(arguments) > 1
        else open_text("My mother bought five purple shoes. " * 4, "en-us")
    )
    voice = np.concatenate([chunk.samples for chunk in speech.chunks()])
    with tempfile.TemporaryDirectory() as folder:
        print("seconds  run   prepare s  real-time factor  peak MB")
        for seconds in SECONDS:
            path = Path(folder) / f"{seconds}.wav"
            write_wav(path, np.resize(voice, seconds * 16000))
            for run in ("cold", "warm"):
                report = speak(portrait, path, Path(folder), refresh=run == "cold")
                prepared = sum(report["timings"][stage] for stage in report["cache"]["stages"])
                print(
                    f"{seconds:7d}  {run}  {prepared:9.3f}  {report['realtime_factor']:16.2f}  "
                    f"{report['peak_memory_mb']:7.0f}"
                )


def speak(portrait: str, voice: Path, folder: Path, *, refresh: bool) -> dict:
    """The report of one `personare speak` in a process of its own."""
    options = ["-o", folder / "clip.mp4", "--cache-dir", folder / "features", "--json"] + (
        ["--refresh"] if refresh else []
    )
    command = [sys.executable, "-m", "personare", "speak", portrait, voice, "--no-clip-cache", *options]
    return json.loads(
        subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    )


def write_wav(path: Path, samples: np.ndarray) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
