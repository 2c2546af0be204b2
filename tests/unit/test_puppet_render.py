"""The face that is drawn from a state: lips, lids, head, background."""

from __future__ import annotations

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from personare.engines.puppet.compose import StillBackground, lay
from personare.engines.puppet.draw import resting, warp
from personare.engines.puppet.draw.deform import Layer, head_rotation, pose
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.draw.lids import Lids
from personare.engines.puppet.draw.mouth import MouthInterior
from personare.engines.puppet.draw.resting import RestingFace
from personare.engines.puppet.draw.shade import SkinShade, marks_on
from personare.engines.puppet.draw.warp import WINDOW_ROWS, Window, windows_over
from personare.engines.puppet.fit import eyes, lips
from personare.engines.puppet.fit.light import cheek_colour
from personare.engines.puppet.fit.rig import Rig
from personare.media.image import read_image
from personare.perception import person_matte
from tests.unit.puppet_avatars import AA, BLINK, PORTRAIT, PP, face_state, prepare, write_picture

EVERYTHING = face_state(
    {**AA, "browInnerUp": 0.3, "eyeBlink": 0.4}, (5, -3, 4), (0.03, -0.02), (0.02, 0.01), 0.5
)


@pytest.fixture(scope="module")
def avatar():
    return prepare(size=256)


@pytest.fixture(scope="module")
def renderer(avatar):
    return FaceRenderer(avatar)


@pytest.fixture(scope="module")
def shut_avatar(avatar, tmp_path_factory):
    """Prepared from a picture of the same person with her mouth closed."""
    picture = FaceRenderer(prepare(size=512)).render(face_state(PP))
    return prepare(write_picture(tmp_path_factory.mktemp("shut") / "shut.jpg", picture), size=512)


def picture_of(avatar) -> np.ndarray:
    return avatar["puppet.crop"].arrays["picture"]


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int))


def test_frames_are_the_callers_to_keep(renderer):
    first = renderer.render(face_state())
    kept = first.copy()
    renderer.render(EVERYTHING)
    assert first.dtype == np.uint8
    assert first.shape == (256, 256, 3)
    assert np.array_equal(first, kept)


def test_same_state_same_bytes_whatever_the_thread_count(avatar, renderer):
    before = renderer.render(EVERYTHING)
    renderer.render(face_state(BLINK))
    assert np.array_equal(renderer.render(EVERYTHING), before), "no frame leaves traces in the next"
    threads = cv2.getNumThreads()
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            assert np.array_equal(FaceRenderer(avatar).render(EVERYTHING), before)
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("size", [256, 258, 1024])
def test_nothing_outside_the_moving_region_changes(size):
    avatar = prepare(size=size, face_height=0.25)
    rig = Rig.from_feature(avatar["puppet.rig"])
    picture = picture_of(avatar)
    still = ~StillBackground(picture, rig.outline).moving
    assert still.mean() > 0.1, "a wide crop must have background for this test"
    frame = FaceRenderer(avatar).render(EVERYTHING)
    assert np.array_equal(frame[still], picture[still])
    assert difference(frame, picture).mean() > 1


def test_neutral_is_the_picture(shut_avatar):
    frame, picture = FaceRenderer(shut_avatar).render(face_state()), picture_of(shut_avatar)
    assert difference(frame, picture).mean() < 0.1
    assert difference(frame, picture).max() <= 24, "supersampled edges differ a little"


@pytest.mark.parametrize("state", [face_state(PP), face_state(), face_state(PP, head=(6, 3, -4))])
def test_lips_meet_for_closed_sounds(avatar, shut_avatar, state):
    for features in (avatar, shut_avatar):
        rig = Rig.from_feature(features["puppet.rig"])
        opening, _ = MouthInterior(rig).opening(pose(rig, state))
        assert opening.size == 0 or opening.max() < 0.05


def test_opening_grows_with_the_jaw(avatar, shut_avatar):
    for features in (avatar, shut_avatar):
        rig = Rig.from_feature(features["puppet.rig"])
        mouth = MouthInterior(rig)
        areas = [
            mouth.opening(pose(rig, face_state({"jawOpen": jaw})))[0].sum() for jaw in np.linspace(0, 0.5, 11)
        ]
        assert (np.diff(areas) > 0).all(), areas
        assert areas[-1] > 0.04 * rig.eye_distance_px**2


