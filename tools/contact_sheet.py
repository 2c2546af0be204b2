"""Frames of a clip side by side, to look at what was made.

python tools/contact_sheet.py CLIP.mp4 -o sheet.png|jpg [--columns 8 --rows 3 --start 0.0
--seconds S --crop mouth]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from personare.media.video import VideoSource


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--start", type=float, default=0.0, help="seconds")
    parser.add_argument(
        "--seconds", type=float, default=None, help="length of the stretch shown; default: to the end"
    )
    parser.add_argument("--crop", choices=["none", "face", "mouth"], default="none")
    parser.add_argument("--width", type=int, default=190, help="of one picture in pixels")
    arguments = parser.parse_args()

    frames = [
        (f.seconds, f.image) for f in VideoSource(arguments.clip).frames() if f.seconds >= arguments.start
    ]
    if arguments.seconds is not None:
        frames = [(time, image) for time, image in frames if time < arguments.start + arguments.seconds]
    count = min(arguments.columns * arguments.rows, len(frames))
    chosen = [frames[round(i * (len(frames) - 1) / max(count - 1, 1))] for i in range(count)]
    top, bottom, left, right = _window(chosen[0][1], arguments.crop)
    tiles = []
    for time, image in chosen:
        part = image[top:bottom, left:right]
        height = round(arguments.width * part.shape[0] / part.shape[1])
        tile = cv2.resize(part, (arguments.width, height), interpolation=cv2.INTER_AREA)
        cv2.putText(
            tile, f"{float(time):.2f}", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 0), 1, cv2.LINE_AA
        )
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % arguments.columns)
    rows = [np.hstack(tiles[i : i + arguments.columns]) for i in range(0, len(tiles), arguments.columns)]
    Image.fromarray(np.vstack(rows)).save(arguments.output, quality=85)


def _window(image: np.ndarray, crop: str) -> tuple[int, int, int, int]:
    """Rows and columns to show: everything, the face, or the mouth of the first picture."""
    height, width = image.shape[:2]
    if crop == "none":
        return 0, height, 0, width
    from personare.perception.face import find_face

    face = find_face(image)
    points = face.landmarks[:, :2] if crop == "face" else face.landmarks[[61, 291, 0, 17, 152], :2]
    centre, half = (points.min(0) + points.max(0)) / 2, (points.max(0) - points.min(0)).max() * 0.65
    x0, y0 = np.maximum(centre - half, 0).astype(int)
    x1, y1 = np.minimum(centre + half, (width, height)).astype(int)
    return int(y0), int(y1), int(x0), int(x1)


if __name__ == "__main__":
    main()
