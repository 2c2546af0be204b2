"""The published mesh picture, pixel by pixel and triangle by triangle, in float64: slow and
plain.

Perspective-correct barycentric places, the nearest triangle that a pixel's middle is strictly
inside of.
"""

from __future__ import annotations

import numpy as np


def mesh_picture(vertices: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """float64 [size, size, 3], 0 to 255."""
    world = vertices.astype(np.float64)
    view = world * [-1, 1, -1] + [0, 0, 2]
    flat = 12 * view[:, :2] / view[:, 2:]
    normals = np.zeros_like(world)
    for face in faces:
        a, b, c = world[face]
        normals[face] += np.cross(c - b, a - b)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    picture, depth = np.full((size, size, 3), 255.0), np.full((size, size), np.inf)
    middles = 1 - (2 * np.arange(size) + 1) / size
    for face in faces:
        corners, z = flat[face], view[face, 2]
        area = _cross(corners[1] - corners[0], corners[2] - corners[0])
        if z.min() < 1e-8 or abs(area) <= 1e-8:
            continue
        columns = np.flatnonzero((middles >= corners[:, 0].min()) & (middles <= corners[:, 0].max()))
        rows = np.flatnonzero((middles >= corners[:, 1].min()) & (middles <= corners[:, 1].max()))
        for row in rows:
            for column in columns:
                point = np.array([middles[column], middles[row]])
                places = np.array(
                    [
                        _cross(corners[(n + 2) % 3] - corners[(n + 1) % 3], point - corners[(n + 1) % 3])
                        for n in range(3)
                    ]
                )
                places /= area
                if (places <= 0).any():
                    continue
                places = places / z
                places /= places.sum()
                if places @ z < depth[row, column]:
                    depth[row, column] = places @ z
                    picture[row, column] = _lit(places @ world[face], places @ normals[face])
    return picture


def _lit(point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    normal = normal / max(np.linalg.norm(normal), 1e-6)
    light, camera = np.array([0, 1, 3]) - point, np.array([0, 0, 2]) - point
    light, camera = light / np.linalg.norm(light), camera / np.linalg.norm(camera)
    facing = normal @ light
    shine = max(camera @ (2 * facing * normal - light), 0) ** 10 * (facing > 0)
    colour = (0.5 + 0.3 * max(facing, 0)) * np.array([142, 179, 247]) / 255 + 0.12 * shine
    return 255 * colour


def _cross(a: np.ndarray, b: np.ndarray) -> float:
    return float(a[0] * b[1] - a[1] * b[0])