@pytest.mark.parametrize("background", ["keep", "stretch", "painted over"])
def test_fetching_in_windows_leaves_nothing_out(background, monkeypatch):
    """To the byte what fetching and mixing of all pixels gives, also where the head leaves the
    picture.
    """
    features = prepare(size=258, face_height=0.3, background=background.replace("painted over", "keep"))
    if background == "painted over":
        plate = features["puppet.plate"]
        green = np.full_like(plate.arrays["plate"], (20, 230, 40))
        features = {**features, "puppet.plate": replace(plate, arrays={**plate.arrays, "plate": green})}
    states = [EVERYTHING, face_state(BLINK, (-15, 4, 3)), face_state(AA, (20, -10, 9), (0.6, 0.3))]
    states.append(face_state({"browDown": 0.5}))  # the person's edge stays
    in_windows = [FaceRenderer(features).render(state) for state in states]
    everything = lambda mask, high=WINDOW_ROWS: [  # noqa: E731
        Window(slice(top, min(top + high, len(mask))), slice(0, mask.shape[1]))
        for top in range(0, len(mask), high)
    ]
    monkeypatch.setattr(warp, "windows_over", everything)
    for state, frame in zip(states, in_windows, strict=True):
        assert np.array_equal(FaceRenderer(features).render(state), frame)


LOOKS = [
    face_state(head=(4, -3, 2), shift=(0.03, 0.02)),
    face_state({"eyeLookUp": 0.2}, (-5, 2, 1), gaze=(0.02, -0.01)),
    face_state({"eyeBlink": 0.7}, (2, 1, -2)),
]


@pytest.mark.parametrize("state", LOOKS)
def test_a_face_at_rest_is_taken_along_as_one_that_speaks_is_drawn(renderer, state, monkeypatch):
    assert RestingFace.shows(state)
    at_rest = renderer.render(state)
    monkeypatch.setattr(RestingFace, "shows", lambda *_: False)
    wanted = renderer.render(state)
    assert np.square(difference(at_rest, wanted)).mean() < 255**2 / 10**4.8
    assert not np.array_equal(at_rest, wanted)


def test_a_face_at_rest_is_the_same_whatever_came_before(avatar, renderer):
    alone = [FaceRenderer(avatar).render(state) for state in LOOKS]
    for before in (EVERYTHING, *LOOKS):
        for state, wanted in zip(LOOKS, alone, strict=True):
            renderer.render(before)
            assert np.array_equal(renderer.render(state), wanted)


def test_triangles_far_from_the_eyes_do_not_change_them(avatar, monkeypatch):
    """To the byte what all triangles give."""
    looks = [face_state({"eyeLookDown": 1.0}, gaze=(0.05, 0.03)), face_state(BLINK)]
    near = [FaceRenderer(avatar).render(state) for state in looks]
    monkeypatch.setattr(resting, "_touching", lambda _window, _places, triangles, _room: triangles)
    for state, frame in zip(looks, near, strict=True):
        assert np.array_equal(FaceRenderer(avatar).render(state), frame)


def test_what_is_drawn_is_composed_whenever(avatar):
    renderer = FaceRenderer(avatar)
    left, right = (face_state(head=(yaw, 0.0, 0.0)) for yaw in (-12.0, 12.0))
    wanted = renderer.render(left)
    drawn = renderer.draw(left)
    renderer.draw(right)
    assert np.array_equal(renderer.compose(drawn), wanted)


def test_all_is_drawn_in_the_caller_s_thread(avatar):
    before = set(threading.enumerate())
    FaceRenderer(avatar).render(EVERYTHING)
    assert set(threading.enumerate()) == before


def test_a_frame_that_fails_does_not_stop_the_next_one(avatar, monkeypatch):
    renderer = FaceRenderer(avatar)

    def broken(*_: object) -> None:
        raise ValueError("a broken mouth")

    monkeypatch.setattr(MouthInterior, "draw", broken)
    with pytest.raises(ValueError, match="a broken mouth"):
        renderer.render(EVERYTHING)
    monkeypatch.undo()
    assert renderer.render(EVERYTHING).any()


def test_what_is_behind_is_mixed_in_by_its_share():
    rng = np.random.default_rng(7)
    frame, behind = rng.integers(0, 256, (2, 9, 60, 3), np.uint8)
    share = rng.permuted(np.arange(9 * 60) % 256).astype(np.uint8).reshape(9, 60)
    above = share[..., None] / 255
    wanted = np.rint(frame * above + behind * (1 - above))
    lay(frame, behind, share)
    assert np.abs(frame - wanted).max() <= 1
    assert np.array_equal(frame[share == 0], behind[share == 0])


