"""Small template videos, made as tests need them."""

from __future__ import annotations

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
    """uint8 [H, W, 3] pictures as a video. times: in milliseconds, one per picture, for uneven ones. codec libx264rgb with
    crf 0 keeps every byte."""
    with av.open(str(path), "w") as container:
        stream = None
        for i, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(
                    codec, rate=Fraction(fps), options=options or {"crf": "0", "preset": "ultrafast", "bf": "2"}
                )
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv420p"
                stream.gop_size = key_every
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, 1000)
                if quarter_turns:
                    stream.metadata["rotate"] = str(90 * quarter_turns)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return path


def numbered(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Noise of which every picture is known by its bytes."""
    return list(np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8))


def moved_portrait(count: int, size: tuple[int, int] = (256, 256), swing_px: float = 6.0, zoom: float = 0.03) -> list[np.ndarray]:
    """The bundled portrait, swaying and breathing: uint8 [H, W, 3] pictures of one face."""
    portrait = read_image(PORTRAIT)
    height, width = size
    scale = max(height, width) / len(portrait)
    pictures = []
    for i in range(count):
        phase = 2 * np.pi * i / 24
        here = scale * (1 + zoom * np.sin(phase))
        x, y = width / 2 + swing_px * np.cos(phase), height / 2 + swing_px / 2 * np.sin(phase)
        matrix = np.array([[here, 0, x - here * 256], [0, here, y - here * 256]])
        pictures.append(cv2.warpAffine(portrait, matrix, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE))
    return pictures
