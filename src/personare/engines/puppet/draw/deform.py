"""From a FaceState to where every vertex is in the frame, and which place in the picture it
shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit import eyes
from personare.engines.puppet.fit.lip_colours import LOWER_ROWS, UPPER_ROWS
from personare.engines.puppet.fit.lips import LOWER_INNER, UPPER_INNER
from personare.engines.puppet.fit.relief import bounded
from personare.engines.puppet.fit.rig import BLINKS, IN_PLANE, Rig
from personare.motion import UNIT, FaceState

Floats = NDArray[np.float32]

SMILES = [UNIT["mouthSmileLeft"], UNIT["mouthSmileRight"]]

LID_SLIDE_LEAD = 1.3
"""The lid's texture slides ahead of the lid, so that no lashes are stretched over a half-shut
eye.
"""
BEHIND_PX = 1000.0
"""Depth of eyeballs and mouth behind lids and lips; any number larger than a head."""
SHADOW_LEFT, SHADOW_DEPTH = 1.5, 0.16
"""Lids that open wider than in the picture leave behind this many times their way of what lay
at their edge, up to this share of the way to the middle of the eye.
"""
PARTED_JAW = 0.25
STAYS_PARTED = 0.45
"""A mouth that is open in the picture is pulled shut in full for closed sounds; with the jaw
this far open, this share of the picture's own gap comes back where it smiles: an upper lip that
a smile has raised stays so, a mouth caught in a word adds nothing to the next.
"""

RELAXES, RELAXED_JAW = 0.40, 0.25
"""A mouth that smiles in the picture gives up this much weight of its smile as the jaw opens so
far: an "ah" on a grin that stays is a scream.
"""
ROLLED_IN_JAW = 0.12
"""What the shut lips of an open-mouthed picture roll out is rolled in again with the jaw this
far open.
"""
ROUND_FROM, ROUND_HALF_WIDTH = 0.2, 0.56
"""Lips that are pushed forward, from this weight of mouthPucker on, meet beside a round opening
of this share of the mouth's width.
"""
ROUND_FOLLOWS = (1.0, 0.6, 0.3)
"""Share of that way for the inner rows of a lip."""


@dataclass(frozen=True, slots=True)
class Layer:
    """vertices: float32 [k, 3] in the frame. texture: float32 [k, 2], the place in the picture
    that each shows.
    """

    vertices: Floats
    texture: Floats

    def over(self, behind: Layer) -> Layer:
        """Both, with this layer's vertices first."""
        return Layer(
            np.concatenate([self.vertices, behind.vertices]), np.concatenate([self.texture, behind.texture])
        )


@dataclass(frozen=True, slots=True)
class Posed:
    """Where everything is in one frame.

    skin: the rig's vertices. eyeballs: those of eyes.eyeballs, the eye at image left first.
    between_lips: the upper and the lower inner lip once more, [22], to span the open mouth
    behind them. `turn` takes other points of the head, such as teeth, along.
    """

    skin: Layer
    eyeballs: tuple[Layer, Layer]
    between_lips: Layer
    rotation: Floats
    translation: Floats

    def turn(self, points: Floats) -> Floats:
        """Head motion of points [..., 3]."""
        return np.asarray(points @ self.rotation.T + self.translation, np.float32)


def pose(rig: Rig, state: FaceState) -> Posed:
    """Expression in the head's own frame, then head motion, of which the neck and the
    background take less.

    What turns is the rig's relief; which of two overlapping lips or lids is in front is left to
    their own depth.
    """
    curves = np.asarray(state.curves, np.float32)
    rotation, translation = head_motion(rig, state)
    moved = _expression(rig, curves)
    behind_relief = rig.points[:, 2] - rig.relief
    moved[:, 2] -= behind_relief
    vertices = turned(moved, rig.head_weight[:, None], behind_relief, rotation, translation)
    skin = Layer(vertices, _skin_texture(rig, curves))
    inner = np.concatenate([UPPER_INNER, LOWER_INNER])
    mouth = Layer(vertices[inner] - np.array([0, 0, BEHIND_PX], np.float32), skin.texture[inner])
    gaze = np.array(state.gaze, np.float32) * np.float32(0 if rig.gaze_still else rig.eye_distance_px)
    left, right = (
        _eyeball(rig.eyeballs[eye], (moved[edge] - rig.points[edge]) * IN_PLANE, rotation, translation, gaze)
        for eye, edge in enumerate(eyes.EYEBALL_EDGES)
    )
    return Posed(skin, (left, right), mouth, rotation, translation)


def head_motion(rig: Rig, state: FaceState) -> tuple[Floats, Floats]:
    """Rotation float32 [3, 3] and translation [3] of what goes with the head in full."""
    yaw, pitch, roll = state.head
    rotation = head_rotation(*bounded(yaw, pitch), roll)
    shift = np.array([*state.shift, 0.0], np.float32) * np.float32(rig.eye_distance_px)
    return rotation, rig.pivot - rotation @ rig.pivot + shift