def test_windows_cover_a_mask():
    mask = np.zeros((100, 90), np.uint8)
    mask[40:45, 80] = 1
    mask[97, 3:7] = 255
    assert windows_over(mask, 32) == [
        Window(slice(40, 45), slice(80, 81)),
        Window(slice(97, 98), slice(3, 7)),
    ]
    mask[33, :4] = 1
    assert windows_over(mask, 32)[0] == Window(slice(33, 45), slice(0, 81))
    assert windows_over(np.zeros((9, 9), np.uint8)) == []


def green(frame: np.ndarray) -> int:
    """Pixels that are clearly greener than anything in the portrait."""
    red, other, blue = (frame[..., i].astype(int) for i in range(3))
    return int((other - np.maximum(red, blue) > 40).sum())


def test_the_pictures_own_teeth_do_not_show_between_shut_lips(tmp_path):
    """On a picture whose teeth are painted green."""
    landmarks = prepare(size=256)["puppet.face"].arrays["landmarks"]
    outline = np.concatenate([landmarks[lips.UPPER_INNER, :2], landmarks[lips.LOWER_INNER[::-1], :2]])
    picture = read_image(PORTRAIT)
    mouth = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mouth, [np.rint(outline - 0.5).astype(np.int32)], 255)
    red, other, blue = (picture[..., i].astype(int) for i in range(3))
    shown = ((mouth > 0) & (blue > 130) & (red - other < 25)).astype(np.uint8)
    picture[cv2.dilate(shown, np.ones((3, 3), np.uint8)) > 0] = (90, 240, 110)
    avatar = prepare(write_picture(tmp_path / "green.jpg", picture), size=256)
    renderer = FaceRenderer(avatar)
    assert green(picture_of(avatar)) > 60
    assert green(renderer.render(face_state(PP))) == 0
    assert green(renderer.render(face_state(AA))) > 20, "they are the teeth of the open mouth"


def test_a_blink_hides_the_irises(tmp_path):
    """On a picture whose irises are painted green."""
    plain = prepare(size=256)
    crop, face = plain["puppet.crop"], plain["puppet.face"].arrays
    picture = read_image(PORTRAIT)
    for iris in face["irises"]:
        radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
        cv2.circle(
            picture, np.rint(iris[0]).astype(int).tolist(), max(2, round(radius * 0.7)), (20, 230, 40), -1
        )
    avatar = prepare(write_picture(tmp_path / "green.jpg", picture), size=256)
    assert abs(avatar["puppet.crop"].metadata["side"] - crop.metadata["side"]) < 4

    renderer = FaceRenderer(avatar)
    open_eyes = green(renderer.render(face_state()))
    assert open_eyes > 30
    assert green(renderer.render(face_state(BLINK))) == 0
    assert 0 < green(renderer.render(face_state({"eyeBlink": 0.5}))) < 0.8 * open_eyes
    left_only = green(renderer.render(face_state({"eyeBlinkLeft": 1.0})))
    assert 0 < left_only < 0.8 * open_eyes


def test_each_blink_shuts_the_persons_own_side(avatar, renderer):
    middle = int(Rig.from_feature(avatar["puppet.rig"]).points[168, 0])
    change = difference(renderer.render(face_state({"eyeBlinkLeft": 1.0})), renderer.render(face_state()))
    assert change[:, middle:].sum() > 20 * change[:, :middle].sum(), "the person's left eye is at image right"


def test_gaze_moves_the_irises_and_nothing_else(avatar, renderer):
    rig = Rig.from_feature(avatar["puppet.rig"])
    change = difference(renderer.render(face_state(gaze=(0.03, 0))), renderer.render(face_state())).max(
        axis=2
    )
    around = np.zeros((256, 256), np.uint8)
    for eyeball in rig.eyeballs:
        cv2.fillConvexPoly(around, cv2.convexHull(np.rint(eyeball[17:, :2]).astype(np.int32)), 1)
    around = cv2.dilate(around, np.ones((7, 7), np.uint8))
    assert change[around > 0].max() > 40
    assert change[around == 0].max() == 0


