"""Sound files, made as tests need them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 48000
Part = tuple[float, np.ndarray]
"""When a sound begins, and its samples [n] at RATE."""


def at_rate(samples: np.ndarray) -> np.ndarray:
    """16 kHz at RATE, by repetition: good enough for what is measured here."""
    return np.repeat(samples, RATE // 16000).astype(np.float32)


def write_tracks(
    path: Path, tracks: Sequence[Sequence[Part]], codec: str = "flac", picture_seconds: float = 0.0
) -> Path:
    """Sound tracks whose parts begin at given times; a video track of that length beside them."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=RATE, layout="mono") for _ in tracks]
        video = container.add_stream("libx264", rate=25) if picture_seconds else None
        if video is not None:
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
            for i in range(round(picture_seconds * 25)):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        for stream, parts in zip(streams, tracks, strict=True):
            size = stream.codec_context.frame_size or 960
            for begins, samples in parts:
                resampler = av.AudioResampler(stream.codec_context.format.name, "mono", RATE)
                for start in range(0, len(samples) - size + 1, size):
                    piece = np.ascontiguousarray(samples[None, start : start + size], np.float32)
                    frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                    frame.sample_rate = RATE
                    (frame,) = resampler.resample(frame)
                    frame.pts, frame.time_base = round(begins * RATE) + start, Fraction(1, RATE)
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def write_float(path: Path, samples: np.ndarray) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
