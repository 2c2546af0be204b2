"""A turned head: of every pixel that is seen, how the picture was drawn out, pressed or folded
to get there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personare.engines.puppet.draw.deform import head_rotation, pose
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.fit import eyes, lips
from personare.engines.puppet.fit.relief import ASIDE, MOST, UPRIGHT, bounded, relief
from personare.engines.puppet.fit.rig import Rig, fit
from personare.heads import Rasteriser
from tests.unit.puppet_avatars import face_state, prepare

SIZE = 512
FAR = [(15, 0, 0), (-15, 0, 0), (15, 8, 6), (-15, -8, -6), (15, -8, 6), (-15, 8, -6), (0, 8, 6), (0, -8, -6)]
"""As far as the engine's own life and docs/engines/puppet.md go: yaw, pitch, roll in degrees."""
PHOTOS_TURNED = (0, 14, -14)


@pytest.fixture(scope="module")
def rigs():
    """Of the bundled portrait as it is, and as if she had been photographed with her head
    turned to either side.
    """
    avatar = prepare(size=SIZE)
    rig, crop = Rig.from_feature(avatar["puppet.rig"]), avatar["puppet.crop"].arrays
    return {yaw: as_in_the_photo(refitted(FaceRenderer(avatar), rig, crop, yaw)) for yaw in PHOTOS_TURNED}


def refitted(renderer: FaceRenderer, rig: Rig, crop: dict[str, np.ndarray], yaw: float) -> Rig:
    """All of the head's true depth turned, so that the far cheek goes behind itself as it does
    in a photo.
    """
    rotation = head_rotation(yaw, 0, 0)

    def turn(points: np.ndarray) -> np.ndarray:
        return (points - rig.pivot) @ rotation.T + rig.pivot

    flip = np.array([1, 1, -1], np.float32)
    landmarks = turn(crop["landmarks"] * flip) * flip
    middle = rig.points[[*eyes.UPPER_LIDS.ravel()], 2].mean()
    contours, irises = (
        turn(np.concatenate([crop[name], np.full((*crop[name].shape[:-1], 1), middle)], axis=-1))[..., :2]
        for name in ("eye_contours", "irises")
    )
    picture = renderer.render(face_state(head=(yaw, 0, 0)))
    return fit(
        picture,
        crop["matte"],
        *(a.astype(np.float32) for a in (landmarks, contours, irises)),
        softness_px=0.0,
    )


def as_in_the_photo(rig: Rig) -> Rig:
    """With the mouth left open as it is: nothing but the head moves. The rig's own relief is
    that of shut lips.
    """
    opened = {"closure": np.zeros_like(rig.closure), "lip_roll": np.zeros_like(rig.lip_roll)}
    return replace(rig, **opened, relief=relief(rig.points))


def sampling(rig: Rig, head: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """At every pixel of the frame that shows the moving head: area of the picture that a pixel
    shows (below 0: mirrored), [k], and how far the picture is drawn out there in the two main
    directions, [k, 2]. Taken between neighbouring pixels: a place where one side of the face is
    torn off another counts too.
    """
    posed = pose(rig, face_state(head=head))
    layer, triangles = posed.skin, [rig.triangles]
    backdrops = [(eyeball, eyes.eyeball_triangles()) for eyeball in posed.eyeballs]
    for behind, faces in [*backdrops, (posed.between_lips, lips.between_triangles())]:
        triangles.append(faces + len(layer.vertices))
        layer = layer.over(behind)
    shift = np.zeros_like(layer.vertices)
    shift[:, :2] = layer.texture - layer.vertices[:, :2]
    shown = (
        Rasteriser(SIZE, SIZE)
        .draw(layer.vertices, np.concatenate(triangles).astype(np.int32), shift)[..., :2]
        .astype(float)
    )
    here = shown[:-1, :-1]
    slopes = np.stack([shown[:-1, 1:] - here, shown[1:, :-1] - here], axis=-1) + np.eye(2)
    slopes = slopes[np.abs(here).max(axis=-1) > 1e-3]
    return np.linalg.det(slopes), 1 / np.maximum(np.linalg.svd(slopes, compute_uv=False), 1e-6)


@pytest.mark.parametrize("photo", PHOTOS_TURNED)
@pytest.mark.parametrize("head", FAR)
def test_no_side_of_a_turned_face_folds_tears_or_is_drawn_out(
    rigs, photo: int, head: tuple[float, float, float]
) -> None:
    """The few pixels left to each bound lie where the mesh at rest is folded or thin as a hair:
    the rim of a cheek, nostrils.
    """
    area, drawn_out = sampling(rigs[photo], head)
    assert (area <= 0).mean() < 0.0003, "mirrored"
    assert (drawn_out.max(axis=1) > 3).mean() < 0.0008
    assert np.percentile(drawn_out.max(axis=1), 99.9) < 2.6
    assert np.percentile(drawn_out.min(axis=1), 0.1) > 0.15, "pressed"


@pytest.mark.parametrize("photo", PHOTOS_TURNED)
def test_what_faces_the_viewer_turns_by_its_whole_depth(rigs, photo: int) -> None:
    rig = rigs[photo]
    moved = pose(rig, face_state(head=(8, 0, 0))).skin.vertices[:, 0]
    solid = (rig.points - rig.pivot) @ head_rotation(8, 0, 0)[0] + rig.pivot[0]
    short = np.abs(moved - solid)[:468] / rig.eye_distance_px
    assert np.median(short) < 1e-4
    assert (short > 0.01).mean() < 0.15, "rims of the cheeks"
    # nose against the corners of the eyes: what one sees a head turn by
    assert short[[1, 4, 33, 263, 61, 291]].max() < 0.02


def test_at_rest_the_picture_stays(rigs) -> None:
    for rig in rigs.values():
        assert np.abs(pose(rig, face_state()).skin.vertices - rig.points).max() < 1e-3


def test_a_relief_is_nowhere_too_steep_and_nowhere_behind(rigs) -> None:
    for rig in rigs.values():
        flat = np.column_stack([rig.points[:, :2], rig.relief])
        apart = np.abs(flat[:, None] - flat[None])
        assert (apart[..., 2] <= np.hypot(ASIDE * apart[..., 0], UPRIGHT * apart[..., 1]) + 1e-2).all()
        assert (rig.relief >= rig.points[:, 2] - 1e-3).all()


def test_gentle_depth_is_its_own_relief() -> None:
    hill = np.array([[0, 0, 5], [10, 0, -5], [0, 10, -20], [-10, 10, -30]], np.float32)
    assert np.allclose(relief(hill), hill[:, 2])
    cliff = np.array([[0, 0, 5], [1, 0, -50]], np.float32)
    assert np.allclose(relief(cliff), [5, 5 - ASIDE])


def test_turns_are_shown_as_told_until_they_would_fold() -> None:
    for yaw, pitch, _ in FAR:
        assert bounded(yaw, pitch) == (yaw, pitch)
    for both in ((1.0, 0.0), (0.0, 1.0), (1.0, 0.5)):
        shown = np.array([bounded(angle * both[0], angle * both[1]) for angle in range(80)])
        fold = np.hypot(ASIDE * np.tan(np.radians(shown[:, 0])), UPRIGHT * np.tan(np.radians(shown[:, 1])))
        assert (np.diff(fold) > -1e-9).all()
        assert fold.max() <= MOST + 1e-9
    assert bounded(1000, 0) == bounded(80, 0), "whatever a file of curves says"
    assert np.allclose(bounded(-40, 0), -np.array(bounded(40, 0)))
    assert 22 < bounded(40, 0)[0] < 27
