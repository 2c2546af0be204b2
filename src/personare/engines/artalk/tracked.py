"""People as GAGAvatar tracks them: a picture on black, the camera that saw it, and the shape of
the head, many of them in one file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import InvalidOption, UnreadableMedia, WeightsMismatch
from personare.heads.flame import SHAPES
from personare.media.local import open_local, shown

Floats = NDArray[np.float32]

_SHOWN = 12
_PICKLES = (".pt", ".pth", ".pkl")


@dataclass(frozen=True, slots=True)
class Tracked:
    """picture: float32 [3, S, S] in [0, 1]. camera: float32 [3, 4]. shape: float32 [300]."""

    picture: Floats
    camera: Floats
    shape: Floats


def is_tracked(path: Path) -> bool:
    """Whether a portrait is a file of tracked people, by its name; else it is a photo."""
    return path.suffix.lower() in _PICKLES


def read_given(path: Path) -> Any:
    """What a user's .pt file holds. Nothing in it is executed. Raises UnreadableMedia for a
    damaged, hostile or other file.
    """
    from personare.weights.loading import read_checkpoint

    open_local(path).close()
    try:
        return read_checkpoint(path)
    except WeightsMismatch as error:
        raise UnreadableMedia(error.message, hint="give a file that torch.save has written") from None


def read_tracked(path: Path, person: str | None) -> Tracked:
    """A person of a tracked.pt. person: his name in it; None where there is only one. Nothing
    in the file is executed.

    Raises UnreadableMedia for another or a hostile file, InvalidOption with the names that
    there are.
    """
    held = read_given(path) if is_tracked(path) else None
    if not isinstance(held, Mapping) or not held or not all(isinstance(v, Mapping) for v in held.values()):
        raise UnreadableMedia(
            f"{shown(path)} does not hold people as GAGAvatar tracks them",
            hint="look=gaussian needs a photo or a tracked.pt",
        )
    people = [str(name) for name in held]
    if person is None and len(people) == 1:
        person = people[0]
    if person not in people:
        names = ", ".join(people[:_SHOWN]) + (
            f" and {len(people) - _SHOWN} more" if len(people) > _SHOWN else ""
        )
        asked = "no person is chosen" if person in (None, "?") else f"there is no person {person!r}"
        raise InvalidOption(f"{asked} of {shown(path)}", hint=f"--set person=NAME, one of: {names}")
    values = next(value for name, value in held.items() if str(name) == person)
    try:
        picture = _array(values, "image", 3)
        camera = _array(values, "transform_matrix", 2)
        shape = _array(values, "shapecode", None).reshape(-1)
        if picture.shape[0] != 3 or picture.shape[1] != picture.shape[2] or camera.shape != (3, 4):
            raise ValueError(f"image {picture.shape}, transform_matrix {camera.shape}")
        if shape.shape != (SHAPES,) or picture.min() < -0.01 or picture.max() > 1.01:
            raise ValueError(f"shapecode {shape.shape}, image from {picture.min():g} to {picture.max():g}")
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableMedia(
            f"{shown(path)}: {person} is not tracked as GAGAvatar does: {error}", hint="track him again"
        ) from None
    return Tracked(picture.clip(0, 1), camera, shape)


def _array(values: Mapping[Any, Any], name: str, axes: int | None) -> Floats:
    made = np.asarray(values[name], np.float32)
    if (axes is not None and made.ndim != axes) or not np.isfinite(made).all():
        raise ValueError(f"{name} of shape {made.shape}, or with NaN")
    return made
