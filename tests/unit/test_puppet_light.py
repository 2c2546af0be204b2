"""What is drawn in the mouth has the light of the face: coloured on a stage, dark by night."""

from __future__ import annotations

import numpy as np
import pytest

from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.fit.light import BRIGHTNESS_LIMITS, USUAL_SKIN, WELL_LIT, mouth_light
from personare.engines.puppet.fit.teeth import ENAMEL
from personare.media.image import read_image
from tests.unit.puppet_avatars import PORTRAIT, face_state, prepare, write_picture

OPEN = {"jawOpen": 0.55, "mouthLowerDown": 0.3, "mouthUpperUp": 0.3}


def opened_mouth(tmp_path, light):
    """(colours of the drawn lower teeth, colour of the skin beside the mouth) in some light."""
    lit = np.clip(read_image(PORTRAIT) * np.array(light), 0, 255).astype(np.uint8)
    features = prepare(write_picture(tmp_path / "lit.jpg", lit), background="stretch")
    renderer = FaceRenderer(features)
    drawn = renderer.draw(face_state(OPEN))
    picture = renderer.compose(drawn).astype(float)
    landmarks = features["puppet.crop"].arrays["landmarks"]
    middle = landmarks[[13, 14], :2].mean(axis=0)
    unit = np.linalg.norm(landmarks[33, :2] - landmarks[263, :2])
    x, y = middle.astype(int)
    mouth = picture[y - int(0.1 * unit) : y + int(0.3 * unit), x - int(0.12 * unit) : x + int(0.12 * unit)]
    beside = landmarks[[205, 425], :2].astype(int)
    skin = np.mean(
        [picture[v - 2 : v + 3, u - 2 : u + 3].reshape(-1, 3).mean(axis=0) for u, v in beside], axis=0
    )
    pixels = mouth.reshape(-1, 3)
    bright = pixels.sum(axis=1)
    return pixels[bright >= np.percentile(bright, 80)].mean(axis=0), skin


@pytest.mark.parametrize("skin", [(225, 34, 15), (34, 47, 166), (181, 28, 165), (30, 200, 20)])
def test_teeth_have_the_colour_of_the_light(skin):
    """All of it, and they are not darker than skin."""
    skin = np.array(skin, np.float32)
    gain = mouth_light(skin, 225.0)
    light = skin / USUAL_SKIN
    assert np.allclose(gain / gain.max(), light / light.max(), atol=0.1)
    assert (ENAMEL * gain).mean() > skin.mean()


@pytest.mark.parametrize("light", [(0.1, 0.1, 0.1), (0.12, 0.03, 0.02), (0.06, 0.07, 0.1)])
def test_teeth_do_not_glow_in_the_dark(tmp_path, light):
    teeth, skin = opened_mouth(tmp_path, light)
    assert (teeth < 1.5 * skin + 4).all()


def test_dark_skin_in_good_light_has_bright_teeth():
    skin = np.array([70, 48, 38], np.float32)
    assert mouth_light(skin, 220.0).mean() > 0.9 * BRIGHTNESS_LIMITS[0]
    assert mouth_light(skin * 0.2, 44.0).mean() < 0.4 * BRIGHTNESS_LIMITS[0]


@pytest.mark.parametrize(
    "skin", [(224, 188, 163), (225, 151, 89), (60, 42, 33), (150, 150, 150), (200, 170, 190)]
)
def test_ordinary_light_is_as_ever(skin):
    """To the bit, so that what was fitted before fits: half of the cast, within limits."""
    skin = np.array(skin, np.float32)
    cast = (skin / USUAL_SKIN) / float(skin.mean() / USUAL_SKIN.mean())
    balance = 1 + 0.5 * (np.clip(cast, 0.5, 1.25) - 1)
    balance[1] = min(balance[1], 0.95 * balance[0])
    expected = np.asarray(balance * np.clip(skin.mean() / WELL_LIT, *BRIGHTNESS_LIMITS), np.float32)
    assert np.array_equal(mouth_light(skin, 200.0), expected)
