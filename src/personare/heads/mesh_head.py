"""The mesh head: MakeHuman's (CC0), with the 52 ARKit units, subdivided so that its outline is
smooth.

Axes: x to the subject's left (image right), y up, z to the viewer. Made by
tools/build_mesh_head.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from personare.media.image import read_image
from personare.types import Image

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

PAINT_PX_PER_DM = 256.0
PAINT_TOP_LEFT = (-2.0, 8.6)
"""Of the front of the head in the paint, decimetres right and up."""
PAINT_SIZE = (1024, 1280)
"""(width, height): the front of the head, and below it the patches."""
EYE_LINE_DM, EYE_PLANE_DM = 7.285, 1.30
"""Height of the eyes' corners above the floor, and how far forward they are."""

EYES, TEETH, TONGUE = (1, 2), (3, 4), 5
"""Numbers of the parts; 0 is the skin."""


@dataclass(frozen=True, slots=True)
class PaintPatch:
    """A part of the paint of its own. corner: (x, y) px; size: (w, h) px."""

    corner: tuple[int, int]
    size: NDArray[np.int64]

    @property
    def centre(self) -> NDArray[np.float64]:
        return np.asarray(self.corner + self.size / 2)


EYE_PATCH = PaintPatch((0, 1024), np.array([256, 256]))
TEETH_PATCHES = (PaintPatch((256, 1024), np.array([512, 128])), PaintPatch((256, 1152), np.array([512, 128])))
TONGUE_PATCH = PaintPatch((768, 1024), np.array([256, 256]))


@dataclass(frozen=True, slots=True)
class MeshHead:
    """n coarse vertices; k >= n fine ones, numbered from the top of the head down, as the
    triangles are: what is near in the picture is then near in memory.

    vertices: float32 [n, 3] in eye distances, the middle between the outer eye corners at the
        origin.
    unit_vertices, unit_moves: vertex numbers int [u] and displacements float32 [u, 3] of all
        units after one another; unit i has those from unit_starts[i] to unit_starts[i + 1].
    triangles: int32 [m, 3] of fine vertices.
    paint_at: float32 [k, 2] place in the paint, px.
    openness: float32 [k], how much light reaches the place.
    part: uint8 [k].
    paint: uint8 [H, W, 3].
    """

    vertices: Floats
    unit_vertices: Ints
    unit_moves: Floats
    unit_starts: Ints
    triangles: Ints
    paint_at: Floats
    openness: Floats
    part: NDArray[np.uint8]
    paint: Image
    rule: SparseSums
    moving_rule: SparseSums
    """What of it any unit changes."""
    rest: Floats
    """Fine vertices float32 [k, 3] with all units at 0."""

    def shaped(self, curves: Floats) -> Floats:
        """Fine vertices float32 [k, 3] in eye distances, each column in one piece, for weights
        [52] of ARKIT_UNITS.
        """
        curves = np.asarray(curves, np.float32)
        shape = self.rest.T.copy()
        if not curves.any():
            return shape.T
        weights = curves.repeat(np.diff(self.unit_starts))
        at = np.flatnonzero(weights)
        weights, vertices = weights[at], self.unit_vertices[at]
        moved = self.vertices.copy()
        for axis, moves in enumerate(self.unit_moves.T):
            moved[:, axis] += np.bincount(vertices, moves.take(at) * weights, len(moved))
        return self.moving_rule.apply(moved, over=shape)


@dataclass(frozen=True, slots=True)
class SparseSums:
    """A linear map whose results are weighted sums of few sources each.

    Results of equally many sources are taken together: in each of the groups result rows[i] is
    the sum of weights[:, i] * values[sources[:, i]]. rows: int [r]. sources: int [t, r].
    weights: float32 [t, r], or None where all are 1. count: of all results.
    """

    groups: tuple[tuple[NDArray[np.intp], NDArray[np.intp], Floats | None], ...]
    count: int

    @classmethod
    def of(
        cls,
        rows: NDArray[np.integer],
        sources: NDArray[np.integer],
        weights: NDArray[np.floating],
        count: int,
    ) -> SparseSums:
        """Of terms in any order: each adds weight * values[source] to a row below count."""
        order = np.argsort(rows, kind="stable")
        sources, weights = sources[order], weights[order]
        terms = np.bincount(rows, minlength=count)
        starts = np.cumsum(terms) - terms
        groups = []
        for many in np.unique(terms[terms > 0]):
            alike = np.flatnonzero(terms == many)
            places = starts[alike] + np.arange(many)[:, None]
            scale = weights[places].astype(np.float32)
            groups.append((alike, sources[places].astype(np.intp), None if np.all(scale == 1) else scale))
        return cls(tuple(groups), count)

    def reordered(self, order: NDArray[np.integer]) -> SparseSums:
        """With result order[i] as result i."""
        place = np.argsort(order)
        groups = tuple((place[rows], sources, weights) for rows, sources, weights in self.groups)
        return SparseSums(groups, self.count)

    def touched(self, sources: NDArray[np.bool_]) -> SparseSums:
        """The rows alone that some of these sources, bool [n], come into."""
        groups = []
        for rows, terms, weights in self.groups:
            some = np.flatnonzero(sources[terms].any(axis=0))
            if len(some):
                scale = None if weights is None else weights.take(some, axis=1)
                groups.append((rows[some], terms.take(some, axis=1), scale))
        return SparseSums(tuple(groups), self.count)

    def apply(self, values: Floats, over: Floats | None = None) -> Floats:
        """float32 [count, c] of [n, c]; each column of the result is in one piece.

        over: float32 [c, count], written to in place; rows without terms stay as they are
        there, or are 0.
        """
        columns = np.ascontiguousarray(values.T, np.float32)
        made = np.zeros((len(columns), self.count), np.float32) if over is None else over
        for rows, sources, weights in self.groups:
            for column, result in zip(columns, made, strict=True):
                terms = column.take(sources)
                if weights is not None:
                    terms *= weights
                result[rows] = terms.sum(axis=0)
        return made.T


