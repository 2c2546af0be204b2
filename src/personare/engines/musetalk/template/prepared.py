"""What a performance reads of a prepared template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.musetalk.compose import BlendMask
from personare.engines.musetalk.prepare import BOXES, LATENTS, MASKS, POINTS, TRACK
from personare.engines.musetalk.template.boxes import Box
from personare.engines.musetalk.template.packing import unpacked
from personare.types import Feature, frame_rate

_MASKS_HELD = 64
_MESH_PLACES: tuple[int, int, tuple[int, int]] = (13, 14, (33, 263))
_IBUG_PLACES: tuple[int, int, tuple[int, int]] = (62, 66, (36, 45))
"""Middle of the upper and of the lower inner lip, and the outer eye corners, in either set of
points.
"""


class PreparedFaces:
    """The faces of a template, by frame index at the template's own rate (see
    `media.template.palindrome`).

    size: (height, width). fps: the template's own. frames: how many. present: bool [frames].
    False: there is nothing to animate. latents: float32 [frames, 8, 32, 32].
    """

    def __init__(self, features: Mapping[str, Feature]) -> None:
        about = features[BOXES].metadata
        self.size = (int(about["height"]), int(about["width"]))
        self.fps = frame_rate(about["fps"])
        self.frames = int(about["frames"])
        self.present: NDArray[np.bool_] = features[BOXES].arrays["present"]
        self.latents: NDArray[np.float32] = features[LATENTS].arrays["latents"]
        self._features = features
        self._boxes: NDArray[np.int32] = features[BOXES].arrays["boxes"]
        self._masks: Mapping[str, NDArray[Any]] = features[MASKS].arrays
        self._row = np.cumsum(self.present) - 1
        self.mask = lru_cache(_MASKS_HELD)(self._mask)
        """Frame index -> its BlendMask. Only frames with a face have one."""

    def box(self, frame: int) -> Box:
        """Where the painted face goes, whole pixels."""
        x0, y0, x1, y1 = self._boxes[frame].tolist()
        return x0, y0, x1, y1

    @cached_property
    def most_shut(self) -> int:
        """The frame in which the template's own mouth is most shut."""
        if TRACK in self._features:
            points, upper, lower, eyes = self._features[TRACK].arrays["landmarks"][..., :2], *_MESH_PLACES
        else:
            points, upper, lower, eyes = self._features[POINTS].arrays["points"], *_IBUG_PLACES
        gaps = np.linalg.norm(points[:, upper] - points[:, lower], axis=1)
        widths = np.maximum(np.linalg.norm(points[:, eyes[0]] - points[:, eyes[1]], axis=1), 1.0)
        return int(np.where(self.present, gaps / widths, np.inf).argmin())

    def _mask(self, frame: int) -> BlendMask:
        row = int(self._row[frame])
        x, y = self._masks["corners"][row].tolist()
        return BlendMask(unpacked(self._masks, row), x, y)
