"""What the goldens of mimicmotion do not show of people, skeletons, tiles and sizes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from personare.engines.mimicmotion.pictures import canvas_size
from personare.engines.mimicmotion.pose.align import fitted_line, on_limbs
from personare.engines.mimicmotion.pose.draw import draw, draw_line
from personare.engines.mimicmotion.pose.follow import Held, followed, held
from personare.engines.mimicmotion.pose.records import (
    packed,
    packed_skeletons,
    unpacked,
    unpacked_skeletons,
)
from personare.engines.mimicmotion.tiles import tiles_of
from personare.errors import InvalidOption, NoPersonFound
from personare.perception.whole_body.people import NOBODY, People
from personare.perception.whole_body.skeleton import NO_SKELETON, SEEN, Skeletons, skeletons_of
from personare.perception.whole_body.yolox import surviving

SIZE = (384, 288)


def person(scale: float = 1.0, shift: float = 0.0, score: float = 0.9) -> Skeletons:
    """Somebody whose points are spread over the picture, the same every time."""
    rng = np.random.default_rng(5)
    points = rng.uniform(60, 230, (1, 133, 2)) * scale + shift
    return skeletons_of(points, np.full((1, 133), score, np.float32), SIZE)


def people(*boxes: tuple[float, float, float, float]) -> People:
    count = len(boxes)
    bins = np.full((count, 133, 2), 100, np.int16)
    return People(np.array(boxes, float), bins, np.ones((count, 133), np.float32))


@pytest.mark.parametrize(
    ("resolution", "long"),
    [(256, 448), (320, 512), (384, 640), (448, 768), (512, 896), (576, 1024), (640, 1088), (704, 1216)],
)
def test_the_long_side_follows(resolution, long):
    assert canvas_size((100, 60), resolution) == (long, resolution)
    assert canvas_size((60, 60), resolution) == (resolution, long)


@pytest.mark.parametrize(("size", "overlap"), [(4, 0), (4, 4), (4, 7)])
def test_tiles_that_cannot_be_are_refused(size, overlap):
    with pytest.raises(InvalidOption, match=f"tiles of {size} frames cannot overlap by {overlap}"):
        tiles_of(20, size, overlap)


def test_every_frame_lies_in_a_tile_that_begins_with_the_picture():
    for frames in range(1, 40):
        tiles = tiles_of(frames, 5, 2)
        assert set(tiles.ravel()) == set(range(frames))
        assert not tiles[:, 0].any()


def test_lines_within_the_canvas_are_opencvs_own():
    rng = np.random.default_rng(1)
    ours, theirs = np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200, 3), np.uint8)
    for x0, y0, x1, y1 in [*rng.integers(2, 197, (300, 4)).tolist(), [50, 50, 50, 50]]:
        colour = tuple(float(c) for c in rng.integers(1, 255, 3))
        draw_line(ours, (x0, y0), (x1, y1), colour)
        cv2.line(theirs, (x0, y0), (x1, y1), colour, thickness=2)
        assert np.array_equal(ours, theirs)


def test_points_far_outside_and_scores_above_one_are_drawn():
    seen = person(scale=3000, score=1.4)
    assert draw(seen, (64, 64)).shape == (64, 64, 3)
    assert draw(person(shift=-5000), (64, 64)).max() == 0
    assert draw(person(score=1.4), (128, 96)).max() == 255
    assert draw(NO_SKELETON, (64, 64)).max() == 0


def test_a_score_of_just_the_limit_is_not_there():
    seen = person()
    seen.body_scores[0, 4] = SEEN
    assert not seen.seen[0, 4]
    assert draw(seen, (128, 96)).any()


def test_near_duplicates_are_dropped_and_neighbours_stay():
    boxes = np.array([[0, 0, 99, 99], [3, 0, 102, 99], [60, 0, 159, 99.0]])
    assert surviving(boxes, np.array([0.8, 0.9, 0.7])) == [1, 2]


def test_who_is_followed_stays_the_same_person():
    left, right = (0, 0, 50, 100), (100, 0, 160, 100)
    frames = [NOBODY, people(left, right), people(right, left), people((4, 0, 54, 100)), people(right)]
    assert list(followed(frames, "largest")) == [None, 1, 0, 0, 0]
    assert list(followed(frames, "leftmost"))[:4] == [None, 0, 1, 0]
    assert list(followed(frames, "2"))[:3] == [None, 1, 0]
    assert set(followed(frames, "3")) == {None}


def test_the_last_pose_is_held_for_a_while():
    told, here = Held(), person()
    shown = list(held([NO_SKELETON, here, *[NO_SKELETON] * 3, here], 2, told))
    assert [len(each) for each in shown] == [0, 1, 1, 1, 0, 1]
    assert (told.unseen, told.empty) == (4, 2)


def test_the_line_finds_scale_and_place():
    reference = person()
    guide = reference.moved(np.array([0.5, 0.5]), np.array([0.1, 0.2]))
    line = fitted_line(reference, [guide, NO_SKELETON], SIZE, SIZE)
    assert line.factor == pytest.approx([2, 2])
    assert line.apply(guide).body == pytest.approx(reference.body)


def test_joints_that_are_not_seen_do_not_enter_unless_as_published():
    reference, guide = person(), person()
    guide.body[0, 8], guide.body_scores[0, 8] = (9.0, 9.0), 0.1
    assert fitted_line(reference, [guide], SIZE, SIZE).factor == pytest.approx([1, 1])
    assert fitted_line(reference, [guide], SIZE, SIZE, published=True).factor[1] < 0.9


def test_without_a_common_joint_it_says_so():
    with pytest.raises(NoPersonFound, match="no joint in common"):
        fitted_line(person(), [person(score=0.1)], SIZE, SIZE)
    with pytest.raises(NoPersonFound):
        fitted_line(person(), [NO_SKELETON], SIZE, SIZE, published=True)


def test_limbs_keep_the_bones_of_the_picture():
    reference = person()
    assert on_limbs(reference, reference).body == pytest.approx(reference.body)
    moved = reference.moved(np.array([1.5, 1.5]), np.array([0.2, -0.1]))
    seen = on_limbs(reference, moved)
    assert seen.body == pytest.approx(reference.body)
    assert seen.hands == pytest.approx(reference.hands)
    assert seen.face == pytest.approx(reference.face)
    raised = replace(moved, body=moved.body.copy())
    raised.body[0, 4] += [0.0, -0.15]  # one wrist
    lifted = on_limbs(reference, raised)
    assert lifted.body[0, 4] - reference.body[0, 4] == pytest.approx([0, -0.1])
    assert lifted.body[0, 7] == pytest.approx(reference.body[0, 7])


def test_people_and_skeletons_are_kept_whole():
    frames = [people((0, 0, 9, 9), (1, 1, 5, 5)), NOBODY, people((2, 2, 3, 3))]
    again = unpacked(packed(frames, {}))
    assert [len(each) for each in again] == [2, 0, 1]
    assert np.array_equal(again[0].points(1), frames[0].points(1))
    kept = unpacked_skeletons(packed_skeletons([person(), NO_SKELETON, person(shift=3)], {}))
    assert [len(each) for each in kept] == [1, 0, 1]
    assert np.array_equal(kept[2].hands, person(shift=3).hands)
