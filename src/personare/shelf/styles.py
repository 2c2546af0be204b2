"""Styles of moving with names: two seconds of a motion each, cut from whatever somebody did.

STYLES/lively-1f0c...9e.npz
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from personare.errors import InvalidOption, UnreadableMedia, UnwritableOutput
from personare.media.motions import motion_written
from personare.motion import FLAME, Motion

SECONDS, FPS = 2, Fraction(25)
FRAMES = int(SECONDS * FPS)
DEFAULT = "default"
"""The name of no style: no file can have it."""
_LONGEST = 64


class StyleShelf:
    """The user's own styles, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> dict[str, Path]:
        """Name -> file."""
        return {path.stem: path for path in sorted(self.folder.glob("*.npz"))}

    def add(self, name: str, motion: Motion, start_seconds: float = 0.0, *, replace_it: bool = False) -> Path:
        """Keep two seconds of a motion under a name; the file.

        name: letters, digits, "-" and "_".
        motion: in the space of FLAME heads, at any rate.
        start_seconds: where in the motion the style begins.
        replace_it: whether a style of that name may be replaced.

        Raises InvalidOption, UnreadableMedia for a motion that is too short or in another
        space, UnwritableOutput.
        """
        path = self.folder / f"{checked_style_name(name)}.npz"
        if path.exists() and not replace_it:
            raise InvalidOption(f"there is a style {name!r} already", hint="--replace, or another name")
        style = cut(motion, start_seconds)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableOutput(
                f"{self.folder} cannot be made: {error.strerror}", hint="check PERSONARE_HOME"
            ) from error
        with motion_written(path, style.space, style.fps) as sink:
            sink.write(style.values)
        return path


def cut(motion: Motion, start_seconds: float = 0.0) -> Motion:
    """The two seconds from there on, at FPS. Raises UnreadableMedia."""
    if motion.space.name != FLAME.name:
        raise UnreadableMedia(
            f"a style is motion of a FLAME head, not in {motion.space.name}",
            hint="write one with --motion and an engine that moves in flame-106",
        )
    whole = replace(motion.resampled(FPS), space=FLAME)
    first = round(start_seconds * FPS)
    part = whole[first : first + FRAMES]
    if len(part) < FRAMES or first < 0:
        raise UnreadableMedia(
            f"a style is {SECONDS} s of motion; from {start_seconds:g} s on this one has "
            f"{max(0, len(whole) - max(0, first)) / float(FPS):.2f} s",
            hint="--from earlier, or a longer motion",
        )
    return part


def checked_style_name(name: str) -> str:
    """Raises InvalidOption for a name that no file of a style has."""
    plain = name.replace("-", "").replace("_", "")
    if name == DEFAULT or len(name) > _LONGEST or not (plain.isalnum() and plain.isascii()):
        raise InvalidOption(
            f"{name[:_LONGEST]!r} cannot be the name of a style",
            hint=f'up to {_LONGEST} letters, digits, "-" and "_"; "{DEFAULT}" is no style',
        )
    return name
