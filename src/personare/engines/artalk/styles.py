"""Styles by name or file: how somebody moved for two seconds, which the motion then resembles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from personare.engines.artalk.networks.config import MOTION_WIDTH, STYLE_FRAMES
from personare.errors import InvalidOption, UnknownName, UnreadableMedia
from personare.heads.flame_motion import SUFFIX, read_flame_motion
from personare.media.local import shown
from personare.media.motions import read_motion
from personare.motion import FLAME
from personare.shelf.home import home
from personare.shelf.styles import DEFAULT, StyleShelf
from personare.weights.finder import Weights

FOLDER = "style_motion"
"""Beside the checkpoint, where the published styles are."""


@dataclass(frozen=True, slots=True)
class Style:
    """motion: float32 [50, 106], None for no style. digest: names its content."""

    motion: NDArray[np.float32] | None
    digest: str


def style_files(weights: Weights) -> dict[str, Path]:
    """Name -> file of every style on this machine; the user's own go before published ones."""
    located = weights.locate("artalk")
    published = sorted((located.folder / FOLDER).glob(f"*{SUFFIX}")) if located else []
    return {path.stem: path for path in published} | StyleShelf(home().styles).files()


def find_style(given: str, weights: Weights) -> Style:
    """The style of a name, or in a file. Raises UnknownName, InvalidOption for a motion that is
    none, and what reading a motion raises.
    """
    if given == DEFAULT:
        return Style(None, DEFAULT)
    path = _path(given, weights)
    motion = read_flame_motion(path) if path.suffix.lower() == SUFFIX else read_motion(path)
    if motion.space.name != FLAME.name:
        raise UnreadableMedia(
            f"{shown(path)} is motion in {motion.space.name}, not of a FLAME head",
            hint="personare styles add NAME MOTION cuts a style",
        )
    if len(motion) != STYLE_FRAMES:
        raise InvalidOption(
            f"{shown(path)} is no style: {len(motion)} frames, not {STYLE_FRAMES} [{STYLE_FRAMES}, "
            f"{MOTION_WIDTH}]",
            hint="personare styles add NAME MOTION --from SECONDS cuts one from a motion",
        )
    values = np.ascontiguousarray(motion.values, np.float32)
    return Style(values, blake3(values.tobytes()).hexdigest())


def _path(given: str, weights: Weights) -> Path:
    if Path(given).suffix.lower() in (SUFFIX, ".npz") or "/" in given or "\\" in given:
        return Path(given).expanduser()
    known = style_files(weights)
    if given not in known:
        raise UnknownName(
            f"no style named {given!r}",
            hint=f"there are: {', '.join([DEFAULT, *known])}; or a .pt or .npz file",
        )
    return known[given]
