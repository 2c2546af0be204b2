"""Small runs of mimicmotion, on pictures in which tests/conformance/people_standin.py says who
is seen.
"""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from personare.engines.mimicmotion import names
from personare.media.guide import open_guide
from personare.media.writer import ClipWriter

SMALL = {"resolution": 64, "steps": 2, "tile_size": 4, "tile_overlap": 2, "sample_stride": 1, "device": "cpu"}
SETTINGS = ("--set", *(f"{name}={value}" for name, value in SMALL.items()))
OF_THE_PICTURE = {names.PICTURE, names.PICTURE_POINTS, names.EMBEDDING, names.LATENT}


def scene(light: float = 0.5, kind: str = "one") -> np.ndarray:
    """A picture uint8 [120, 80, 3] with one, two or no people, so bright."""
    picture = np.full((120, 80, 3), 114, np.uint8)
    if kind != "none":
        picture[10:, 10:] = np.linspace(20, 220, 70).astype(np.uint8)[None, :, None] * light
        picture[..., 2] = np.minimum(
            picture[..., 2] * (1.0 if kind == "one" else 0.0) + (kind == "two") * 200, 255
        )
    return picture


def folder_of(path, pictures):
    """A folder of pictures, as a guide."""
    path.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(path / f"{number}.png"), picture[..., ::-1])
    return path


def five_pictures(path):
    """A video of half a second of one person, with a sound."""
    writer = ClipWriter(path, size=(120, 80), fps=Fraction(10), voice_rate=16000, voice_channels=1)
    with writer as clip:
        clip.write_voice(0.3 * np.sin(np.arange(8000, dtype=np.float32) / 20)[:, None])
        clip.write_frames(np.stack([scene(light) for light in (0.3, 0.5, 0.7, 0.9, 1.0)]))
    return path


def followed(engine, portrait, guide, **options):
    """Frames, and the performance with what it tells. engine: of `personare.open_engine`."""
    options = {**SMALL, **options}
    avatar = engine.prepare(portrait, **options)
    run = engine.engine.perform(
        avatar, engine.engine.read_options(options), guide=open_guide(guide), store=engine.studio.store
    )
    frames = np.concatenate([made.images for made in run.finish()])
    run.close()
    return frames, run
