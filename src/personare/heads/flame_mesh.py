"""The FLAME head as a picture: one colour, one lamp, as ARTalk shows it.

Perspective camera, smooth normals, Phong's light (1975). OpenCV's rasteriser finds what each
pixel shows, normal and depth; the light is then computed for all of them at once.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

CAMERA_Z, FOCAL = np.float32(2.0), np.float32(12.0)
"""The camera stands so many metres before the middle of the head and sees 1 / FOCAL metres to
all sides in each metre of distance.
"""
LAMP = (np.float32(0.0), np.float32(1.0), np.float32(3.0))
COLOUR = np.array([142, 179, 247], np.float32)
AMBIENT, DIFFUSE, SPECULAR = np.float32(0.5), np.float32(0.3), np.float32(0.12)
WHITE = np.float32(255)
_NEAR, _FAR = 1.0, 3.0
"""Distances from the camera, metres, that the head lies between."""
_SHORTEST = np.float32(1e-6)


class MeshPicture:
    """Draws one head after another, into buffers that it owns: for one thread."""

    def __init__(self, faces: Ints, vertices: int, size: int = 512) -> None:
        """faces: int32 [m, 3] of so many vertices. size: side of the pictures, px."""
        self._faces, self._count, self.size = faces, vertices, size
        self._normals = np.zeros((size, size, 3), np.float32)
        self._depth = np.ones((size, size), np.float32)
        self._camera = np.eye(4, dtype=np.float32)
        self._camera[2, 3] = -CAMERA_Z
        self._settings = (
            cv2.TriangleRasterizeSettings()
            .setCullingMode(cv2.RASTERIZE_CULLING_NONE)
            .setShadingType(cv2.RASTERIZE_SHADING_SHADED)
            .setGlCompatibleMode(cv2.RASTERIZE_COMPAT_INVDEPTH)
        )
        # Where the pixels' rays are at a distance of one metre; the middle row is that of y =
        # 0.
        steps = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
        self._x = np.tile(steps / FOCAL, (size, 1)).ravel()
        self._y = np.repeat(-steps / FOCAL, size)

    def draw(self, vertices: Floats) -> Image:
        """uint8 [S, S, 3] of vertices float32 [n, 3] in metres: cut off, not rounded, as
        published.
        """
        return self.colours(vertices).astype(np.uint8)

    def colours(self, vertices: Floats) -> Floats:
        """The same before it is cut off: float32 [S, S, 3] from 0 to 255."""
        self._normals.fill(0.0)
        self._depth.fill(1.0)
        cv2.triangleRasterize(
            vertices,
            self._faces,
            vertex_normals(vertices, self._faces),
            self._normals,
            self._depth,
            self._camera,
            2 * math.atan(1 / float(FOCAL)),
            _NEAR,
            _FAR,
            self._settings,
        )
        picture = np.full((self.size * self.size, 3), WHITE, np.float32)
        depth = self._depth.ravel()
        seen = np.flatnonzero(depth < 1)
        picture[seen] = self._lit(seen, depth[seen], self._normals.reshape(-1, 3)[seen])
        return picture.reshape(self.size, self.size, 3)

    def _lit(self, seen: NDArray[np.intp], depth: Floats, normals: Floats) -> Floats:
        """Colours [n, 3] of pixels with these numbers."""
        away = np.float32(_FAR * _NEAR) / (np.float32(_FAR) - depth * np.float32(_FAR - _NEAR))
        x, y = self._x[seen] * away, self._y[seen] * away
        # From the place to the lamp and to the camera; the camera is `away` in z.
        lamp = (LAMP[0] - x, LAMP[1] - y, LAMP[2] - CAMERA_Z + away)
        camera = (-x, -y, away)
        normal = tuple(np.ascontiguousarray(normals.T))
        shorter = np.maximum(_lengths(normal), _SHORTEST) * _lengths(lamp)
        facing = _products(normal, lamp) / shorter
        to_camera = _lengths(camera)
        outward = _products(normal, camera) / (np.maximum(_lengths(normal), _SHORTEST) * to_camera)
        between = _products(lamp, camera) / (_lengths(lamp) * to_camera)
        mirrored = np.maximum(2 * facing * outward - between, 0)
        square = mirrored * mirrored
        fourth = square * square
        shine = np.where(facing > 0, 255 * SPECULAR * fourth * fourth * square, np.float32(0))
        light = AMBIENT + DIFFUSE * np.maximum(facing, 0)
        return np.asarray(light[:, None] * COLOUR + shine[:, None], np.float32)


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """float32 [n, 3] of length 1: the mean of the faces around a vertex by their areas."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    across = _cross(c - b, a - b)
    summed = np.empty_like(vertices)
    corners = faces.T.ravel()
    for axis in range(3):
        weights = np.tile(across[:, axis], 3)
        summed[:, axis] = np.bincount(corners, weights=weights, minlength=len(vertices))
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.asarray(summed / np.maximum(lengths, _SHORTEST), np.float32)


def _cross(a: Floats, b: Floats) -> Floats:
    ax, ay, az = a.T
    bx, by, bz = b.T
    return np.asarray(np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1), np.float32)


def _products(a: tuple[Floats, ...], b: tuple[Floats, ...]) -> Floats:
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2], np.float32)


def _lengths(a: tuple[Floats, ...]) -> Floats:
    return np.asarray(np.sqrt(_products(a, a)), np.float32)
