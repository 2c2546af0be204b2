"""Options and curves as far as they go: faces stay whole, lips shut when told, and what is
still stays still.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import personare
from personare.engines.puppet.compose import StillBackground
from personare.engines.puppet.draw.deform import pose
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.draw.mouth import MouthInterior
from personare.engines.puppet.drive import MouthDrive
from personare.engines.puppet.fit.rig import Rig
from personare.engines.puppet.motion import FaceMotion
from personare.engines.puppet.move.emotion import EMOTIONS
from personare.engines.puppet.options import PuppetOptions
from personare.heads import CHIN
from personare.media.image import read_image
from personare.motion import UNIT, FaceState
from tests.unit.puppet_avatars import AA, PP, face_state, prepare

WORN = [name for name in EMOTIONS if name != "neutral"]
WILD = {"expressiveness": 1.5, "head_motion": 2.0, "gaze": 2.0, "blink_rate": 3.0}
STILL = {"blink_rate": 0.0, "head_motion": 0.0, "gaze": 0.0}
EVERY_STATE = 8
"""Of the frames that are heard, every so many are drawn."""


@pytest.fixture(scope="module")
def avatars():
    return {size: prepare(size=size) for size in (256, 512)}


@pytest.fixture(scope="module")
def wild_mouth(voice_samples):
    drive = MouthDrive(PuppetOptions().rate, WILD["expressiveness"])
    return [*drive.push(voice_samples), *drive.finish()]


def states(mouth, **options: object) -> list[FaceState]:
    motion = FaceMotion(PuppetOptions(**options))
    return [motion.speak(frame) for frame in mouth]


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_curves_stay_weights(wild_mouth, emotion: str) -> None:
    made = states(wild_mouth, emotion=emotion, **WILD)
    curves = np.stack([state.curves for state in made])
    assert np.isfinite(curves).all()
    assert curves.min() >= 0
    assert curves.max() <= 1
    poses = np.array([(*state.head, *state.shift, *state.gaze) for state in made])
    assert np.isfinite(poses).all()
    assert np.abs(poses[:, :3]).max() < 15, "degrees"


@pytest.mark.parametrize(("emotion", "size"), [*product(WORN, (256,)), ("happy", 1024)])
def test_a_face_at_its_wildest_leaves_the_rest_alone(avatars, wild_mouth, emotion: str, size: int) -> None:
    avatar = avatars.get(size) or prepare(size=size)
    renderer, rig = FaceRenderer(avatar), Rig.from_feature(avatar["puppet.rig"])
    picture = avatar["puppet.crop"].arrays["picture"]
    still = ~StillBackground(picture, rig.outline).moving
    shown = states(wild_mouth, emotion=emotion, **WILD)[:: EVERY_STATE * size // 256]
    for state in shown:
        assert np.isfinite(pose(rig, state).skin.vertices).all()
        frame = renderer.render(state)
        assert np.array_equal(frame[still], picture[still])
    assert len({renderer.render(state).tobytes() for state in shown}) == len(shown)


@pytest.mark.parametrize("emotion", WORN)
def test_the_whole_photo_keeps_its_own_size_and_edges(portrait: Path, voice_samples, emotion: str) -> None:
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait, framing="original"), emotion=emotion, **WILD)
    photo = read_image(portrait)
    for image in performance.idle(2).images:
        assert image.shape == photo.shape
        for rows in (slice(0, 4), slice(-4, None)):
            assert np.array_equal(image[rows], photo[rows])
    assert performance.size == photo.shape[:2]


@pytest.mark.parametrize("emotion", WORN)
@pytest.mark.parametrize("head", [(0.0, 0.0, 0.0), (15.0, 0.0, 0.0), (-15.0, 6.0, 6.0)])
def test_lips_shut_when_told(avatars, emotion: str, head: tuple[float, float, float]) -> None:
    """Whatever is worn, and however the head is turned."""
    rig = Rig.from_feature(avatars[512]["puppet.rig"])
    worn = worn_over(PP, emotion)
    shut = FaceState(worn, 0.0, head, (0.0, 0.0), (0.0, 0.0))
    opening, _ = MouthInterior(rig).opening(pose(rig, shut))
    assert opening.size == 0 or opening.max() < 0.05
    spoken = FaceState(worn_over(AA, emotion), 0.0, head, (0.0, 0.0), (0.0, 0.0))
    assert MouthInterior(rig).opening(pose(rig, spoken))[0].sum() > 0.02 * rig.eye_distance_px**2


@pytest.mark.parametrize("jaw", [0.1, 0.2, 0.3])
def test_lips_shut_over_a_jaw_that_is_down(avatars, jaw: float) -> None:
    """The portrait shows its teeth: its own gap does not come back with the jaw either."""
    rig = Rig.from_feature(avatars[512]["puppet.rig"])
    closed = face_state({**PP, "jawOpen": jaw, "mouthClose": jaw})
    posed = pose(rig, closed)
    opening, _ = MouthInterior(rig).opening(posed)
    assert opening.size == 0 or opening.max() < 0.05
    chin = posed.skin.vertices[CHIN] - pose(rig, face_state(PP)).skin.vertices[CHIN]
    assert chin[1] > 0.15 * jaw * rig.eye_distance_px


def worn_over(units: dict[str, float], emotion: str) -> np.ndarray:
    """Curves of a settled emotion over a sound."""
    from personare.engines.puppet.move.emotion import Mood

    mood, spoken = Mood(emotion, 1.0, PuppetOptions().rate), face_state(units).curves
    return [mood.add(spoken) for _ in range(30)][-1]


@pytest.mark.parametrize("emotion", WORN)
def test_no_triangle_of_the_front_turns_over(avatars, emotion: str) -> None:
    """Cheeks, brows and nose at yaw 15 with everything worn: what faces the viewer at rest
    still does.
    """
    rig = Rig.from_feature(avatars[512]["puppet.rig"])
    rest = facing(rig, rig.points)
    front = rest > np.percentile(rest, 40)
    moved = pose(
        rig, FaceState(worn_over(AA, emotion), 0.0, (15.0, 0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    ).skin.vertices
    assert (facing(rig, moved)[front] <= 0).mean() < 0.01


def facing(rig: Rig, vertices: np.ndarray) -> np.ndarray:
    """Twice the area of every triangle in the picture, positive as it lies at rest."""
    a, b, c = (vertices[rig.triangles[:, i], :2] for i in range(3))
    p, q, r = (rig.points[rig.triangles[:, i], :2] for i in range(3))
    sign = np.sign((q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0])
    return sign * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def test_every_unit_alone_at_its_limit_is_drawn_and_bounded(avatars) -> None:
    """No unit of the 52 at 1 tears the face: vertices stay within an eye distance of where they
    were.
    """
    rig = Rig.from_feature(avatars[256]["puppet.rig"])
    for name in UNIT:
        moved = pose(rig, face_state({name: 1.0})).skin.vertices
        assert np.linalg.norm((moved - rig.points)[:, :2], axis=1).max() < 0.6 * rig.eye_distance_px, name
