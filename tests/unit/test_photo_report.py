"""What a photo is good for, on photos made better and worse."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.options import PuppetOptions
from personare.errors import NoFaceFound
from personare.media.image import read_image
from personare.perception.face import find_face, to_choose_from
from personare.perception.photo_report import SOFT_BELOW, photo_report, sharpness
from personare.studio.remarks import of_the_portrait
from personare.types import Feature
from tests.unit.puppet_avatars import face_state, prepare


@pytest.fixture(scope="module")
def picture(portrait):
    """The bundled portrait, twice its size so that its face is large."""
    image = read_image(portrait)
    return cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def seen(picture):
    return photo_report(picture)


def with_glasses(picture, thickness):
    """Dark frames drawn around the eyes, and a bridge."""
    face = find_face(picture)
    points, unit, drawn = face.landmarks[:, :2], face.eye_distance_px, picture.copy()
    width = max(1, round(thickness * unit))
    middles = [
        (points[outer] + points[inner]) / 2 + [0, 0.04 * unit] for outer, inner in ((33, 133), (263, 362))
    ]
    for middle in middles:
        centre = tuple(int(v) for v in np.rint(middle))
        cv2.ellipse(
            drawn,
            centre,
            (round(0.22 * unit), round(0.17 * unit)),
            face.roll,
            0,
            360,
            (30, 25, 25),
            width,
            cv2.LINE_AA,
        )
    ends = [middles[0] + [0.22 * unit, 0], middles[1] - [0.22 * unit, 0]]
    cv2.line(drawn, *[tuple(int(v) for v in np.rint(end)) for end in ends], (30, 25, 25), width, cv2.LINE_AA)
    return drawn


def test_the_bundled_portrait_smiles_from_the_front(seen):
    assert abs(seen.yaw) < 5
    assert abs(seen.pitch) < 5
    assert seen.is_open
    assert not seen.glasses
    assert seen.face_height_px > seen.eye_distance_px > 100
    assert not [line for line in seen.advice if "open" in line], "a smile shuts well"


def test_a_mouth_that_shouts_gets_advice():
    """The portrait itself with its jaw dropped."""
    features = prepare(size=512, face_height=0.5)
    shouting = FaceRenderer(features).render(
        face_state({"jawOpen": 0.7, "mouthLowerDown": 0.4, "mouthUpperUp": 0.3})
    )
    report = photo_report(shouting)
    assert report.mouth_open > 0.2
    assert any("wide open" in line for line in report.advice)
    assert not any("wide open" in line for line in photo_report(shouting, moving=True).advice)


def test_several_faces_are_told(picture, seen):
    two = photo_report(np.hstack([picture, picture]))
    assert (seen.faces, two.faces) == (1, 2)
    assert any(line.startswith("2 faces seen") for line in two.advice)


def test_people_far_behind_are_not_meant():
    """As large as 55 % of the largest counts, 45 % does not."""
    seen = [
        SimpleNamespace(
            pose=SimpleNamespace(eye_distance_px=size), detection=SimpleNamespace(box=[x, 0, x + size, size])
        )
        for x, size in ((300.0, 100.0), (500.0, 55.0), (0.0, 45.0))
    ]
    assert to_choose_from(seen) == seen[:2]


@pytest.mark.parametrize("thickness", [0.012, 0.03])
def test_drawn_frames_are_seen(picture, seen, thickness):
    drawn = photo_report(with_glasses(picture, thickness))
    assert drawn.glasses
    assert drawn.glasses_evidence > 1 > 1.5 * seen.glasses_evidence
    assert any("glasses" in line for line in drawn.advice)


def test_a_spot_on_the_nose_or_one_rim_is_no_glasses(picture):
    face = find_face(picture)
    bridge = tuple(int(v) for v in face.landmarks[168, :2])
    cheek = tuple(int(v) for v in face.landmarks[50, :2])
    for centre in (bridge, cheek):
        spotted = picture.copy()
        cv2.circle(spotted, centre, 4, (20, 20, 20), -1)
        assert not photo_report(spotted).glasses


def test_blur_is_measured_and_advised_about(picture):
    values = [photo_report(cv2.GaussianBlur(picture, (0, 0), blur)).sharpness for blur in (1, 2, 4)]
    assert values == sorted(values, reverse=True)
    blurred = photo_report(cv2.GaussianBlur(picture, (0, 0), 5))
    assert blurred.sharpness < SOFT_BELOW
    assert any("blurred" in line for line in blurred.advice)


def test_a_small_or_leaning_face_is_advised_about(picture):
    small = photo_report(cv2.resize(picture, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA))
    assert any("small" in line for line in small.advice)
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -30, 1)
    leaning = photo_report(cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE))
    assert 20 < leaning.roll < 40
    assert any("leans" in line for line in leaning.advice)


def test_sharpness_of_plain_things():
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 255, (80, 80)).astype(np.float32)
    ramp = np.tile(np.arange(80, dtype=np.float32), (80, 1))
    assert sharpness(noise) > 0.8
    assert sharpness(ramp) < 0.1
    assert sharpness(np.zeros((80, 80), np.float32)) == 0.0


def test_no_face_is_an_error_here_and_silence_on_the_command_line(cli, portrait, tmp_path):
    with pytest.raises(NoFaceFound):
        photo_report(np.full((200, 200, 3), 128, np.uint8))
    ended = cli("avatar", "create", "anna", portrait, "--set", "size=256", "--json")
    assert ended.json["photo"]["mouth_open"] > 0
    assert isinstance(ended.json["photo"]["advice"], list)
    assert cli("avatar", "create", "bert", portrait, "--set", "size=256").out.startswith(
        "photo: 512x512, face"
    )


@pytest.mark.parametrize(
    ("probability", "score", "person"),
    [(1.0, 0.55, True), (0.99, 0.9, True), (0.99, 0.6, False), (0.95, 0.75, False)],
)
def test_what_may_be_no_person_is_asked_about(picture, monkeypatch, probability, score, person):
    """Animals that pass for faces do so with less certainty than people on both counts."""
    face = replace(find_face(picture), probability=probability, score=score)
    monkeypatch.setattr("personare.perception.photo_report.find_face", lambda *_: face)
    report = photo_report(picture)
    assert report.person == person
    assert any("is this a person?" in line for line in report.advice) != person
    facts = {"doubtful": True} if face.is_doubtful else {}
    assert bool(of_the_portrait({"puppet.face": Feature({}, facts)}, PuppetOptions())) != person


def test_the_bundled_portrait_is_a_person(picture):
    face = find_face(picture)
    assert face.probability > 0.999
    assert not face.is_doubtful