@pytest.mark.parametrize(
    ("head", "axis", "sign"), [((6, 0, 0), 0, 1), ((-6, 0, 0), 0, -1), ((0, 6, 0), 1, -1), ((0, -6, 0), 1, 1)]
)
def test_head_turns_the_nose_the_way_it_says(avatar, head, axis, sign):
    rig = Rig.from_feature(avatar["puppet.rig"])
    nose = pose(rig, face_state(head=head)).skin.vertices[1] - rig.points[1]
    assert sign * nose[axis] > 0.02 * rig.eye_distance_px


def test_head_rotation_keeps_distances():
    rotation = head_rotation(13, -8, 21)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_roll_tilts_clockwise():
    tilted = head_rotation(0, 0, 10) @ np.array([1.0, 0.0, 0.0])
    assert tilted[1] > 0, "what was at image right goes down"


@pytest.mark.parametrize("head", [(8, 2, 3), (-8, -2, -3)])
def test_a_kept_background_does_not_move(head, tmp_path):
    """Where neither the person is nor was, the picture stays to the byte; stretched, it does
    not.
    """
    striped = read_image(PORTRAIT)
    matte = person_matte(striped)[..., None]
    stripes = (127 + 100 * np.sign(np.sin(np.arange(512) / 3)))[None, :, None]
    path = write_picture(
        tmp_path / "striped.jpg", np.rint(striped * matte + stripes * (1 - matte)).astype(np.uint8)
    )
    kept, bent = (prepare(path, size=256, background=background) for background in ("keep", "stretch"))
    picture, cut = picture_of(kept), kept["puppet.plate"].arrays["cut"]
    reach = np.ones((41, 41), np.uint8)
    background = cv2.dilate(cut, reach) == 0
    state = face_state(head=head)
    assert background.mean() > 0.1
    assert np.array_equal(FaceRenderer(kept).render(state)[background], picture[background])
    moving = StillBackground(picture, Rig.from_feature(bent["puppet.rig"]).outline).moving
    assert (background & moving).any()
    assert difference(FaceRenderer(bent).render(state), picture)[background & moving].max() > 8
    face = np.zeros((256, 256), bool)
    face[80:120, 110:140] = True
    difference_in_face = difference(FaceRenderer(kept).render(state), FaceRenderer(bent).render(state))[face]
    assert difference_in_face.max() == 0, "the person moves alike"


def test_the_plate_shows_no_person_at_the_edge():
    """A green person on grey: what the plate continues behind the edge is grey."""
    from personare.engines.puppet.fit.plate import behind

    picture = np.full((200, 200, 3), 120, np.uint8)
    matte = np.zeros((200, 200), np.uint8)
    cv2.circle(matte, (100, 110), 60, 255, -1)
    picture[matte > 0] = (0, 255, 0)
    landmarks = np.zeros((468, 3), np.float32)
    landmarks[:, :2] = (70, 110)
    landmarks[263, 0] = 130.0
    made = behind(picture, matte, landmarks).arrays
    inside = cv2.distanceTransform(matte, cv2.DIST_L2, 5)
    uncovered = (inside > 0) & (inside < 10)
    assert np.abs(made["plate"][uncovered].astype(int) - 120).max() <= 1
    assert (made["cut"][matte > 0] == 255).all()
    assert (made["cut"][cv2.dilate(matte, np.ones((21, 21), np.uint8)) == 0] == 0).all()


def test_a_picture_without_background_can_be_kept_too():
    from personare.engines.puppet.fit.plate import behind

    landmarks = np.zeros((468, 3), np.float32)
    landmarks[:, :2] = (10, 25)
    landmarks[263, 0] = 30.0
    picture = np.full((50, 50, 3), 9, np.uint8)
    missed = np.zeros((50, 50), np.uint8)
    missed[:, :12] = 255
    for matte in (np.full((50, 50), 255, np.uint8), missed):
        made = behind(picture, matte, landmarks).arrays
        assert np.array_equal(made["plate"], picture)
        assert (made["cut"] == 255).all(), "a matte that misses the face is not used"


def test_yaw_moves_the_nose_in_the_frame(avatar, renderer):
    """Found again by the face networks in the rendered frame."""
    from personare.perception import find_face

    nose_x = [
        find_face(renderer.render(face_state(head=(yaw, 0, 0))), min_eye_distance_px=20).landmarks[1, 0]
        for yaw in (-6, 6)
    ]
    assert nose_x[1] - nose_x[0] > 4


