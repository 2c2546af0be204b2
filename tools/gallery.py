"""Contact sheets of what puppet makes of portraits: speech, emotions, options at their
extremes.

python tools/gallery.py [FOLDER|PICTURE ...] [-o out/gallery] [--size 512] [--width 240]
    [--voice FILE [--at S ...] [--strip FRAMES]]

Default: the bundled portrait and the bundled head. Writes one sheet per subject and topic, and
index.md with all of them.

--voice: a recording instead of the sentence, and one row of frames per portrait, six rows a
    sheet: many faces, compared with one voice.
--at: the moments that are shown, seconds; spread evenly without it.
--strip: so many consecutive frames from the first of these moments on instead.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

import personare
from personare.engines.puppet.move.emotion import EMOTIONS
from personare.errors import PersonareError
from personare.media.audio import open_speech
from personare.motion import ARKIT_UNITS, FaceState, motion_of
from personare.studio.opened import OpenEngine
from personare.types import SAMPLE_RATE, Avatar

SENTENCE = "My mother bought five purple shoes."
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
SPOKEN_TILES, COLUMNS = 16, 8
SETTLED_FRAMES = 26
"""Frames until an emotion is worn in full."""

ROOM = 1.35
"""Side of what is shown, in face heights."""

ROWS = 6
"""Portraits on a sheet of a voice."""

Tiles = list[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Subject:
    """A portrait, or None for the bundled head, and the options that it is prepared with."""

    name: str
    portrait: Path | None
    options: Mapping[str, Any]


def state(
    units: Mapping[str, float],
    head: tuple[float, float, float] = (0, 0, 0),
    gaze: tuple[float, float] = (0, 0),
) -> FaceState:
    """A face from ARKit units; a name without its side sets both sides."""
    curves = np.zeros(len(ARKIT_UNITS), np.float32)
    for name, weight in units.items():
        for full in (name,) if name in ARKIT_UNITS else (f"{name}Left", f"{name}Right"):
            curves[ARKIT_UNITS.index(full)] = weight
    return FaceState(curves, 0.0, head, (0.0, 0.0), gaze)


CLOSED = {"mouthPress": 0.25, "mouthRollLower": 0.15, "mouthRollUpper": 0.10}
OPEN = {"jawOpen": 0.42, "mouthLowerDown": 0.15, "mouthUpperUp": 0.12}
EXTREMES: Mapping[str, FaceState] = {
    "at rest": state({}),
    "p, b, m": state(CLOSED),
    "aa": state(OPEN),
    "aa x 1.5": state({name: 1.5 * weight for name, weight in OPEN.items()}),
    "oo": state({"jawOpen": 0.1, "mouthPucker": 0.7, "mouthFunnel": 0.3}),
    "f, v": state({"jawOpen": 0.05, "mouthRollLower": 0.45, "mouthUpperUp": 0.22}),
    "half a blink": state({"eyeBlink": 0.5}),
    "blink": state({"eyeBlink": 1.0}),
    "gaze left": state({}, gaze=(-0.06, 0.0)),
    "gaze right, down": state({}, gaze=(0.06, 0.03)),
    "yaw 8": state({}, (8, 0, 0)),
    "yaw -8": state({}, (-8, 0, 0)),
    "yaw 15": state({}, (15, 0, 0)),
    "yaw -15": state({}, (-15, 0, 0)),
    "pitch 8, roll 6": state(OPEN, (0, 8, 6)),
    "pitch -8, roll -6": state(OPEN, (0, -8, -6)),
}


@dataclass(frozen=True)
class Moments:
    """Which frames of a clip are shown: at these seconds, or spread evenly over it if there are
    none; or so many consecutive ones from the first of them on.
    """

    at: tuple[float, ...] = ()
    strip: int = 0

    def frames(self, count: int, fps: float) -> np.ndarray:
        """Indices of frames of a clip of this many, int [shown]."""
        if self.strip:
            first = round(self.at[0] * fps) if self.at else 0
            return np.clip(np.arange(first, first + self.strip), 0, count - 1)
        if self.at:
            return np.clip(np.round(np.array(self.at) * fps).astype(int), 0, count - 1)
        return np.linspace(0, count - 1, SPOKEN_TILES).round().astype(int)


def spoken(
    engine: OpenEngine,
    avatar: Avatar,
    voice: np.ndarray,
    moments: Moments = Moments(),
    seed: int = 0,
) -> Tiles:
    """Frames of a clip of a voice."""
    performance = engine.perform(avatar, seed=seed)
    frames = [image for made in (*performance.feed(voice), *performance.finish()) for image in made.images]
    chosen = moments.frames(len(frames), float(performance.fps))
    return [(f"{float(i / performance.fps):.2f} s", frames[i]) for i in chosen]


def emotions(engine: OpenEngine, avatar: Avatar, voice: np.ndarray) -> Tiles:
    """Every emotion settled in silence, and below it in the middle of a word."""
    rest: Tiles = []
    speech: Tiles = []
    for emotion in EMOTIONS:
        performance = engine.perform(avatar, emotion=emotion, blink_rate=0, head_motion=0, gaze=0)
        rest.append((emotion, performance.idle(SETTLED_FRAMES).images[-1]))
        frames = [
            image for made in (*performance.feed(voice), *performance.finish()) for image in made.images
        ]
        speech.append((f"{emotion}, speaking", frames[len(frames) // 2]))
    return rest + speech


def extremes(engine: OpenEngine, avatar: Avatar) -> Tiles:
    """Mouth, lids, gaze and head as far as options and curves take them."""
    performance = engine.perform(avatar)
    frames = (made.images[0] for made in performance.show(motion_of(EXTREMES.values(), performance.fps)))
    return list(zip(EXTREMES, frames, strict=True))


def around_face(avatar: Avatar, size: int) -> tuple[slice, slice]:
    """Rows and columns of a square around the face with room for it to turn; of the bundled
    head, around the middle.
    """
    if "puppet.crop" not in avatar.features:
        middle, half = np.array([size / 2, size / 2]), 0.36 * size
    else:
        points = avatar.features["puppet.crop"].arrays["landmarks"][:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        middle, half = (low + high) / 2, float((high - low).max()) * ROOM / 2
    half = min(half, size / 2)
    x, y = np.clip(middle, half, size - half)
    return slice(int(y - half), int(y + half)), slice(int(x - half), int(x + half))


def sheet(tiles: Tiles, width: int, columns: int = COLUMNS) -> np.ndarray:
    """One picture, uint8 [H, W, 3], of labelled tiles of this width."""
    height = round(width * tiles[0][1].shape[0] / tiles[0][1].shape[1])
    drawn = []
    for label, picture in tiles:
        tile = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(tile, label, (5, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)
        drawn.append(tile)
    drawn += [np.zeros_like(drawn[0])] * (-len(drawn) % columns)
    return np.vstack([np.hstack(drawn[i : i + columns]) for i in range(0, len(drawn), columns)])


def subjects(given: Sequence[Path]) -> list[Subject]:
    """Pictures given or found in given folders; the bundled portrait and the bundled head if
    there are none given.
    """
    if not given:
        bundled = Path(str(files("personare") / "assets" / "portrait.jpg"))
        return [Subject("portrait", bundled, {}), Subject("mesh", None, {"look": "mesh"})]
    found = [
        p
        for path in given
        for p in (sorted(path.iterdir()) if path.is_dir() else [path])
        if p.suffix.lower() in PICTURES
    ]
    if not found:
        raise SystemExit(f"no picture in {', '.join(map(str, given))}")
    names = [re.sub(r"[^\w-]+", "-", path.stem) for path in found]
    return [
        Subject(f"{name}-{i}" if names.count(name) > 1 else name, path, {})
        for i, (name, path) in enumerate(zip(names, found, strict=True))
    ]


def sheets(
    engine: OpenEngine, subject: Subject, size: int, voice: np.ndarray
) -> Iterator[tuple[str, Tiles, int]]:
    """Topic, tiles and columns of each sheet. Raises PersonareError if the portrait cannot be
    animated.
    """
    cast = engine.studio.cast(subject.portrait, engine.engine.name, {"size": size, **subject.options})
    avatar = engine.studio.prepare(cast)[0]
    face = around_face(avatar, size)
    for topic, tiles, columns in (
        ("speech", spoken(engine, avatar, voice), COLUMNS),
        ("emotions", emotions(engine, avatar, voice), len(EMOTIONS)),
        ("extremes", extremes(engine, avatar), COLUMNS),
    ):
        yield topic, [(label, picture[face]) for label, picture in tiles], columns


def make(given: Sequence[Path], output: Path, size: int, width: int, voice: np.ndarray) -> Path:
    """The gallery in a folder; its index. A portrait that cannot be animated is named there
    with the reason.
    """
    output.mkdir(parents=True, exist_ok=True)
    engine = personare.open_engine("puppet")
    index = ["# Gallery", "", f"puppet at {size} px, made by `tools/gallery.py`. The sentence: “{SENTENCE}”"]
    for subject in subjects(given):
        index += ["", f"## {subject.name}"]
        try:
            for topic, tiles, columns in sheets(engine, subject, size, voice):
                file = f"{subject.name}-{topic}.jpg"
                Image.fromarray(sheet(tiles, width, columns)).save(output / file, quality=88)
                index += ["", f"{topic}", "", f"![{subject.name}, {topic}]({file})"]
        except PersonareError as error:
            index += ["", f"not animated: {error}"]
    path = output / "index.md"
    path.write_text("\n".join(index) + "\n", encoding="utf-8")
    return path


def voiced(
    given: Sequence[Path],
    output: Path,
    size: int,
    width: int,
    voice: np.ndarray,
    moments: Moments,
) -> list[Path]:
    """Sheets of one row per portrait, its number the seed. A portrait that cannot be animated
    is named on the way and left out.
    """
    output.mkdir(parents=True, exist_ok=True)
    engine = personare.open_engine("puppet")
    drawn = []
    for seed, subject in enumerate(subjects(given)):
        try:
            cast = engine.studio.cast(subject.portrait, engine.engine.name, {"size": size, **subject.options})
            avatar = engine.studio.prepare(cast)[0]
        except PersonareError as error:
            print(f"{subject.name}: not animated: {error}")
            continue
        face = around_face(avatar, size)
        tiles = [(when, frame[face]) for when, frame in spoken(engine, avatar, voice, moments, seed)]
        tiles[0] = (f"{subject.name} {tiles[0][0]}", tiles[0][1])
        square = [(label, cv2.resize(picture, (width, width))) for label, picture in tiles]
        drawn.append(sheet(square, width, len(square)))
    paths = []
    for first in range(0, len(drawn), ROWS):
        paths.append(output / f"voice-{first // ROWS + 1}.jpg")
        Image.fromarray(np.vstack(drawn[first : first + ROWS])).save(paths[-1], quality=88)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("portraits", nargs="*", type=Path, help="pictures, or folders of them")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/gallery"))
    parser.add_argument("--size", type=int, default=512, help="of the frames, pixels")
    parser.add_argument("--width", type=int, default=240, help="of one tile, pixels")
    parser.add_argument("--voice", type=Path, help="a recording to speak, instead of the sentence")
    parser.add_argument("--at", type=float, nargs="+", default=[], help="moments of it to show, seconds")
    parser.add_argument("--strip", type=int, default=0, help="so many consecutive frames instead")
    arguments = parser.parse_args()
    given, output, size, width = arguments.portraits, arguments.output, arguments.size, arguments.width
    if arguments.voice:
        moments = Moments(tuple(arguments.at), arguments.strip)
        voice = np.concatenate([chunk.samples for chunk in open_speech(arguments.voice).chunks()])
        if arguments.at:
            last = max(arguments.at) + moments.strip / 25 + 1
            voice = voice[: round(last * SAMPLE_RATE)]
        print(*voiced(given, output, size, width, voice, moments), sep="\n")
        return
    from personare.voice.tts import open_text

    voice = np.concatenate([chunk.samples for chunk in open_text(SENTENCE, "en-us").chunks()])
    print(make(given, output, size, width, voice))


if __name__ == "__main__":
    main()
