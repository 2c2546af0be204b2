"""The nodes. A node is given ComfyUI's values, asks personare, and gives values back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, wraps
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from blake3 import blake3

from personare.engines import DEFAULT_ENGINE
from personare.engines.engine import Engine
from personare.errors import InvalidOption, PersonareError
from personare.media.guide import open_guide
from personare.motion import Motion
from personare.provenance.visible import Badge
from personare.shelf.manifest import manifest_digest
from personare.studio.clip import sound_for, sound_of
from personare.studio.installed import installed_engines
from personare.studio.leads import Followed, GivenMotion, Lead, Part, Voice
from personare.studio.motions import motion_written, read_motion
from personare.studio.studio import Cast, Studio
from personare.types import SAMPLE_RATE, Avatar, Frames, Speech, frame_count

from .media import Image, audio_of, images_of, pictures_of, speech_of
from .program import Bar, input_file, output_file, temporary_folder
from .widgets import options_of, widgets_of

CATEGORY = "personare"
AVATAR, MOTION, OPTIONS = "PERSONARE_AVATAR", "PERSONARE_MOTION", "PERSONARE_OPTIONS"


class PersonareFailed(Exception):
    """What the program shows: what was wrong, and what to do next."""


@dataclass(frozen=True)
class Prepared:
    """An avatar on its way between nodes."""

    cast: Cast
    avatar: Avatar


@cache
def studio() -> Studio:
    """The machine's own: features that were computed once, here or on the command line, serve."""
    return Studio()


