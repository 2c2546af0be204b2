"""Before and after of what a viewer notices: sheets of two checkouts of personare.

python tools/looks.py BEFORE [AFTER] --painting FILE --voice FILE [-o docs/looks]
    [--only NAME ...] [--png]

BEFORE, AFTER: folders of checkouts (`git worktree add --detach FOLDER COMMIT`); AFTER is this
    one if left out. Both get the same portraits, voice, seed and moments.
--painting: a portrait beside the bundled one and those that tools/drawn_faces.py draws.
--voice: ten seconds of it are spoken, from three seconds on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import personare
from personare.media.audio import open_speech
from personare.media.video import VideoFrameAt
from personare.motion import UNIT, motion_of
from personare.score.life import together
from personare.score.opening import FaceSeen, watch
from personare.types import SAMPLE_RATE

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.drawn_faces import FACES, draw
from tools.looks_frames import face_state

Picture = Pictures = NDArray[np.uint8]
Floats = NDArray[Any]
Shape = Mapping[str, Any]
Reach = tuple[float, float, float]
Sheet = Callable[["Made", "Made"], Picture]

HERE = Path(__file__).parents[1]
SKIPPED, SECONDS, FPS = 3, 10, 25
EYES, MOUTH = (33, 263), (61, 291)
"""Outer corners of both eyes, and of the mouth."""
LINES = ((190, 50, 40), (30, 110, 180), (40, 140, 60))
PAPER, INK, LABEL = (246, 246, 244), (40, 40, 40), cv2.FONT_HERSHEY_SIMPLEX
JPEG_QUALITY = 78


def units(**weights: float) -> Shape:
    return {"units": weights}


SHAPES: Mapping[str, Shape] = {
    "rest": units(),
    "p": units(mouthPress=0.25, mouthRollLower=0.15, mouthRollUpper=0.10),
    "aa": units(jawOpen=0.42, mouthLowerDown=0.15, mouthUpperUp=0.12),
    "oo": units(jawOpen=0.1, mouthPucker=0.7, mouthFunnel=0.3),
    "f": units(jawOpen=0.05, mouthRollLower=0.45, mouthUpperUp=0.22),
    "ee": units(jawOpen=0.14, mouthSmile=0.3, mouthStretch=0.3, mouthLowerDown=0.3, mouthUpperUp=0.2),
    "half": units(eyeBlink=0.5),
    "blink": units(eyeBlink=1.0),
    "gaze": {"gaze": (0.06, 0.02)},
}


@dataclass(frozen=True)
class Made:
    """What one checkout made: frames uint8 [n, H, W, 3], motion and landmarks of each shot."""

    results: Mapping[str, NDArray[Any]]
    measured: dict[str, FaceSeen] = field(default_factory=dict)

    def frames(self, shot: str) -> Pictures:
        return self.results[f"{shot}.frames"]

    def motion(self, shot: str) -> Floats:
        """float32 [n, 55]: curves, then yaw, pitch and roll in degrees."""
        return self.results[f"{shot}.motion"]

    def seen(self, shot: str) -> FaceSeen:
        """The measures of `personare score`."""
        if shot not in self.measured:
            frames = enumerate(self.frames(shot))
            self.measured[shot] = watch(VideoFrameAt(i, i / FPS, image) for i, image in frames)
        return self.measured[shot]

    def close(self, shot: str, at: Sequence[int], frame: int | Picture, width: int, reach: Reach) -> Picture:
        """The part of a frame around the middle of two landmarks: reach, in eye distances, is
        how far to either side, up, and down from there.
        """
        points = self.results[f"{shot}.landmarks"][:, :2]
        unit = float(np.linalg.norm(points[EYES[0]] - points[EYES[1]]))
        aside, up, down = (v * unit for v in reach)
        middle, scale = points[list(at)].mean(axis=0), width / (2 * aside)
        size = (width, round((up + down) * scale))
        way = np.float32([[scale, 0, width / 2 - middle[0] * scale], [0, scale, (up - middle[1]) * scale]])
        picture = self.frames(shot)[frame] if isinstance(frame, int) else frame
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.warpAffine(picture, way, size, flags=how, borderMode=cv2.BORDER_REPLICATE))


def labelled(picture: Picture, text: str) -> Picture:
    drawn = picture.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(drawn, text, (5, 14), LABEL, 0.42, colour, thickness, cv2.LINE_AA)
    return drawn


def plot(curves: Mapping[str, Floats], size: tuple[int, int], low: float, high: float, title: str) -> Picture:
    """Curves [n] over the seconds of the clip."""
    width, height = size
    drawn = np.full((height, width, 3), PAPER, np.uint8)

    def places(values: Floats) -> NDArray[np.int32]:
        x = np.arange(len(values)) * (width - 1) / max(len(values) - 1, 1)
        y = (height - 1) * (high - np.clip(values, low, high)) / (high - low)
        return np.rint(np.stack([x, y], axis=1) * 16).astype(np.int32)

    for value in (0.0, low + 0.25 * (high - low), low + 0.75 * (high - low)):
        cv2.polylines(drawn, [places(np.float32([value, value]))], False, (205, 205, 205), 1, cv2.LINE_AA, 4)
        text = f"{value:.2g}"
        cv2.putText(drawn, text, (3, int(places(np.float32([value]))[0, 1] / 16) - 3), LABEL, 0.34, INK, 1)
    for i, (name, values) in enumerate(curves.items()):
        steady = np.where(np.isfinite(values), values, low)
        cv2.polylines(drawn, [places(steady)], False, LINES[i % 3], 1, cv2.LINE_AA, 4)
        cv2.putText(
            drawn, name, (width - 90 * (len(curves) - i), 14), LABEL, 0.42, LINES[i % 3], 1, cv2.LINE_AA
        )
    cv2.putText(drawn, title, (40, 14), LABEL, 0.42, INK, 1, cv2.LINE_AA)
    return drawn


def still(shot: str, shapes: Sequence[str], at: Sequence[int], reach: Reach, width: int) -> Sheet:
    """Shapes of one portrait: a row before, a row after."""

    def rows(before: Made, after: Made) -> Picture:
        order = list(SHAPES)
        return np.vstack(
            [
                np.hstack(
                    [
                        labelled(made.close(shot, at, order.index(shape), width, reach), f"{word}: {shape}")
                        for shape in shapes
                    ]
                )
                for word, made in (("before", before), ("after", after))
            ]
        )

    return rows


def strip(first: float, count: int, every: int, at: Sequence[int], reach: Reach, width: int) -> Sheet:
    """Frames of the speech from a moment on, in seconds: a row before, a row after."""

    def rows(before: Made, after: Made) -> Picture:
        places = round(first * FPS) + every * np.arange(count)
        return np.vstack(
            [
                np.hstack(
                    [
                        labelled(
                            made.close("speech", at, int(i), width, reach),
                            f"{word} {i / FPS:.2f}" if k == 0 else f"{i / FPS:.2f}",
                        )
                        for k, i in enumerate(places)
                    ]
                )
                for word, made in (("before", before), ("after", after))
            ]
        )

    return rows


def over(*sheets: Sheet) -> Sheet:
    """Sheets below each other, as wide as the widest."""

    def rows(before: Made, after: Made) -> Picture:
        drawn = [sheet(before, after) for sheet in sheets]
        width = max(picture.shape[1] for picture in drawn)
        return np.vstack(
            [
                cv2.copyMakeBorder(p, 0, 4, 0, width - p.shape[1], cv2.BORDER_CONSTANT, value=PAPER)
                for p in drawn
            ]
        )

    return rows


def curves(
    told: Callable[[Made], Mapping[str, Floats]],
    low: float,
    high: float,
    what: str,
    width: int = 1200,
    note: Callable[[Made], str] = lambda _: "",
) -> Sheet:
    """Curves of the speech: a plot before, a plot after."""

    def rows(before: Made, after: Made) -> Picture:
        return np.vstack(
            [
                plot(told(made), (width, 150), low, high, f"{word}: {what}{note(made)}")
                for word, made in (("before", before), ("after", after))
            ]
        )

    return rows


def as_seen(*names: str) -> Callable[[Made], Mapping[str, Floats]]:
    def told(made: Made) -> Mapping[str, Floats]:
        seen = made.seen("speech")
        return {name: getattr(seen, name) - np.nanmedian(getattr(seen, name)) for name in names}

    return told


def gap(made: Made) -> Mapping[str, Floats]:
    return {"gap": made.seen("speech").gap}


def closures(made: Made) -> str:
    seen = made.seen("speech").gap
    shut = seen < np.nanpercentile(seen, 2) + 0.02
    return f"; shut {int(np.count_nonzero(shut[1:] & ~shut[:-1]))} times"


def correlated(made: Made) -> str:
    seen = made.seen("speech")
    pose = np.stack([seen.yaw, seen.pitch, seen.roll], axis=1)
    r = together(seen.gap, seen.width, pose, seen.seen)
    return "" if r is None else f"; r = {r:+.2f}"


AROUND_MOUTH, AROUND_EYES = (0.5, 0.3, 0.42), (0.72, 0.3, 0.3)
WHOLE = (1.0, 0.95, 1.25)
SHEETS: Mapping[str, Sheet] = {
    "01_head": over(
        strip(0.4, 8, 28, EYES, WHOLE, 150),
        curves(
            lambda made: dict(zip(("yaw", "pitch", "roll"), made.motion("speech")[:, 52:].T, strict=True)),
            -8,
            8,
            "degrees, 10 s",
        ),
    ),
    "02_own_teeth": over(
        still("glossy", ("rest", "ee", "aa"), MOUTH, AROUND_MOUTH, 300),
        still("midword", ("rest", "ee", "aa"), MOUTH, AROUND_MOUTH, 300),
    ),
    "03_open_mouths_shut": over(
        *(still(name, ("rest", "p", "oo"), MOUTH, AROUND_MOUTH, 300) for name in ("midword", "shout"))
    ),
    "04_jaw": over(
        strip(2.6, 10, 1, MOUTH, AROUND_MOUTH, 120),
        strip(3.0, 10, 1, MOUTH, AROUND_MOUTH, 120),
        curves(lambda made: {"jawOpen": made.motion("speech")[:, UNIT["jawOpen"]]}, -0.05, 0.75, "jaw, 10 s"),
    ),
    "05_corners": curves(
        as_seen("gap", "width"), -0.15, 0.25, "opening and width as seen, ed", note=correlated
    ),
    "06_closures": curves(gap, -0.02, 0.3, "opening as seen, ed, 10 s", note=closures),
    "07_upper_face": over(
        strip(0.2, 8, 10, EYES, (0.72, 0.42, 0.3), 150),
        curves(as_seen("brow"), -0.08, 0.08, "height of the brows as seen, ed, 10 s"),
    ),
    "08_lids": over(
        *(
            still(name, ("half", "blink"), EYES, AROUND_EYES, 360)
            for name in ("portrait", "painting", "glossy")
        )
    ),
    "09_big_eyes": over(
        *(
            still(name, ("rest", "half", "blink", "gaze"), EYES, (0.85, 0.45, 0.45), 165)
            for name in ("anime", "cartoon", "doll", "goggles", "sprite")
        )
    ),
    "10_oo_and_f": over(
        *(still(name, ("oo", "f"), MOUTH, AROUND_MOUTH, 300) for name in ("portrait", "painting"))
    ),
    "11_smile": still("portrait", ("p", "ee", "aa"), MOUTH, (0.7, 0.62, 0.5), 300),
    "12_tongue_and_teeth": over(
        *(
            still(name, ("rest", "ee", "aa"), MOUTH, AROUND_MOUTH, 260)
            for name in ("doll", "sprite", "portrait")
        )
    ),
}
STILLS = ("portrait", "painting", "midword", "shout", *FACES)


def drawn_open(portrait: Path | None, folder: Path, name: str, mouth: Shape) -> Path:
    """A portrait, or the bundled head, in the middle of a word: a picture with an open mouth
    that anybody may show.
    """
    engine = personare.open_engine("puppet")
    look = "photo" if portrait else "mesh"
    avatar = engine.studio.prepare(engine.studio.cast(portrait, "puppet", {"size": 768, "look": look}))[0]
    (made,) = engine.perform(avatar).show(motion_of([face_state(mouth)], FPS))
    Image.fromarray(made.images[0]).save(folder / f"{name}.png")
    return folder / f"{name}.png"


def portraits(painting: Path, folder: Path) -> Mapping[str, Path]:
    """Files of the portraits by name, those drawn by code in a folder."""
    bundled = HERE / "src" / "personare" / "assets" / "portrait.jpg"
    wide = units(jawOpen=0.34, mouthLowerDown=0.2, mouthUpperUp=0.3)
    found = {
        "portrait": bundled,
        "painting": painting,
        "midword": drawn_open(None, folder, "midword", wide),
        "shout": drawn_open(bundled, folder, "shout", SHAPES["aa"]),
    }
    for name, face in FACES.items():
        found[name] = folder / f"{name}.png"
        Image.fromarray(draw(face)).save(found[name])
    return found


def make(checkout: Path, shots: Path, output: Path) -> Made:
    """What a checkout makes of the shots, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, str(HERE / "tools" / "looks_frames.py"), str(shots), str(output)]
    subprocess.run(command, env=environment, check=True)
    with np.load(output) as kept:
        return Made({name: kept[name] for name in kept.files})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="?", default=HERE)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--voice", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "docs" / "looks")
    parser.add_argument("--only", nargs="+", default=list(SHEETS), choices=list(SHEETS))
    parser.add_argument("--png", action="store_true", help="to look at; kept JPEGs are smaller")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    voice = np.concatenate([chunk.samples for chunk in open_speech(arguments.voice).chunks()])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.save(folder / "voice.npy", voice[SKIPPED * SAMPLE_RATE :][: SECONDS * SAMPLE_RATE])
        files = {name: str(path) for name, path in portraits(arguments.painting, folder).items()}
        shots: dict[str, Any] = {
            name: {"portrait": files[name], "shapes": list(SHAPES.values())} for name in STILLS
        }
        shots["speech"] = {"portrait": files["portrait"], "voice": str(folder / "voice.npy")}
        (folder / "shots.json").write_text(json.dumps(shots), encoding="utf-8")
        before, after = (
            make(checkout, folder / "shots.json", folder / f"{word}.npz")
            for word, checkout in (("before", arguments.before), ("after", arguments.after))
        )
        for name in arguments.only:
            path = arguments.output / f"{name}.{'png' if arguments.png else 'jpg'}"
            Image.fromarray(SHEETS[name](before, after)).save(path, quality=JPEG_QUALITY, optimize=True)
            print(path, path.stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()
