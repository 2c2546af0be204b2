"""How truly a guide is followed: clips that puppet itself makes, whose curves are known, are
watched; and guides of others are watched and drawn side by side with a portrait that follows.

    python benchmarks/follow.py --media FOLDER
    python benchmarks/follow.py --guides driving.mp4 --portrait me.jpg --sheets FOLDER

The table, per portrait over all its clips: Pearson's r of what was meant and what was seen, and
how far the head is off, in degrees (mean, and what 95 of 100 pictures are within). "brow
height" and "lips" are what the curves come to in the head: the rise of the brows' inner halves,
and how far the inner lips are apart as drawn. Times are of the processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

import personare
from personare.engines.puppet.draw.deform import pose
from personare.engines.puppet.drive import MouthDrive
from personare.engines.puppet.fit.guide import motion_of, watch
from personare.engines.puppet.fit.rig import Rig
from personare.engines.puppet.motion import FaceMotion
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.render import open_show
from personare.media.audio import open_speech
from personare.media.template import Template
from personare.motion import ARKIT, UNIT, FaceState, state_of
from personare.types import SAMPLE_RATE, Feature, Image

FPS = Fraction(25)
HEAD = [ARKIT.columns.index(name) for name in ("headYaw", "headPitch", "headRoll")]
BUNDLED = Path(str(files("personare") / "assets" / "portrait.jpg"))
PORTRAITS = ("presenter.jpg", "seated.jpg", "painting.png")
SPOKEN = (
    ("english-1.wav", 12, "neutral"),
    ("english-2.wav", 10, "happy"),
    ("english-3.wav", 8, "sad"),
    ("chinese-1.wav", 9, "surprised"),
    ("japanese-1.wav", 10, "angry"),
)
SWEEP_SECONDS = 15
BUMPS = {
    "eyeBlink": (1.0, 0.10, 0.04, 0.20, (1.2, 3.0, 4.5, 5.0, 7.7, 9.4, 11.1, 13.2)),
    "browInnerUp": (0.9, 0.3, 0.4, 0.4, (2.0, 8.0)),
    "browOuterUp": (0.8, 0.3, 0.4, 0.4, (2.0, 6.0)),
    "browDown": (0.9, 0.3, 0.5, 0.4, (4.0, 10.0)),
    "mouthSmile": (0.8, 0.4, 0.8, 0.4, (1.5, 7.0, 12.0)),
    "jawOpen": (0.6, 0.2, 0.2, 0.2, (3.0, 3.8, 9.0, 9.8, 11.3)),
    "mouthPucker": (0.9, 0.25, 0.3, 0.25, (4.6, 10.6)),
    "mouthFunnel": (0.8, 0.25, 0.3, 0.25, (5.6,)),
    "mouthFrown": (0.8, 0.3, 0.3, 0.3, (6.2,)),
}
"""Of the sweep, by hand: weight, seconds to rise, to stay and to fall, and when."""
HEAD_SWEEP = ((10, 5.0), (6, 3.7), (6, 4.3))
"""Degrees and period in seconds of yaw, pitch and roll."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--media", type=Path, help="folder of portraits and voices")
    parser.add_argument("--guides", type=Path, nargs="*", default=[], help="videos to be followed")
    parser.add_argument("--portrait", type=Path, default=BUNDLED, help="who follows them")
    parser.add_argument("--sheets", type=Path, help="folder for sheets of guide and portrait")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.media is not None:
        table([BUNDLED, *(given.media / name for name in PORTRAITS)], given.media)
    for guide in given.guides:
        follow(guide, given.portrait, given.sheets)


def table(portraits: list[Path], media: Path) -> None:
    clips = [sweep(), *(spoken(media / name, seconds, emotion) for name, seconds, emotion in SPOKEN)]
    for portrait in portraits:
        avatar = personare.open_engine("puppet").prepare(portrait)
        rig = Rig.from_feature(avatar.features["puppet.rig"])
        meant: dict[str, list[np.ndarray]] = {}
        seen: dict[str, list[np.ndarray]] = {}
        off: list[np.ndarray] = []
        drawing = watching = 0.0
        for clip in clips:
            show = open_show(avatar, PuppetOptions())
            began = time.process_time()
            pictures = [show.render(state) for state in clip]
            drawn = time.process_time()
            watched = watch(pictures, FPS)
            drawing, watching = drawing + drawn - began, watching + time.process_time() - drawn
            show.close()
            for measures, curves in (
                (meant, np.stack([state.curves for state in clip])),
                (seen, watched.arrays["motion"][:, : len(UNIT)]),
            ):
                for name, values in measured(curves, rig).items():
                    measures.setdefault(name, []).append(values)
            off.append(np.abs(watched.arrays["motion"][:, HEAD] - [state.head for state in clip]))
        count = sum(map(len, clips))
        print(f"\n{portrait.name}: {count} pictures")
        for name in meant:
            r = np.corrcoef(np.concatenate(meant[name]), np.concatenate(seen[name]))[0, 1]
            print(f"  {name:12s} r {r:.2f}")
        degrees = np.concatenate(off)
        for axis, name in enumerate(("yaw", "pitch", "roll")):
            mean, most = degrees[:, axis].mean(), np.percentile(degrees[:, axis], 95)
            print(f"  {name:12s} off by {mean:.2f} degrees, 95% within {most:.2f}")
        print(f"  drawing {1e3 * drawing / count:.1f} ms, watching {1e3 * watching / count:.1f} ms a picture")