def test_painting_like_low_contrast_is_drawn(tmp_path):
    flat = (read_image(PORTRAIT).astype(np.float32) * 0.3 + 70).astype(np.uint8)
    flat = cv2.bilateralFilter(flat, 9, 20, 5)
    frame = FaceRenderer(prepare(write_picture(tmp_path / "flat.jpg", flat), size=256)).render(EVERYTHING)
    assert frame.std() > 5


def test_units_at_their_limits_are_drawn(renderer):
    for units in (
        {"jawOpen": 1.0, "mouthLowerDown": 1.0},
        {"mouthClose": 1.0},
        {"mouthPucker": 1.0, "jawLeft": 1.0},
    ):
        assert renderer.render(face_state(units, (25, 20, 20), (0.5, 0.5), (0.2, 0.2), 1.0)).shape == (
            256,
            256,
            3,
        )


def rasterised(layer: Layer, triangles: np.ndarray, size: int) -> np.ndarray:
    """Where every pixel fetches its colour, float [size, size, 2]; plain z-buffer, one triangle
    after another.
    """
    y, x = np.mgrid[0:size, 0:size] + 0.5
    places, depth = np.stack([x, y], axis=-1), np.full((size, size), -np.inf)
    for triangle in triangles:
        a, b, c = layer.vertices[triangle].astype(float)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        low = np.clip(np.floor(np.min([a, b, c], axis=0)[:2]).astype(int), 0, size)
        high = np.clip(np.ceil(np.max([a, b, c], axis=0)[:2]).astype(int) + 1, 0, size)
        if abs(area) < 1e-9 or (high <= low).any():
            continue
        box = (slice(low[1], high[1]), slice(low[0], high[0]))
        wb = ((x[box] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y[box] - a[1])) / area
        wc = ((b[0] - a[0]) * (y[box] - a[1]) - (x[box] - a[0]) * (b[1] - a[1])) / area
        weights = np.stack([1 - wb - wc, wb, wc], axis=-1)
        z = weights @ [a[2], b[2], c[2]]
        nearer = (weights >= 0).all(axis=-1) & (z > depth[box])
        depth[box][nearer] = z[nearer]
        places[box][nearer] = (weights @ layer.texture[triangle])[nearer]
    return places


def reference(avatar, state) -> np.ndarray:
    """A frame at full resolution from one z-buffer, without regions, half-resolution flow or
    background restore.
    """
    picture, rig = picture_of(avatar), Rig.from_feature(avatar["puppet.rig"])
    posed = pose(rig, state)
    layer, triangles = posed.skin, [rig.triangles]
    backdrops = [(posed.eyeballs[0], eyes.eyeball_triangles()), (posed.eyeballs[1], eyes.eyeball_triangles())]
    for behind, faces in [*backdrops, (posed.between_lips, lips.between_triangles())]:
        triangles.append(faces + len(layer.vertices))
        layer = layer.over(behind)
    places = rasterised(layer, np.concatenate(triangles), len(picture)).astype(np.float32) - 0.5
    frame = cv2.remap(
        rig.textured(picture),
        places[..., 0],
        places[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    Lids(picture, rig).shut(frame, posed.skin.vertices, state.curves)
    shade = SkinShade(
        rig.points, rig.eye_distance_px, cheek_colour(picture, rig.points), marks_on(picture, rig)
    )
    shade.draw(frame, posed.skin.vertices, state.curves)
    MouthInterior(rig).draw(posed, state.curves, state.tongue).lay(frame)
    plate, cut = (avatar["puppet.plate"].arrays[name] for name in ("plate", "cut"))
    person = (
        cv2.remap(cut, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[
            ..., None
        ]
        / 255
    )
    return np.rint(frame * person + plate * (1 - person)).astype(np.uint8)


@pytest.mark.parametrize(
    "state", [EVERYTHING, face_state(AA, gaze=(-0.03, 0.0)), face_state(BLINK, (-5, 2, 0))]
)
def test_fast_path_agrees_with_a_plain_reference(avatar, renderer, state):
    change = difference(renderer.render(state), reference(avatar, state))
    assert change.mean() < 0.26
    assert np.percentile(change, 99) <= 3
    assert 10 * np.log10(255**2 / (change.astype(float) ** 2).mean()) > 48
