"""Licence-free stand-in for the FLAME_with_eye.pt arrays: same names, ranks and vertex count,
no FLAME data.

`flame_standin(seed)` returns the nested dict that the real file holds, as NumPy arrays. The
mesh is an ellipsoid on a 71 x 70 latitude/longitude grid plus 53 loose vertices (5023 in all,
9800 faces). `write_standin` makes a loadable file of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.seeded_weights import seeded_array

ROWS, COLS, EXTRA = 71, 70, 53


def grid_mesh() -> tuple[np.ndarray, np.ndarray]:
    lat = np.linspace(0, np.pi, ROWS)[:, None]
    lon = np.linspace(0, 2 * np.pi, COLS, endpoint=False)[None, :]
    x = 0.085 * np.sin(lat) * np.sin(lon)
    y = 0.125 * np.cos(lat) * np.ones_like(lon)
    z = 0.100 * np.sin(lat) * np.cos(lon)
    verts = np.stack([x, y, z], -1).reshape(-1, 3)
    loose = 0.02 * np.stack(
        [np.cos(np.arange(EXTRA)), np.sin(np.arange(EXTRA)), np.arange(EXTRA) / EXTRA], -1
    )
    r, c = np.meshgrid(np.arange(ROWS - 1), np.arange(COLS), indexing="ij")
    a, b = r * COLS + c, r * COLS + (c + 1) % COLS
    d, e = a + COLS, b + COLS
    faces = np.concatenate([np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, e], -1).reshape(-1, 3)])
    return np.concatenate([verts, loose]).astype(np.float32), faces.astype(np.int64)


def flame_standin(seed: int = 0) -> dict:
    verts, faces = grid_mesh()
    n = len(verts)
    shapedirs = seeded_array("flame.shapedirs", (n, 3, 400), seed, 0.0, 5e-5)
    posedirs = seeded_array("flame.posedirs", (n, 3, 36), seed, 0.0, 2e-4)
    joints = np.abs(seeded_array("flame.J_regressor", (5, n), seed, 0.0, 1.0))
    joints *= np.arange(n)[None, :] % 5 == np.arange(5)[:, None]
    joints /= joints.sum(1, keepdims=True)
    jaw = 1 / (1 + np.exp((verts[:, 1] + 0.04) * 60))
    weights = np.stack([0.1 + 0 * jaw, 0.9 - 0.6 * jaw, 0.5 * jaw, 0.05 * jaw, 0.05 * jaw], 1)
    weights += 1e-3 * np.abs(seeded_array("flame.weights", (n, 5), seed, 0.0, 1.0))
    weights /= weights.sum(1, keepdims=True)
    bary = np.full((105, 3), 1 / 3, np.float32)
    return {
        "flame_model": {
            "f": faces,
            "v_template": verts,
            "shapedirs": shapedirs,
            "posedirs": posedirs,
            "J_regressor": joints.astype(np.float32),
            "weights": weights.astype(np.float32),
            "kintree_table": np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.int64),
        },
        "lmk_embeddings": {
            "static_lmk_faces_idx": np.arange(51),
            "static_lmk_bary_coords": bary[:51],
            "dynamic_lmk_faces_idx": np.arange(79 * 17).reshape(79, 17),
            "dynamic_lmk_bary_coords": np.full((79, 17, 3), 1 / 3, np.float32),
            "full_lmk_faces_idx_with_eye": np.arange(70),
            "full_lmk_bary_coords_with_eye": bary[:70],
        },
        "lmk_embeddings_mediapipe": {
            "lmk_face_idx": np.arange(105) * 7,
            "lmk_b_coords": bary,
            "landmark_indices": np.arange(105),
        },
    }


def write_standin(path: Path, seed: int = 0, **parts: Any) -> Path:
    """The stand-in as a file; parts: other values of its outer dict, each merged into the part."""
    import torch

    held = flame_standin(seed)
    for name, values in parts.items():
        held[name] = {**held[name], **values}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            part: {name: torch.from_numpy(np.array(value)) for name, value in values.items()}
            for part, values in held.items()
        },
        path,
    )
    return path
