"""A z-buffered triangle rasteriser for per-vertex attributes, on OpenCV's triangleRasterize."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError

_DISTANCE = 1e5
"""Pixels from the camera to the plane z = 0. So far away that rays are all but parallel, near
enough for float32 depth.
"""
_DEPTH_RANGE = 2e4
"""Vertices must lie within this many pixels of the plane z = 0."""
_NEAR, _FAR = _DISTANCE - _DEPTH_RANGE, _DISTANCE + _DEPTH_RANGE
"""Distances from the camera, pixels."""


class Rasteriser:
    """Draws triangles into buffers of one size that it owns and uses again.

    Pixel [row, column] shows what covers the point (column + 0.5, row + 0.5). OpenCV's camera
    is a perspective one; vertices are spread so that it sees them where an orthographic camera
    would.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._attributes = np.zeros((height, width, 3), np.float32)
        # OpenCV's own depth, 0 at the near end and 1 at the far one: in pixels it would convert
        # the buffer to and fro.
        self._depth = np.ones((height, width), np.float32)
        self._behind: NDArray[np.float32] | None = None
        self._checked: NDArray[np.int32] | None = None
        self._reach = (0, -1)
        self._world_to_camera = np.eye(4, dtype=np.float32)
        self._world_to_camera[2, 3] = -_DISTANCE
        self._field_of_view = 2.0 * math.atan(height / 2.0 / _DISTANCE)
        self._settings = (
            cv2.TriangleRasterizeSettings()
            .setCullingMode(cv2.RASTERIZE_CULLING_NONE)
            .setShadingType(cv2.RASTERIZE_SHADING_SHADED)
            .setGlCompatibleMode(cv2.RASTERIZE_COMPAT_INVDEPTH)
        )

    def draw(
        self,
        vertices: NDArray[np.float32],
        triangles: NDArray[np.int32],
        attributes: NDArray[np.float32],
        behind: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Attributes float32 [n, 3] of the nearest triangle at each pixel, linear over the
        triangle; 0 where nothing is.

        vertices: float32 [n, 3], x and y in pixels, z in pixels, larger is nearer, |z| < 20000.
        triangles: int32 [m, 3], both windings are drawn; the same array, if it owns its memory
        and cannot be written, is looked through once. behind: what `kept_depth` gave after
        another draw: only what is nearer than that one's triangles is drawn, and the result is
        anything, not 0, where nothing is. The result, float32 [height, width, 3], is a buffer
        of the rasteriser: valid until the next call. Raises EngineError for a triangle of
        vertices that do not exist: OpenCV would read whatever lies there.
        """
        if triangles is not self._checked:
            self._reach = (int(triangles.min()), int(triangles.max())) if triangles.size else (0, -1)
            may_change = triangles.flags.writeable or triangles.base is not None
            self._checked = None if may_change else triangles
        if self._reach[0] < 0 or self._reach[1] >= len(vertices):
            raise EngineError(
                f"a triangle points outside of its {len(vertices)} vertices",
                hint="`personare cache clear --all` computes everything anew",
            )
        spread = np.empty((len(vertices), 3), np.float32)
        foreshortening = 1.0 - vertices[:, 2] / np.float32(_DISTANCE)
        spread[:, 0] = (vertices[:, 0] - self.width / 2) * foreshortening
        spread[:, 1] = (self.height / 2 - vertices[:, 1]) * foreshortening
        spread[:, 2] = vertices[:, 2]
        if behind is None:
            self._attributes.fill(0.0)
        self._behind = behind
        np.copyto(self._depth, 1.0 if behind is None else behind)
        cv2.triangleRasterize(
            spread,
            triangles,
            attributes,
            self._attributes,
            self._depth,
            self._world_to_camera,
            self._field_of_view,
            _NEAR,
            _FAR,
            self._settings,
        )
        return self._attributes

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Which pixels the last draw covered, bool [height, width]."""
        return self._depth < (1 if self._behind is None else self._behind)

    def kept_depth(self) -> NDArray[np.float32]:
        """Of the last draw, for later ones to be drawn before it: float32 [height, width]."""
        return self._depth.copy()

    @property
    def depth(self) -> NDArray[np.float32]:
        """z of the last draw at each pixel, float32 [height, width], larger is nearer; -inf
        where nothing is.
        """
        distance = _FAR * _NEAR / (_FAR - self._depth.astype(np.float64) * (_FAR - _NEAR))
        return np.where(self.covered, _DISTANCE - distance, -np.inf).astype(np.float32)
