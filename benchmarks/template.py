"""A template video under the puppet: tracking and rendering per picture, tremble before and
after smoothing, and how shut the mouth is: `python benchmarks/template.py VIDEO`. Times are of
the processor, not of the clock: other jobs do not count.
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

import personare
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.render import open_show
from personare.media.template import Template
from personare.motion import UNIT, FaceState
from personare.perception import track_face

RIGID, LIPS = [6, 168, 197, 4, 10, 151], [0, 17, 61, 291, 13, 14]
RENDERED = 150


def main() -> None:
    cv2.setNumThreads(1)
    path = Path(sys.argv[1])
    template = Template(path)
    print(
        f"{path.name}: {template.size[1]}x{template.size[0]}, {template.frames} pictures at "
        f"{float(template.fps):g} per second"
    )

    began = time.process_time()
    for _ in template:
        pass
    forward = 1e3 * (time.process_time() - began) / template.frames
    began = time.process_time()
    for _ in islice(template.cycle(template.frames), template.frames):
        pass
    backward = 1e3 * (time.process_time() - began) / template.frames
    print(f"decoding: {forward:.1f} ms a picture forwards, {backward:.1f} ms backwards")

    began = time.process_time()
    track = track_face(template, template.fps)
    tracking = 1e3 * (time.process_time() - began) / template.frames - forward
    unit_px = eye_distance(track.raw[track.present])
    print(
        f"tracking: {tracking:.1f} ms a picture; face in {track.present.mean():.0%}; eye distance "
        f"{unit_px:.0f} px"
    )
    for name, points in (("rigid points", RIGID), ("lips", LIPS)):
        before, after = tremble(track.raw[:, points]), tremble(track.landmarks[:, points])
        print(f"tremble of {name}: {before:.3f} px, smooth {after:.3f} px")

    avatar = personare.open_engine("puppet").prepare(path)
    print(f"opening between the lips of the video: {opening(track.landmarks):.3f} eye distances")
    for name, jaw in (("rest", 0.0), ("jawOpen 0.4", 0.4)):
        curves = np.zeros(len(UNIT), np.float32)
        curves[UNIT["jawOpen"]] = jaw
        state = FaceState(curves, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
        shown = open_show(avatar, PuppetOptions())
        began = time.process_time()
        frames = [shown.render(state) for _ in range(RENDERED)]
        rendering = 1e3 * (time.process_time() - began) / RENDERED
        shown.close()
        seen = opening(track_face(frames, template.fps).landmarks)
        print(f"{name}: {rendering:.1f} ms a frame with decoding; opening {seen:.3f}")


def eye_distance(landmarks: np.ndarray) -> float:
    return float(np.linalg.norm(landmarks[:, 33] - landmarks[:, 263], axis=1).mean())


def tremble(points: np.ndarray) -> float:
    """Median length of the second difference over time, pixels."""
    return float(np.median(np.linalg.norm((points[2:] - 2 * points[1:-1] + points[:-2])[..., :2], axis=2)))


def opening(landmarks: np.ndarray) -> float:
    """Median gap between the inner lips in eye distances."""
    return float(
        np.median(np.linalg.norm(landmarks[:, 13] - landmarks[:, 14], axis=1)) / eye_distance(landmarks)
    )


if __name__ == "__main__":
    main()
