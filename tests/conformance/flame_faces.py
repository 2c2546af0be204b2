"""A FLAME head whose face is the carried 468-point face: expression i is ARKit unit i, so that
what a motion does to it is known. No FLAME data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from personare.heads.flame import Flame
from personare.heads.head468 import (
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
    head468,
)
from personare.perception.head_motion import BROWS
from tests.conformance.flame_standin import flame_standin, write_standin

EYE_DISTANCE_METRES = np.float32(0.09)
NOSE = (168, 6, 197, 195, 5, 4, 129, 98, 97, 2, 326, 327, 358)
SHAPES = 40
"""Shape values that do anything."""
LANDMARKS = tuple(
    dict.fromkeys(
        (
            *BROWS,
            *RIGHT_EYE_UPPER,
            *RIGHT_EYE_LOWER,
            *LEFT_EYE_UPPER,
            *LEFT_EYE_LOWER,
            *NOSE,
            *UPPER_OUTER_LIP,
            *LOWER_OUTER_LIP,
            *UPPER_INNER_LIP,
            *LOWER_INNER_LIP,
        )
    )
)
"""The 105 points that such files embed: brows, lids, nose, lips."""


def face_model() -> dict[str, Any]:
    """The parts of such a file that the face is in."""
    head, held = head468(), flame_standin(0)
    vertices = held["flame_model"]["v_template"].copy()
    vertices[:468] = head.neutral * EYE_DISTANCE_METRES
    directions = np.zeros((len(vertices), 3, 400), np.float32)
    directions[:468, :, :SHAPES] = _shapes(head.neutral) * EYE_DISTANCE_METRES
    directions[:468, :, 300:352] = head.deltas.transpose(1, 2, 0) * EYE_DISTANCE_METRES
    # A hinge at the ears: the lower lip and the chin go with the jaw.
    jaw = 1 / (1 + np.exp((vertices[:468, 1] / EYE_DISTANCE_METRES + 0.78) * 40))
    weights = held["flame_model"]["weights"].copy()
    weights[:468] = np.stack([0 * jaw, 1 - jaw, jaw, 0 * jaw, 0 * jaw], 1)
    faces, places = [], []
    for point in LANDMARKS:
        face = np.flatnonzero((head.triangles == point).any(axis=1))[0]
        faces.append(face)
        places.append(head.triangles[face] == point)
    return {
        "flame_model": {
            **held["flame_model"],
            "f": head.triangles.astype(np.int64),
            "v_template": vertices,
            "shapedirs": directions,
            "weights": weights,
        },
        "lmk_embeddings_mediapipe": {
            "lmk_face_idx": np.array(faces),
            "lmk_b_coords": np.array(places, np.float32),
            "landmark_indices": np.array(LANDMARKS),
        },
    }


def _shapes(places: np.ndarray) -> np.ndarray:
    """Ways in which faces of different people differ, smooth over the face and smaller and
    smaller: [n, 3, SHAPES] of points [n, 3].
    """
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 1.2, (3, SHAPES)) * np.linspace(0.6, 1.6, SHAPES)
    heights = rng.normal(0, 1, (3, SHAPES)) * 0.06 / np.sqrt(1 + np.arange(SHAPES))
    phases = rng.uniform(0, 2 * np.pi, SHAPES)
    return (np.sin(places @ waves + phases)[:, None] * heights).astype(np.float32)


def write_face(path: Path) -> Path:
    """The face as a file."""
    return write_standin(path, **face_model())


def face_flame() -> Flame:
    held = face_model()
    return Flame._of(held["flame_model"], held["lmk_embeddings_mediapipe"])