def loop_refinement(triangles: Ints, count: int) -> tuple[SparseSums, Ints]:
    """One round of Loop subdivision (Loop 1987; weights after Warren 1995) of a mesh with
    borders.

    triangles: [m, 3] over `count` vertices. Returns the map, and the fine triangles [4 m, 3]:
    vertex first, then edge points. Borders are cubic B-splines, so that they stay where they
    are without their neighbours inside.
    """
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    opposite = np.concatenate([triangles[:, 2], triangles[:, 0], triangles[:, 1]])
    unique, number = np.unique(edges, axis=0, return_inverse=True)
    number = number.reshape(-1)
    uses = np.bincount(number, minlength=len(unique))
    border = uses == 1
    rows: list[NDArray[np.int64]] = []
    sources: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []

    def add(row: NDArray[np.int64], source: NDArray[np.int64], weight: NDArray[np.float64]) -> None:
        rows.append(row)
        sources.append(source)
        weights.append(weight)

    # Vertices inside: (1 - n b) v + b * neighbours. On a border: 3/4 v + 1/8 of the two border
    # neighbours.
    on_border = np.zeros(count, bool)
    on_border[unique[border]] = True
    both = np.concatenate([unique, unique[:, ::-1]])
    valence = np.bincount(both[:, 0], minlength=count)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    everyone = np.arange(count)
    add(everyone, everyone, np.where(on_border, 0.75, 1 - valence * beta))
    inner = ~on_border[both[:, 0]]
    add(both[inner, 0], both[inner, 1], beta[both[inner, 0]])
    rim = np.concatenate([unique[border], unique[border][:, ::-1]])
    rim_valence = np.bincount(rim[:, 0], minlength=count)
    add(rim[:, 0], rim[:, 1], 0.25 / np.maximum(rim_valence[rim[:, 0]], 1))
    # Edges inside: 3/8 of the ends, 1/8 of the opposite corners. On a border: the middle.
    at = count + np.arange(len(unique))
    for end in (0, 1):
        add(at, unique[:, end], np.where(border, 0.5, 0.375))
    shared = uses[number] >= 2
    add(count + number[shared], opposite[shared], 0.25 / uses[number[shared]])
    terms = (np.concatenate(rows), np.concatenate(sources), np.concatenate(weights))
    middle = number.reshape(3, -1).T + count  # of the edges 01, 12, 20
    a, b, c = triangles.T
    ab, bc, ca = middle.T
    fine = np.concatenate(
        [np.stack(corners, axis=1) for corners in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
    )
    return SparseSums.of(*terms, count + len(unique)), fine.astype(np.int32)


@cache
def mesh_head() -> MeshHead:
    """The bundled head, subdivided once; read-only by convention."""
    folder = files("personare.heads") / "data"
    arrays = safetensors.numpy.load((folder / "mesh_head.safetensors").read_bytes())
    unit, step = float(arrays["eye_distance_dm"][0]), float(arrays["move_step_dm"][0])
    paint = read_image(Path(str(folder / "mesh_head.jpg")))
    triangles = arrays["triangles"].astype(np.int32)
    rule, fine = loop_refinement(triangles, len(arrays["vertices"]))
    part = arrays["part"]
    whole = rule.apply(
        np.concatenate([arrays["paint_at"], arrays["openness"][:, None] / np.float32(255)], axis=1)
    )
    fine_part = np.empty(len(whole), np.uint8)
    fine_part[fine] = part[triangles][:, :1].repeat(3, axis=1)[np.tile(np.arange(len(triangles)), 4)]
    downwards = np.argsort(-rule.apply(arrays["vertices"])[:, 1], kind="stable")
    rule, whole, fine_part = rule.reordered(downwards), whole[downwards], fine_part[downwards]
    fine = np.argsort(downwards).astype(np.int32)[fine]
    fine = fine[np.argsort(fine.sum(axis=1), kind="stable")]
    origin = np.array([0.0, EYE_LINE_DM, EYE_PLANE_DM], np.float32)
    vertices = ((arrays["vertices"] - origin) / unit).astype(np.float32)
    unit_vertices = arrays["unit_vertices"].astype(np.int32)
    moves = np.zeros(len(vertices), bool)
    moves[unit_vertices] = True
    return MeshHead(
        vertices=vertices,
        unit_vertices=unit_vertices,
        unit_moves=(arrays["unit_moves"] * (step / unit)).astype(np.float32),
        unit_starts=arrays["unit_starts"],
        triangles=fine,
        paint_at=np.ascontiguousarray(whole[:, :2]),
        openness=np.ascontiguousarray(np.clip(whole[:, 2], 0, 1)),
        part=fine_part,
        paint=paint,
        rule=rule,
        moving_rule=rule.touched(moves),
        rest=rule.apply(vertices),
    )