def told(work: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Errors with their hint."""

    @wraps(work)
    def telling(*given: Any, **named: Any) -> tuple[Any, ...]:
        try:
            return work(*given, **named)
        except PersonareError as error:
            raise PersonareFailed(". ".join(filter(None, (error.message, error.hint)))) from error

    return telling


class _Node:
    CATEGORY = CATEGORY
    FUNCTION = "work"


class PersonareAvatar(_Node):
    """A portrait, prepared once for an engine; the same picture is never prepared again."""

    DESCRIPTION = "A picture of a face becomes an avatar. What is computed is kept on disk."
    RETURN_TYPES = (AVATAR,)
    RETURN_NAMES = ("avatar",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "image": ("IMAGE",),
                "engine": ([engine.name for engine in installed_engines()], {"default": DEFAULT_ENGINE}),
            },
            "optional": {"options": (OPTIONS, {"tooltip": "an engine's options; their engine is taken"})},
        }

    @told
    def work(
        self, image: Any, engine: str, options: tuple[str, dict[str, Any]] | None = None
    ) -> tuple[Prepared]:
        pictures = pictures_of(image)
        if len(pictures) > 1:
            raise InvalidOption(
                f"a portrait is one picture, not {len(pictures)}", hint="pick one of the batch"
            )
        name, wanted = options or (engine, {})
        cast = studio().cast(_kept_picture(pictures[0]), name, wanted)
        return (Prepared(cast, studio().prepare(cast, Bar())[0]),)


class PersonareKeptAvatar(_Node):
    """An avatar that has a name (`personare avatar create`)."""

    DESCRIPTION = "An avatar by its name, as `personare avatar list` tells them."
    RETURN_TYPES = (AVATAR,)
    RETURN_NAMES = ("avatar",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        names = [manifest.name for manifest in studio().shelf.list()]
        kind: Any = names or "STRING"  # a list of nothing cannot be shown
        return {"required": {"name": (kind, {"default": names[0] if names else ""})}}

    @classmethod
    def IS_CHANGED(cls, name: str) -> str:  # noqa: N802
        try:
            return manifest_digest(studio().shelf.load_manifest(name))
        except (OSError, PersonareError):
            return ""

    @told
    def work(self, name: str) -> tuple[Prepared]:
        cast = studio().cast_of(studio().shelf.load_manifest(name))
        return (Prepared(cast, studio().prepare(cast, Bar())[0]),)


class _Clip(_Node):
    RETURN_TYPES = ("IMAGE", "AUDIO", "FLOAT", MOTION)
    RETURN_NAMES = ("images", "audio", "fps", "motion")
    LIMITS: ClassVar[dict[str, Any]] = {
        "most_seconds": (
            "FLOAT",
            {
                "default": 60.0,
                "min": 1.0,
                "max": 3600.0,
                "tooltip": "a longer clip is refused: a second of 512x512 takes 79 MB in ComfyUI",
            },
        ),
        "badge": (
            "BOOLEAN",
            {"default": True, "tooltip": "a small sign that a machine made it; without it you tell viewers"},
        ),
    }


class PersonareSpeak(_Clip):
    """An avatar says a sound."""

    DESCRIPTION = "The avatar speaks what is heard."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"avatar": (AVATAR,), "audio": ("AUDIO",), **cls.LIMITS}}

    @told
    def work(self, avatar: Prepared, audio: Any, most_seconds: float, badge: bool) -> tuple[Any, ...]:
        return _made(avatar, speech_of(audio), Voice(), most_seconds, badge)


class PersonareFollow(_Clip):
    """An avatar does what a video shows."""

    DESCRIPTION = "The avatar does what the person in a video does."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        rate = ("FLOAT", {"default": 25.0, "min": 1.0, "max": 120.0, "tooltip": "of the video"})
        return {
            "required": {"avatar": (AVATAR,), "images": ("IMAGE",), "fps": rate, **cls.LIMITS},
            "optional": {"audio": ("AUDIO",)},
        }

    @told
    def work(
        self, avatar: Prepared, images: Any, fps: float, most_seconds: float, badge: bool, audio: Any = None
    ) -> tuple[Any, ...]:
        guide = open_guide(_kept_pictures(pictures_of(images)), Fraction(str(fps)))
        sound = sound_of(guide)
        if audio is not None:
            sound = sound_for(int(guide.frames * SAMPLE_RATE / guide.fps), "the sound", speech_of(audio))
        return _made(avatar, sound, Followed(guide), most_seconds, badge)


class PersonareShow(_Clip):
    """An avatar does what a motion says."""

    DESCRIPTION = "The avatar shows a motion: from another node, or from a file of curves."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {"avatar": (AVATAR,), "motion": (MOTION,), **cls.LIMITS},
            "optional": {"audio": ("AUDIO",)},
        }

    @told
    def work(
        self, avatar: Prepared, motion: Motion | None, most_seconds: float, badge: bool, audio: Any = None
    ) -> tuple[Any, ...]:
        motion = _there(motion)
        samples = int(len(motion) * SAMPLE_RATE / motion.fps)
        sound = sound_for(samples, "the motion", None if audio is None else speech_of(audio))
        return _made(avatar, sound, GivenMotion(motion), most_seconds, badge)


class PersonareLoadMotion(_Node):
    """Curves from a file."""

    DESCRIPTION = "Curves (.json, .csv) or a motion (.npz) from ComfyUI's input folder."
    RETURN_TYPES = (MOTION,)
    RETURN_NAMES = ("motion",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"file": ("STRING", {"default": "curves.json"})}}

    @classmethod
    def IS_CHANGED(cls, file: str) -> str:  # noqa: N802
        try:
            return str(blake3(input_file(file).read_bytes()).hexdigest())
        except (OSError, PersonareError):
            return ""

    @told
    def work(self, file: str) -> tuple[Motion]:
        return (read_motion(input_file(file)),)


class PersonareSaveMotion(_Node):
    """Curves into a file."""

    DESCRIPTION = "Writes what an avatar does as curves into ComfyUI's output folder."
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("path",)
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        named = ("STRING", {"default": "curves.json", "tooltip": ".json, .csv or .npz"})
        return {"required": {"motion": (MOTION,), "file": named}}

    @told
    def work(self, motion: Motion | None, file: str) -> tuple[str]:
        path, motion = output_file(file), _there(motion)
        with motion_written(path, motion.space, motion.fps) as sink:
            sink.write(motion.values)
        return (str(path),)


def options_node(engine: type[Engine]) -> type[_Node]:
    """A node with the options of one engine."""

    class Options(_Node):
        DESCRIPTION = engine.summary
        RETURN_TYPES = (OPTIONS,)
        RETURN_NAMES = ("options",)

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
            return {"required": widgets_of(engine)}

        @told
        def work(self, **values: Any) -> tuple[tuple[str, dict[str, Any]]]:
            return ((engine.name, options_of(engine, values)),)

    return Options


def _made(
    prepared: Prepared, speech: Speech, lead: Lead, most_seconds: float, badge: bool
) -> tuple[Any, ...]:
    """The clip of one node: (images, audio, fps, motion)."""
    cast, rate = prepared.cast, speech.voice_rate
    if speech.seconds is not None and speech.seconds > most_seconds:
        raise InvalidOption(
            f"a clip of {speech.seconds:.1f} s, and most_seconds is {most_seconds:g}",
            hint="raise it, or cut the sound; `personare speak` has no such limit",
        )
    play = lead.play(Part(cast.engine, prepared.avatar, cast.options, studio().store))
    performance, bar = play.performance, Bar()
    performance.progress = bar
    fps = performance.fps
    expected = None if speech.seconds is None else frame_count(round(speech.seconds * SAMPLE_RATE), fps)
    sign = Badge(performance.size, corner="bottom right") if badge else None
    pictures: list[Image] = []
    rows: list[Any] = []
    heard: list[Any] = []

    def taken(made: Iterable[Frames]) -> None:
        for frames in made:
            pictures.extend(_shown(frames, sign))
            rows.extend([] if frames.motion is None else [frames.motion])
            bar("frames", len(pictures), expected)

    with closing(performance):
        samples = 0
        for chunk in speech.chunks():
            samples += len(chunk.samples)
            heard.append(chunk.voice)
            taken(play.hear(chunk, frame_count(samples, fps)))
        taken(play.end())
    space = cast.engine.moves
    motion = Motion(space, fps, np.concatenate(rows)) if space is not None and rows else None
    most = -int(-len(pictures) * rate // fps)  # an engine may end before the sound does
    return images_of(pictures), audio_of(heard, rate, most), float(fps), motion


def _there(motion: Motion | None) -> Motion:
    if motion is None:
        raise InvalidOption(
            "the engine of that clip tells no curves", hint="take the motion of one that does: puppet"
        )
    return motion


def _shown(frames: Frames, sign: Badge | None) -> Sequence[Image]:
    if sign is None:
        return list(frames.images)
    return [sign.draw(image.copy()) for image in frames.images]


def _kept_picture(picture: Image) -> Path:
    """A file of a picture, named by what it shows."""
    return _written(temporary_folder() / "personare", picture, blake3(picture.tobytes()).hexdigest()[:32])


def _kept_pictures(pictures: Sequence[Image]) -> Path:
    """A folder of pictures, named by what they show; a whole one is taken as it is."""
    digest = blake3()
    for picture in pictures:
        digest.update(picture.tobytes())
    folder = temporary_folder() / "personare" / f"guide-{digest.hexdigest()[:32]}-{len(pictures)}"
    if not (folder / "whole").exists():
        for number, picture in enumerate(pictures):
            _written(folder, picture, f"{number:06}")
        (folder / "whole").touch()
    return folder


def _written(folder: Path, picture: Image, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    if not path.exists():
        _, data = cv2.imencode(
            ".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
        )
        made = path.with_suffix(".part")
        made.write_bytes(data.tobytes())
        made.replace(path)
    return path


NODE_CLASS_MAPPINGS: dict[str, type[_Node]] = {
    "PersonareAvatar": PersonareAvatar,
    "PersonareKeptAvatar": PersonareKeptAvatar,
    "PersonareSpeak": PersonareSpeak,
    "PersonareFollow": PersonareFollow,
    "PersonareShow": PersonareShow,
    "PersonareLoadMotion": PersonareLoadMotion,
    "PersonareSaveMotion": PersonareSaveMotion,
    **{f"PersonareOptions_{engine.name}": options_node(type(engine)) for engine in installed_engines()},
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "PersonareAvatar": "Avatar (personare)",
    "PersonareKeptAvatar": "Kept avatar (personare)",
    "PersonareSpeak": "Speak (personare)",
    "PersonareFollow": "Follow a video (personare)",
    "PersonareShow": "Show a motion (personare)",
    "PersonareLoadMotion": "Load curves (personare)",
    "PersonareSaveMotion": "Save curves (personare)",
    **{
        f"PersonareOptions_{engine.name}": f"Options of {engine.name} (personare)"
        for engine in installed_engines()
    },
}