def turned(
    points: Floats, head_weight: Floats, behind_relief: Floats, rotation: Floats, translation: Floats
) -> Floats:
    """Points float32 [k, 3], at the depth of their relief, where the head takes them, at their
    own depth. head_weight: float32 [k, 1]. behind_relief: float32 [k], between the two depths.
    """
    whole = points @ rotation.T + translation
    vertices: Floats = points + (whole - points) * head_weight
    vertices[:, 2] = whole[:, 2] + behind_relief
    return vertices


def head_rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """float32 [3, 3] from degrees: yaw turns the nose to image right, pitch lifts it, roll
    tilts clockwise in the image.
    """
    (cy, cp, cr), (sy, sp, sr) = (
        [f(math.radians(v)) for v in (yaw, pitch, roll)] for f in (math.cos, math.sin)
    )
    # tilt @ turn @ nod, multiplied out: arrays of nine cost more than all of it.
    across, down = (cy, sy * sp, sy * cp), (0.0, cp, -sp)
    rows = (
        [cr * a - sr * d for a, d in zip(across, down, strict=True)],
        [sr * a + cr * d for a, d in zip(across, down, strict=True)],
        (-sy, cy * sp, cy * cp),
    )
    return np.array(rows, np.float32)


def _expression(rig: Rig, curves: Floats) -> Floats:
    active = np.flatnonzero(curves)
    # einsum, not tensordot: BLAS may add up in another order with another number of threads.
    deltas = np.einsum("u,unc->nc", curves[active], rig.deltas[active])
    parted = min(1.0, opened(curves) / PARTED_JAW)
    relaxed = relaxation(rig, curves)
    if relaxed:
        deltas -= np.float32(relaxed) * (rig.deltas[SMILES[0]] + rig.deltas[SMILES[1]])
    stays = STAYS_PARTED * rig.smile * parted
    moved = np.asarray(rig.points + deltas + rig.closure * np.float32(1 - stays), np.float32)
    _round_lips(moved, float(curves[UNIT["mouthPucker"]]))
    return moved


def _round_lips(points: Floats, pucker: float) -> None:
    """Shut the lips beside the middle of a mouth that says "oo", in place."""
    forward = min(1.0, (pucker - ROUND_FROM) / (1 - ROUND_FROM))
    if forward <= 0:
        return
    gap = points[LOWER_INNER, :2] - points[UPPER_INNER, :2]
    gap *= (gap[:, 1:] > 0) * (forward / 2 * _BESIDE_ROUND[:, None])
    for upper, lower, follows in zip(UPPER_ROWS, LOWER_ROWS, ROUND_FOLLOWS, strict=False):
        points[upper, :2] += np.float32(follows) * gap
        points[lower, :2] -= np.float32(follows) * gap


def _beside_round() -> Floats:
    """Share of the gap between the inner lips' points that a round opening has not, [11]."""
    along = np.linspace(-1, 1, len(UPPER_INNER), dtype=np.float32)
    return np.asarray(1 - np.sqrt(np.clip(1 - (along / ROUND_HALF_WIDTH) ** 2, 0, 1)), np.float32)


_BESIDE_ROUND = _beside_round()


def relaxation(rig: Rig, curves: Floats) -> float:
    """Weight of the picture's own smile that an open mouth takes back."""
    return RELAXES * rig.smile * min(1.0, opened(curves) / RELAXED_JAW)


def opened(curves: Floats) -> float:
    """How far the jaw parts the lips: what the lips close over does not."""
    return max(0.0, float(curves[UNIT["jawOpen"]] - curves[UNIT["mouthClose"]]))


def _skin_texture(rig: Rig, curves: Floats) -> Floats:
    rolled_in = min(1.0, opened(curves) / ROLLED_IN_JAW)
    texture = rig.points[:, :2] + rig.lip_roll * np.float32(1 - rolled_in)
    for blink, slide in zip(curves[BLINKS], rig.lid_slide, strict=True):
        if blink > 0:
            texture = texture + slide * np.float32(min(1.0, float(blink) * LID_SLIDE_LEAD))
    return np.asarray(texture, np.float32)


def _eyeball(points: Floats, lids: Floats, rotation: Floats, translation: Floats, gaze: Floats) -> Layer:
    """points: of one eyeball at rest. lids: how far the lids [16, 3] over its edge have moved."""
    edge = slice(len(points) - len(lids), None)
    way = points[edge] - points[0]
    opened = lids * ((lids * way)[:, :2].sum(axis=1, keepdims=True) > 0)
    vertices = points.copy()
    vertices[edge] += opened
    vertices = vertices @ rotation.T + translation - np.array([0, 0, BEHIND_PX], np.float32)
    vertices[:, :2] += gaze * eyes.EYEBALL_MOVES[:, None]
    texture = points[:, :2] + eyes.edge_slide(float(gaze[0]))
    # What appears under a lid that opens wider is eye, not the shadow of the lashes that lay at
    # its edge.
    size = np.linalg.norm(way, axis=1, keepdims=True)
    texture[edge] -= way[:, :2] * np.minimum(
        np.linalg.norm(opened, axis=1, keepdims=True) / size * SHADOW_LEFT, SHADOW_DEPTH
    )
    return Layer(vertices.astype(np.float32), texture)
