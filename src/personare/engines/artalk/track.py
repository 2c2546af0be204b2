"""The user's own photo as GAGAvatar wants a person: tracked by the bundled face networks and a
fit of the FLAME head (`heads.flame_fit`) in place of the published tracker.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.artalk.tracked import Tracked
from personare.heads.flame import Flame
from personare.heads.flame_fit import FittedHead, FlameFit
from personare.media.colour import Colour
from personare.media.local import shown
from personare.perception import NETWORK_SHA256, Face, find_face, person_matte
from personare.perception.portrait import read_portrait
from personare.perception.regions import Region
from personare.types import LARGEST, Image

Floats = NDArray[np.float32]

SIDE_PX = 512
HEAD = 2.18
"""Side of a square as large as the box of a head (24 by 16 cm), in distances of the outer eye
corners (9 cm).
"""
CROP = 1.65
"""Side of the picture, in sides of that square, as published."""
BLACK: Colour = (0, 0, 0)
NETWORKS = tuple(NETWORK_SHA256.values())
"""sha256 of what finds, measures and cuts out the face."""


def track_photo(path: Path, model: Flame, choice: str = LARGEST) -> tuple[Tracked, FittedHead]:
    """The person of a photo, and the head that was laid onto his face. choice: see
    `types.face_choice`.

    Raises NoFaceFound, FaceTooSmall, FaceTurnedAway, and what a picture that cannot be read
    raises.
    """
    return track_picture(read_portrait(path, BLACK), model, shown(path), choice)


def track_picture(
    image: Image, model: Flame, name: str = "picture", choice: str = LARGEST
) -> tuple[Tracked, FittedHead]:
    """The same of a picture, uint8 [H, W, 3]. name: for messages."""
    face = find_face(image, name, choice=choice)
    region = _region(face)
    scale = np.float32(SIDE_PX / region.side)
    corner = np.array([region.x - region.side / 2, region.y - region.side / 2, 0], np.float32)
    fitted = FlameFit(model)((face.landmarks - corner) * scale, SIDE_PX)
    return Tracked(_on_black(image, region), fitted.camera, fitted.shape), fitted


def _region(face: Face) -> Region:
    """A square around the head, whose middle is at the height of the eyes."""
    eyes = face.landmarks[[33, 263], :2].mean(0)
    low, high = face.landmarks[:, 0].min(), face.landmarks[:, 0].max()
    return Region(float(low + high) / 2, float(eyes[1]), CROP * HEAD * face.eye_distance_px)


def _on_black(image: Image, region: Region) -> Floats:
    """float32 [3, S, S] in [0, 1]: the person in a region, on black."""
    shrink = SIDE_PX / region.side
    if shrink < 1:  # warping does not average
        height, width = image.shape[:2]
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        across, down = size[0] / width, size[1] / height
        region = Region(region.x * across, region.y * down, region.side * shrink)
    picture = region.crop(image, SIDE_PX, cv2.BORDER_REPLICATE)
    there = region.crop(np.full_like(image, 255), SIDE_PX, cv2.BORDER_CONSTANT)[..., 0] / 255
    matte = person_matte(np.rint(picture).astype(np.uint8)) * there
    return np.ascontiguousarray((picture / 255 * matte[..., None]).transpose(2, 0, 1), np.float32)
