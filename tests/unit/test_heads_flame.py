"""The FLAME head: read strictly, moved, drawn as a plain reference draws it, and its motion for
other heads.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.performance import PuppetMovement
from personare.errors import LicenceNotAccepted, WeightsMismatch
from personare.heads.flame import Flame, FlameHead, flame_file, rotation
from personare.heads.flame_mesh import MeshPicture
from personare.heads.head468 import LOWER_INNER_LIP, UPPER_INNER_LIP, head468
from personare.heads.retarget import FlameToArkit, head_angles, open_retarget, way
from personare.motion import ARKIT, ARKIT_UNITS, FLAME, Motion
from personare.weights.finder import Weights
from tests.conformance.artalk_cases import standin
from tests.conformance.flame_faces import face_flame, write_face
from tests.conformance.flame_standin import flame_standin, write_standin
from tests.unit.mesh_reference import mesh_picture

pytestmark = pytest.mark.neural

UNIT = {name: number for number, name in enumerate(ARKIT_UNITS)}
STILL = np.zeros(3, np.float32)


def test_it_is_read_from_its_file(tmp_path):
    made, read = standin(), Flame.read(write_standin(tmp_path / "FLAME_with_eye.pt"))
    np.testing.assert_array_equal(read.template, made.template)
    np.testing.assert_array_equal(read.expressions, made.expressions)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"flame_model": {"v_template": np.zeros((5022, 3), np.float32)}}, "v_template"),
        ({"flame_model": {"f": np.full((9, 3), 5023)}}, "f points outside"),
        ({"flame_model": {"kintree_table": np.array([[-1, 0, 0, 1, 1]] * 2)}}, "joints hang"),
        ({"flame_model": {"shapedirs": np.full((5023, 3, 400), np.nan, np.float32)}}, "NaN"),
        ({"lmk_embeddings_mediapipe": {"lmk_face_idx": np.arange(104)}}, "lmk_face_idx"),
    ],
)
def test_another_head_is_told(tmp_path, parts, told):
    with pytest.raises(WeightsMismatch, match=told):
        Flame.read(write_standin(tmp_path / "a.pt", **parts))


def test_flame_as_its_authors_give_it_is_told(tmp_path):
    torch.save({"f": torch.zeros(9976, 3), "v_template": torch.zeros(5023, 3)}, tmp_path / "flame2020.pt")
    with pytest.raises(WeightsMismatch, match="'flame_model' is missing") as told:
        Flame.read(tmp_path / "flame2020.pt")
    assert "FLAME 2020" in told.value.hint


def test_who_has_none_is_told_the_way(tmp_path):
    with pytest.raises(LicenceNotAccepted, match="everybody has to fetch himself") as told:
        flame_file(Weights(tmp_path))
    assert "flame.is.tue.mpg.de" in told.value.hint
    assert str(tmp_path / "flame" / "FLAME_with_eye.pt") in told.value.hint
    assert told.value.exit_code == 4


def test_small_turns_are_those_of_the_exact_formula():
    turn = np.array([0.2, -0.1, 0.3], np.float32)
    made = rotation(turn)
    np.testing.assert_allclose(made @ made.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(made @ turn, turn, atol=1e-6)
    np.testing.assert_array_equal(rotation(STILL), np.eye(3))


def test_the_picture_is_that_of_the_plain_reference():
    model = standin()
    rng = np.random.default_rng(3)
    expression = rng.normal(size=100).astype(np.float32)
    turn, jaw = np.array([0.2, 0.5, -0.1], np.float32), np.array([0.1, 0, 0], np.float32)
    vertices = FlameHead(model).vertices(expression, turn, jaw)
    size = 72
    fast = MeshPicture(model.faces, len(vertices), size).colours(vertices)
    plain = mesh_picture(vertices, model.faces, size)
    np.testing.assert_array_equal(fast.min(-1) < 255, plain.min(-1) < 255)
    assert np.abs(fast - plain).max() < 0.01


def test_a_picture_shows_nothing_of_the_one_before():
    model = standin()
    head, expression = FlameHead(model), np.zeros(100, np.float32)
    picture = MeshPicture(model.faces, 5023, 96)
    turned = head.vertices(expression, np.array([0, 1, 0], np.float32), STILL)
    straight = head.vertices(expression, None, STILL)
    first = picture.draw(straight)
    kept = first.copy()
    assert (picture.draw(turned) != first).any()
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(picture.draw(straight), first)


def test_turns_are_told_as_faces_tell_them():
    for axis, place, sign in ((1, 0, 1), (0, 1, -1), (2, 2, -1)):
        turn = np.zeros(3, np.float32)
        turn[axis] = np.radians(12)
        angles = np.zeros(3)
        angles[place] = sign * 12
        np.testing.assert_allclose(head_angles(turn), angles, atol=1e-5)
    # All at once: the nose points where the angles say.
    turn = np.array([0.2, -0.3, 0.1], np.float32)
    yaw, pitch, roll = np.radians(head_angles(turn))
    nose = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    tilt = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    np.testing.assert_allclose(tilt @ nose, rotation(turn) @ [0, 0, 1], atol=1e-6)


@pytest.fixture(scope="module")
def retarget():
    return FlameToArkit(face_flame())


def flame_motion(curves):
    """What does these curves on the face of `flame_faces`."""
    values = np.zeros((len(curves), FLAME.width), np.float32)
    values[:, : len(UNIT)] = curves
    return Motion(FLAME, Fraction(25), values)


def gap(curves):
    """How far the lips part, in eye distances."""
    places = head468().neutral + np.einsum("nu,upc->npc", curves, head468().deltas)
    columns = np.array([2, 3, 5, 7, 8])
    upper, lower = (places[:, np.array(lip)[columns], 1] for lip in (UPPER_INNER_LIP, LOWER_INNER_LIP))
    return (upper - lower).mean(1)


def test_a_face_at_rest_is_at_rest(retarget):
    made = retarget(flame_motion(np.zeros((1, 52), np.float32)))
    assert made.space is ARKIT
    assert np.abs(made.values).max() < 1e-3


@pytest.mark.parametrize(
    ("unit", "least"),
    [
        ("jawOpen", 0.4),
        ("mouthPucker", 0.4),
        ("mouthSmileLeft", 0.4),
        ("browInnerUp", 0.1),  # the bundled head moves its brows by a fifth of what faces do
        ("eyeBlinkRight", 0.4),
    ],
)
def test_what_a_unit_does_comes_back_as_that_unit(retarget, unit, least):
    curves = np.zeros((1, 52), np.float32)
    curves[0, UNIT[unit]] = 0.6
    made = retarget(flame_motion(curves)).values[0, :52]
    assert made[UNIT[unit]] > least
    assert made.argmax() == UNIT[unit]


def test_closures_survive(retarget, voice_samples):
    """ "My mother bought five purple shoes": the lips meet where they met, and nowhere else."""
    movement = PuppetMovement(PuppetOptions(fps=25))
    spoken = np.concatenate([part.values for part in [*movement.feed(voice_samples), *movement.finish()]])
    curves = spoken[:, :52]
    made = retarget(flame_motion(curves)).values[:, :52]
    wanted, got = gap(curves), gap(made)
    shut = wanted < 0.006
    assert shut.sum() >= 3
    assert got[shut].max() < 0.01
    assert (got[wanted > 0.03] > 0.015).all()
    assert np.corrcoef(wanted, got)[0, 1] > 0.97


def test_no_frame_depends_on_others(retarget):
    curves = np.random.default_rng(1).uniform(0, 0.5, (6, 52)).astype(np.float32)
    whole = retarget(flame_motion(curves)).values
    parts = [retarget(flame_motion(curves[n : n + 1])).values for n in range(6)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_head_without_lips_is_told():
    held = flame_standin()
    with pytest.raises(WeightsMismatch, match="no landmarks of the lips"):
        FlameToArkit(Flame._of(held["flame_model"], held["lmk_embeddings_mediapipe"]))


def test_ways_between_spaces(tmp_path):
    assert way("arkit-60", frozenset({"arkit-60"})) == "arkit-60"
    assert way("flame-106", frozenset({"arkit-60"})) == "arkit-60"
    assert way("arkit-60", frozenset({"flame-106"})) is None
    write_face(tmp_path / "flame" / "FLAME_with_eye.pt")
    weights = Weights(tmp_path)
    assert open_retarget("arkit-60", frozenset({"arkit-60"}), weights) is None
    assert isinstance(open_retarget("flame-106", frozenset({"arkit-60"}), weights), FlameToArkit)


def test_a_head_that_turns_away_stays_where_a_photo_can_follow():
    for turn in ([0, 3.0, 0], [2.0, 0, 0], [0.5, 2.5, 0.5]):
        assert max(map(abs, head_angles(np.array(turn, np.float32)))) < 36
    assert head_angles(np.array([0, 0.3, 0], np.float32))[0] == pytest.approx(np.degrees(0.3), abs=1e-3)
    assert head_angles(np.zeros(3, np.float32)) == (0, 0, 0)
