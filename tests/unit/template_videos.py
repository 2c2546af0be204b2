"""Small template videos, made as tests need them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from personare.media.image import read_image
from tests.unit.puppet_avatars import PORTRAIT


def write_video(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    fps: Fraction | int = 25,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    key_every: int = 250,
    codec: str = "libx264rgb",
    quarter_turns: int = 0,
) -> Path:
    """uint8 [H, W, 3] pictures as a video. times: in milliseconds, one per picture, for uneven
    ones. codec libx264rgb with crf 0 keeps every byte. quarter_turns: counter-clockwise, that a
    player has to make.
    """
    with av.open(str(path), "w") as container:
        stream = None
        for i, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(
                    codec,
                    rate=Fraction(fps),
                    options=options or {"crf": "0", "preset": "ultrafast", "bf": "2"},
                )
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv420p"
                stream.gop_size = key_every
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, 1000)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    if quarter_turns:
        _mark_turned(path, quarter_turns)
    return path


def _mark_turned(path: Path, quarter_turns: int) -> None:
    """Write a rotation into the track header of an mp4, as phones do (ISO 14496-12, section
    8.3.2): counter-clockwise.
    """
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    cosine, sine = [(1, 0), (0, -1), (-1, 0), (0, 1)][quarter_turns % 4]
    values = [cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30]
    struct.pack_into(">9i", data, matrix, *values)
    path.write_bytes(data)


def numbered(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Noise of which every picture is known by its bytes."""
    return list(np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8))


FACE_MIDDLE = (240, 150)
"""Of the bundled portrait."""


def moved_portrait(
    count: int,
    size: tuple[int, int] = (256, 256),
    scale: float = 1.0,
    swing_px: float = 6.0,
    zoom: float = 0.03,
) -> list[np.ndarray]:
    """The bundled portrait around its face, swaying and breathing: uint8 [H, W, 3] pictures.
    Her outer eye corners are about 47 px * scale apart.
    """
    portrait = read_image(PORTRAIT)
    height, width = size
    pictures = []
    for i in range(count):
        phase = 2 * np.pi * i / 24
        here = scale * (1 + zoom * np.sin(phase))
        x, y = width / 2 + swing_px * np.cos(phase), height / 2 + swing_px / 2 * np.sin(phase)
        matrix = np.array([[here, 0, x - here * FACE_MIDDLE[0]], [0, here, y - here * FACE_MIDDLE[1]]])
        pictures.append(cv2.warpAffine(portrait, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))
    return pictures
