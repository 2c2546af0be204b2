"""The mesh head: subdivision by the book, and curves that move what they name."""

from __future__ import annotations

import numpy as np
import pytest

from personare.heads.mesh_head import EYES, TEETH, TONGUE, loop_refinement, mesh_head
from personare.motion import ARKIT_UNITS

TETRAHEDRON = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]], np.int32)


def curves(**weights: float) -> np.ndarray:
    made = np.zeros(len(ARKIT_UNITS), np.float32)
    for name, weight in weights.items():
        made[ARKIT_UNITS.index(name)] = weight
    return made


def test_a_tetrahedron_by_loops_rule() -> None:
    rule, fine = loop_refinement(TETRAHEDRON, 4)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)
    points = rule.apply(corners)
    assert (len(points), len(fine)) == (4 + 6, 16)
    # valence 3: 7/16 v + 3/16 of the sum of the others, which is -v here
    np.testing.assert_allclose(points[:4], corners * (7 / 16 - 3 / 16), atol=1e-6)
    # an edge: 3/8 of its ends and 1/8 of the other two, whose sum is minus that of the ends
    sums = np.linalg.norm(points[4:], axis=1)
    np.testing.assert_allclose(sums, np.linalg.norm((3 / 8 - 1 / 8) * np.array([2, 0, 0])), atol=1e-6)


def test_a_border_stays_and_a_plane_stays_plane() -> None:
    triangles = np.array([[0, 1, 4], [1, 3, 4], [3, 2, 4], [2, 0, 4]], np.int32)
    square = np.array([[0, 0, 5], [1, 0, 5], [0, 1, 5], [1, 1, 5], [0.5, 0.5, 5]], np.float32)
    rule, fine = loop_refinement(triangles, 5)
    points = rule.apply(square)
    assert np.all(points[:, 2] == 5)
    np.testing.assert_allclose(rule.apply(np.ones((5, 1), np.float32)), 1, atol=1e-6)
    np.testing.assert_allclose(points[0], [1 / 8, 1 / 8, 5], atol=1e-6)
    a, b, c = (points[fine[:, i]] for i in range(3))
    areas = np.cross(b - a, c - a)[:, 2]
    assert (areas > 0).all()


def test_the_carried_head_is_whole() -> None:
    head = mesh_head()
    assert head.triangles.max() == len(head.paint_at) - 1
    assert np.isfinite(head.vertices).all()
    assert head.unit_starts[-1] == len(head.unit_vertices) == len(head.unit_moves)
    for first, last in zip(head.unit_starts[:-1], head.unit_starts[1:], strict=True):
        assert len(np.unique(head.unit_vertices[first:last])) == last - first > 0
    for number in (0, *EYES, *TEETH, TONGUE):
        assert (head.part == number).any()
    corners = head.part[head.triangles]
    assert (corners == corners[:, :1]).all()
    height, width = head.paint.shape[:2]
    assert (head.paint_at[head.part > 0] >= 0).all()
    assert (head.paint_at[head.part > 0] <= (width, height)).all()


@pytest.mark.parametrize(
    ("unit", "place", "direction"),
    [
        ("jawOpen", (0, -1.15), (0, -1)),
        ("eyeBlinkLeft", (0.35, 0.03), (0, -1)),
        ("browInnerUp", (0.12, 0.2), (0, 1)),
    ],
)
def test_units_move_what_they_name(
    unit: str, place: tuple[float, float], direction: tuple[float, float]
) -> None:
    head = mesh_head()
    rest = head.shaped(curves())
    moved = head.shaped(curves(**{unit: 1.0})) - rest
    skin = np.flatnonzero((head.part == 0) & (rest[:, 2] > -0.3))
    near = skin[np.argsort(np.linalg.norm(rest[skin, :2] - place, axis=1))[:12]]
    assert (moved[near, :2] @ direction).mean() > 0.03
    assert not moved[rest[:, 1] < -2.2].any()


def test_units_add_up() -> None:
    head = mesh_head()
    rest = head.shaped(curves())
    both = head.shaped(curves(jawOpen=0.3, mouthPucker=0.5)) - rest
    one, other = head.shaped(curves(jawOpen=0.3)) - rest, head.shaped(curves(mouthPucker=0.5)) - rest
    np.testing.assert_allclose(both, one + other, atol=1e-5)


def test_what_does_not_move_is_left_out_to_the_same_bit() -> None:
    head = mesh_head()
    for asked in (curves(), curves(jawOpen=0.3, eyeBlinkLeft=0.7), np.ones(len(ARKIT_UNITS), np.float32)):
        weights = asked.repeat(np.diff(head.unit_starts))
        moved = head.vertices.copy()
        for axis in range(3):
            moved[:, axis] += np.bincount(head.unit_vertices, head.unit_moves[:, axis] * weights, len(moved))
        assert np.array_equal(head.shaped(asked), head.rule.apply(moved))
