"""Candidates and suppression, where the goldens do not look."""

from __future__ import annotations

import numpy as np
import pytest

from personare.perception.s3fd import candidates, surviving

pytestmark = pytest.mark.neural


def _maps(level: int, row: int, column: int, logit: float = 5.0) -> list[tuple[np.ndarray, np.ndarray]]:
    maps = []
    for i in range(6):
        logits = np.zeros((2, 8, 8), np.float32)
        logits[0] = 10
        if i == level:
            logits[:, row, column] = 0, logit
        maps.append((logits, np.zeros((4, 8, 8), np.float32)))
    return maps


def test_a_cell_without_offsets_is_its_prior() -> None:
    (box,) = candidates(_maps(level=2, row=3, column=5))
    np.testing.assert_allclose(box[:4], [8 + 5 * 16 - 32, 8 + 3 * 16 - 32, 8 + 5 * 16 + 32, 8 + 3 * 16 + 32])
    assert box[4] > 0.99


def test_scores_at_the_limit_are_no_candidates() -> None:
    assert len(candidates(_maps(0, 0, 0, logit=np.log(0.049 / 0.951)))) == 0
    assert len(candidates(_maps(0, 0, 0, logit=np.log(0.051 / 0.949)))) == 1


def test_no_candidate_is_no_face() -> None:
    assert surviving(np.zeros((0, 5), np.float32)).shape == (0, 5)


def test_areas_count_pixels_so_that_small_boxes_overlap_more() -> None:
    # 4 x 4 px each when sides are x1 - x0 + 1; 2 of 4 columns shared: 8 / 24 > 0.3. Without the
    # + 1: 3 / 15 = 0.2.
    pair = np.array([[0, 0, 3, 3, 0.9], [2, 0, 5, 3, 0.8]], np.float32)
    assert len(surviving(pair)) == 1
    apart = np.array(
        [[0, 0, 9, 9, 0.9], [5.4, 0, 14.4, 9, 0.8]], np.float32
    )  # 4.6 of 10 columns: 46 / 154 < 0.3
    assert len(surviving(apart)) == 2


def test_overlap_at_the_threshold_survives() -> None:
    # 6 of 13 columns of two boxes of 13: 6 / 20 = 0.3 exactly.
    pair = np.array([[0, 0, 12, 9, 0.9], [7, 0, 19, 9, 0.8]], np.float32)
    assert len(surviving(pair)) == 2


def test_of_equal_scores_the_later_counts_first_and_weak_ones_are_left_out() -> None:
    boxes = np.array([[0, 0, 9, 9, 0.7], [1, 0, 10, 9, 0.7], [50, 50, 60, 60, 0.5]], np.float32)
    faces = surviving(boxes)
    np.testing.assert_array_equal(faces, boxes[1:2])
