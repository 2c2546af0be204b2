"""The recipe of a portrait: what each option recomputes, and where the crop lies."""

from __future__ import annotations

import numpy as np
import pytest

from personare.engines.puppet.fit.rig import Rig
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.prepare import CROP, FACE, RIG, recipe
from personare.errors import NoFaceFound
from personare.media.image import read_image
from tests.unit.puppet_avatars import PORTRAIT, prepare, prepare_anew, write_picture


def declared(**options: object) -> dict[str, tuple[object, ...]]:
    """All of every stage that enters its key."""
    return {
        stage.name: (stage.version, dict(stage.parameters), stage.needs, stage.reads, stage.weights)
        for stage in recipe(PuppetOptions(**options)).stages
    }


@pytest.fixture(scope="module")
def features():
    return prepare(size=256)


def test_motion_options_prepare_nothing_again():
    assert declared() == declared(fps=60, seed=7, expressiveness=1.3, head_motion=0, blink_rate=2, gaze=0)


@pytest.mark.parametrize("change", [{"size": 768}, {"face_height": 0.5}])
def test_another_crop_leaves_the_face(change):
    before, after = declared(), declared(**change)
    assert before[FACE] == after[FACE]
    assert before[CROP] != after[CROP]
    assert CROP in after[RIG][2], "the rig's key must follow from the crop's"


def test_stages_name_the_networks_they_use():
    stages = declared()
    assert len(stages[FACE][4]) == 3
    assert len(stages[CROP][4]) == 1
    assert not set(stages[FACE][4]) & set(stages[CROP][4])


def test_crop_is_square_with_the_face_in_its_place(features):
    crop = features[CROP].arrays
    assert crop["picture"].shape == (256, 256, 3)
    assert crop["picture"].dtype == np.uint8
    assert crop["matte"].shape == (256, 256)
    low, high = crop["landmarks"][:, :2].min(axis=0), crop["landmarks"][:, :2].max(axis=0)
    assert (high - low)[1] == pytest.approx(0.40 * 256, rel=0.05)
    assert (low + high)[0] / 2 == pytest.approx(128, abs=3)


def test_crop_keeps_landmarks_on_the_face(features):
    """The crop's own landmarks and a fresh look at the crop agree."""
    from personare.perception import find_face

    again = find_face(features[CROP].arrays["picture"]).landmarks[:, :2]
    assert np.abs(again - features[CROP].arrays["landmarks"][:, :2]).mean() < 0.02 * 256 * 0.4


def test_a_face_near_the_border_is_shifted_not_streaked(tmp_path):
    picture = read_image(PORTRAIT)
    tight = picture[55:215, 145:320]
    crop = prepare(write_picture(tmp_path / "tight.jpg", np.ascontiguousarray(tight)), size=256)[CROP]
    assert crop.metadata["x"] >= 0
    assert crop.metadata["y"] >= 0
    assert crop.metadata["side"] <= 160


def test_a_face_cut_by_the_border_is_not_continued_beyond_it(tmp_path):
    """A square headshot without forehead is used whole: a streaked one would show at every
    word.
    """
    picture = read_image(PORTRAIT)
    side = 130
    headshot = np.ascontiguousarray(picture[75 : 75 + side, 165 : 165 + side])
    crop = prepare(write_picture(tmp_path / "headshot.jpg", headshot), size=256)[CROP]
    assert crop.arrays["landmarks"][:, 1].min() < 0
    assert dict(crop.metadata) == {"x": 0, "y": 0, "side": side}


def test_full_size_crop_copies_pixels(tmp_path):
    picture = read_image(PORTRAIT)
    side = int(prepare(size=256)[CROP].metadata["side"])
    even = side + side % 2
    features = prepare(size=even, face_height=0.40 * side / even)
    x, y, taken = (int(features[CROP].metadata[name]) for name in ("x", "y", "side"))
    if taken == even:
        assert np.array_equal(features[CROP].arrays["picture"], picture[y : y + even, x : x + even])
    assert abs(taken - even) <= 1


def test_rig_survives_the_store(features):
    rig = Rig.from_feature(features[RIG])
    again = Rig.from_feature(rig.to_feature())
    assert again.photo_teeth_corner == rig.photo_teeth_corner
    assert np.array_equal(again.deltas, rig.deltas)
    for name, array in features[RIG].arrays.items():
        assert np.isfinite(array).all(), name


def test_preparation_is_deterministic(features):
    again = prepare_anew(size=256)
    for stage in (FACE, CROP, RIG):
        for name, array in features[stage].arrays.items():
            assert np.array_equal(array, again[stage].arrays[name]), (stage, name)
        assert features[stage].metadata == again[stage].metadata


def test_a_picture_without_a_face_is_refused(tmp_path):
    grey = np.full((300, 300, 3), 128, np.uint8)
    with pytest.raises(NoFaceFound, match=r"grey\.jpg"):
        prepare(write_picture(tmp_path / "grey.jpg", grey))


def test_the_rig_knows_the_teeth_that_the_picture_shows(features):
    rig = Rig.from_feature(features[RIG])
    shown = rig.photo_teeth[rig.photo_teeth[..., 3] > 200][:, :3]
    assert len(shown) > 50
    assert shown.mean() > 150


def test_rings_end_still_and_hair_moves_with_the_head(features):
    rig = Rig.from_feature(features[RIG])
    outer, third = rig.head_weight[-36:], rig.head_weight[-72:-36]
    assert (outer == 0).all()
    assert (rig.deltas[:, -36:] == 0).all()
    assert third[0] > 0.9, "above the forehead, up to the silhouette"
    assert third[18] < 0.3, "below the chin"