def measured(curves: np.ndarray, rig: Rig) -> dict[str, np.ndarray]:
    """What is compared, each [n], of curves [n, 52]."""

    def of(name: str) -> np.ndarray:
        return curves[
            :, [UNIT[unit] for unit in ([name] if name in UNIT else [name + "Left", name + "Right"])]
        ].mean(1)

    still = [FaceState(row, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0), (0.0, 0.0)) for row in curves]
    inner = np.stack([pose(rig, state).skin.vertices[[13, 14], :2] for state in still])
    return {
        "jawOpen": of("jawOpen"),
        "lips": np.linalg.norm(inner[:, 0] - inner[:, 1], axis=1) / rig.eye_distance_px,
        "blink": of("eyeBlink"),
        "brow height": of("browInnerUp") + 0.3 * of("browOuterUp") - 0.6 * of("browDown"),
        "browInnerUp": of("browInnerUp"),
        "browOuterUp": of("browOuterUp"),
        "browDown": of("browDown"),
        "smile": of("mouthSmile"),
        "frown": of("mouthFrown"),
        "round": of("mouthPucker") + of("mouthFunnel"),
    }


def sweep() -> list[FaceState]:
    """Head turns, and one unit after another."""
    seconds = np.arange(SWEEP_SECONDS * int(FPS)) / float(FPS)
    curves = np.zeros((len(seconds), len(UNIT)), np.float32)
    for name, (weight, rise, stay, fall, starts) in BUMPS.items():
        shape = sum(
            smoothstep((seconds - at) / rise) * (1 - smoothstep((seconds - at - rise - stay) / fall))
            for at in starts
        )
        for unit in [name] if name in UNIT else [name + "Left", name + "Right"]:
            curves[:, UNIT[unit]] = np.minimum(weight * shape, 1)
    ease = np.minimum(seconds, 1)
    head = np.stack([d * ease * np.sin(2 * np.pi * seconds / period) for d, period in HEAD_SWEEP], axis=1)
    shift = np.stack([0.06 * np.sin(seconds), 0.04 * np.sin(1.5 * seconds)], axis=1)
    gaze = np.stack([0.03 * np.sign(np.sin(3 * seconds)), 0.012 * np.sign(np.sin(2 * seconds))], axis=1)
    return [
        FaceState(row, 0.0, tuple(map(float, h)), tuple(map(float, s)), tuple(map(float, g)))
        for row, h, s, g in zip(curves, head, shift, gaze * (seconds > 1)[:, None], strict=True)
    ]


def spoken(voice: Path, seconds: int, emotion: str) -> list[FaceState]:
    drive, motion = MouthDrive(FPS, 1.0), FaceMotion(PuppetOptions(emotion=emotion, seed=seconds))
    samples = np.concatenate([chunk.samples for chunk in open_speech(voice).chunks()])[
        : seconds * SAMPLE_RATE
    ]
    return [motion.speak(mouth) for mouth in drive.push(samples) + drive.finish()]


def smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def follow(guide: Path, portrait: Path, sheets: Path | None) -> None:
    template = Template(guide)
    began = time.process_time()
    watched = watch(template, template.fps, template.frames)
    watching = 1e3 * (time.process_time() - began) / template.frames
    show = open_show(personare.open_engine("puppet").prepare(portrait), PuppetOptions())
    began = time.process_time()
    drawn = list(islice((show.render(state_of(row)) for row in motion_of(watched).values), template.frames))
    drawing = 1e3 * (time.process_time() - began) / template.frames
    show.close()
    print(f"\n{guide.name} on {portrait.name}: {dict(watched.metadata)}")
    print(f"  watching with decoding {watching:.1f} ms, drawing {drawing:.1f} ms a picture")
    usual(watched)
    if sheets is not None:
        cv2.imwrite(str(sheets / f"{guide.stem}.png"), sheet(template, drawn)[..., ::-1])


def usual(watched: Feature) -> None:
    """What was seen of the curves that are used."""
    for name, place in UNIT.items():
        values = watched.arrays["motion"][:, place]
        if values.max() > 0.1:
            print(f"  {name:20s} mean {values.mean():.2f}, most {values.max():.2f}")
    low, high = watched.arrays["motion"][:, HEAD].min(axis=0), watched.arrays["motion"][:, HEAD].max(axis=0)
    print(f"  head from {low.round(1)} to {high.round(1)} degrees")


def sheet(template: Iterator[Image] | Template, drawn: list[Image], columns: int = 4, rows: int = 6) -> Image:
    """Pictures of the guide, each with the portrait's beside it."""
    chosen = np.linspace(0, len(drawn) - 1, columns * rows).astype(int)
    cells = []
    for i, picture in enumerate(template):
        if i in chosen:
            side = min(picture.shape[:2])
            pair = [cv2.resize(image, (220, 220)) for image in (picture[:side, :side], drawn[i])]
            cells.append(np.hstack(pair))
    return np.vstack([np.hstack(cells[r * columns : (r + 1) * columns]) for r in range(rows)])


if __name__ == "__main__":
    main()
