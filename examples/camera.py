"""A portrait does what the face before a camera does, picture by picture.

    python examples/camera.py me.jpg --source 0 --seconds 20 -o mirrored.mp4

--source: number of a camera, or a video file. Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

import personare
from personare.media.writer import ClipWriter
from personare.motion import motion_of
from personare.types import Image


def pictures(source: str) -> Iterator[Image]:
    """uint8 [H, W, 3] RGB, as they come."""
    camera = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    try:
        while True:
            there, picture = camera.read()
            if not there:
                return
            yield np.ascontiguousarray(picture[..., ::-1])
    finally:
        camera.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("portrait", type=Path)
    parser.add_argument("--source", default="0")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("-o", "--output", type=Path, default=Path("mirrored.mp4"))
    given = parser.parse_args()

    fps = Fraction(given.fps)
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(given.portrait), fps=fps)
    mirror = personare.Mirror(fps)  # its first moments should show the face at rest
    with ClipWriter(given.output, size=performance.size, fps=fps, voice_rate=16000, voice_channels=1) as clip:
        for picture in itertools.islice(pictures(given.source), round(given.seconds * fps)):
            for frames in performance.show(motion_of([mirror.see(picture)], fps)):
                clip.write_frames(frames.images)
                clip.write_voice(np.zeros((round(16000 / fps), 1), np.float32))
    performance.close()
    print(f"{given.output}: done")


if __name__ == "__main__":
    main()
