"""Which face of a portrait speaks, which picture of an animation, and what lies behind it."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from personare.engines.float.options import FloatOptions
from personare.engines.float.prepare import DETECTION_HEIGHT, first_face
from personare.engines.musetalk.options import MuseTalkOptions
from personare.engines.puppet.engine import Puppet
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.prepare import recipe
from personare.errors import InvalidOption, NoFaceFound
from personare.media.image import read_image
from personare.perception.face import find_face
from personare.perception.portrait import portrait_template, read_portrait
from personare.perception.track import track_face
from tests.unit.puppet_avatars import PORTRAIT, prepare

SIZES = (420, 500, 460)
"""Of three portraits of one person, from left to right."""


@pytest.fixture(scope="module")
def group() -> np.ndarray:
    portrait = read_image(PORTRAIT)
    picture = np.full((540, 1500, 3), 200, np.uint8)
    for place, size in enumerate(SIZES):
        small = cv2.resize(portrait, (size, size), interpolation=cv2.INTER_AREA)
        picture[20 : 20 + size, 500 * place : 500 * place + size] = small
    return picture


@pytest.mark.parametrize(
    ("choice", "place"), [("largest", 1), ("left", 0), ("right", 2), ("1", 0), ("2", 1), ("3", 2)]
)
def test_a_face_is_chosen(group, choice, place):
    face = find_face(group, choice=choice)
    assert 500 * place < face.landmarks[:, 0].mean() < 500 * (place + 1)
    assert face.faces == 3


def test_a_face_that_is_not_there_is_told_so(group):
    with pytest.raises(NoFaceFound, match="face=4 is asked for, and 3 are seen"):
        find_face(group, choice="4")
    with pytest.raises(NoFaceFound, match="face=2 is asked for, and 1 is seen"):
        find_face(read_image(PORTRAIT), choice="2")


def test_people_far_behind_are_no_choice(group):
    picture = group.copy()
    picture[:, :500] = 200
    picture[60:230, 40:210] = cv2.resize(group[20:440, :420], (170, 170), interpolation=cv2.INTER_AREA)
    face = find_face(picture, choice="left")
    assert face.landmarks[:, 0].mean() > 500


def test_a_face_of_a_video_is_chosen(group):
    for choice, place in (("largest", 1), ("left", 0), ("3", 2)):
        track = track_face([group, group], Fraction(25), choice=choice)
        assert track.present.all()
        assert track.faces == 3
        assert 500 * place < track.landmarks[0, :, 0].mean() < 500 * (place + 1)
    assert not track_face([group], Fraction(25), choice="4").present.any()


def test_s3fds_faces_are_chosen_alike():
    """Boxes by falling score; the surest is not the largest."""
    boxes = np.array(
        [
            [300, 50, 380, 150, 0.999],
            [100, 40, 200, 160, 0.99],
            [500, 60, 590, 160, 0.98],
            [10, 10, 30, 40, 0.97],
        ],
        np.float32,
    )
    chosen = {
        choice: first_face(boxes, DETECTION_HEIGHT, choice=choice)[0]
        for choice in ("largest", "left", "right", "1", "2", "3")
    }
    assert chosen == {"largest": 300, "left": 100, "right": 500, "1": 100, "2": 300, "3": 500}
    with pytest.raises(NoFaceFound, match="face=4"):
        first_face(boxes, DETECTION_HEIGHT, choice="4")


@pytest.mark.parametrize("value", ["up", "0", "100", "-1", "1.5", "", "²"])
def test_what_is_no_choice_is_refused(value):
    with pytest.raises(InvalidOption, match="face="):
        Puppet().read_options({"face": value})


def test_dwpose_cannot_choose():
    with pytest.raises(ValueError, match="dwpose"):
        MuseTalkOptions(face="left", detector="dwpose")
    assert MuseTalkOptions(face="left").concrete(lambda _: True).detector == "landmarks"
    assert MuseTalkOptions().concrete(lambda _: True).detector == "dwpose"


# ---------------------------------------------------------------- keys


def test_defaults_are_in_no_key():
    """So that what was prepared before stays found."""
    for options in (PuppetOptions(), PuppetOptions(background="#FFFFFF"), PuppetOptions(face="Largest")):
        for stage in recipe(options).stages:
            assert not {"face", "background"} & set(stage.parameters)
    asked = {
        stage.name: stage.parameters for stage in recipe(PuppetOptions(face=2, background="#0A0b0c")).stages
    }
    assert asked["puppet.face"] == {"face": "2", "background": "#0a0b0c"}
    assert asked["puppet.crop"]["background"] == "#0a0b0c"
    assert "face" not in asked["puppet.crop"]
    assert "puppet.plate" in asked


@pytest.mark.parametrize("options", [PuppetOptions, FloatOptions, MuseTalkOptions])
def test_backgrounds_are_colours(options):
    assert options(background="#00FF7f").background == "#00ff7f"
    for bad in ("green", "#12", "#12345g", "00ff00", "#00ff00ff"):
        with pytest.raises(ValueError, match="RRGGBB"):
            options(background=bad)


# ---------------------------------------------------------------- pictures


def cut_out(path) -> None:
    """The bundled portrait, transparent at its upper edge."""
    picture = Image.open(PORTRAIT).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, picture.width, 24))
    picture.save(path)


def test_what_is_transparent_has_the_background(tmp_path):
    cut_out(tmp_path / "a.png")
    for background, colour in (("#00b400", (0, 180, 0)), ("keep", (255, 255, 255))):
        features = prepare(tmp_path / "a.png", framing="original", background=background)
        picture = features["puppet.crop"].arrays["picture"]
        y = -int(features["puppet.crop"].metadata["y"])
        assert (picture[max(y, 0) + 2, 100:-100] == colour).all()


def fading_in(path, levels=(0.0, 0.02, 0.05, 1.0, 0.9)) -> np.ndarray:
    portrait = read_image(PORTRAIT)
    frames = [Image.fromarray((portrait * level).astype(np.uint8)) for level in levels]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=80, lossless=True)
    return portrait


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.gif"])
def test_an_animation_is_searched_for_a_face(tmp_path, name):
    portrait = fading_in(tmp_path / name)
    assert np.abs(read_portrait(tmp_path / name).astype(int) - portrait).mean() < 12
    template = portrait_template(tmp_path / name)
    assert (template.moving, template.frames) == (False, 1)
    assert np.array_equal(next(iter(template)), read_portrait(tmp_path / name))
    assert prepare(tmp_path / name)["puppet.face"].metadata["eye_distance_px"] > 50


def test_an_animation_without_a_face_is_its_first_picture(tmp_path):
    fading_in(tmp_path / "a.webp", (0.0, 0.01))
    assert read_portrait(tmp_path / "a.webp").max() == 0
    with pytest.raises(NoFaceFound):
        prepare(tmp_path / "a.webp")


def test_an_animation_that_begins_with_a_face_is_as_ever(tmp_path):
    fading_in(tmp_path / "a.webp", (1.0, 0.5))
    assert np.array_equal(read_portrait(tmp_path / "a.webp"), read_image(tmp_path / "a.webp"))


def test_another_file_of_the_same_name_is_looked_at_anew(tmp_path):
    fading_in(tmp_path / "a.webp", (0.0, 1.0))
    assert read_portrait(tmp_path / "a.webp").max() > 200
    fading_in(tmp_path / "a.webp", (0.0, 0.01, 1.0, 0.5, 0.2))
    assert np.array_equal(read_portrait(tmp_path / "a.webp"), read_image(PORTRAIT))
