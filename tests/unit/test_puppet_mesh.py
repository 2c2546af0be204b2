"""The mesh look: what our own perception sees in its frames is what was asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw.mesh import SUPERSAMPLING, MeshRenderer, _Half, _means
from personare.motion import ARKIT_UNITS, FaceState
from personare.perception import find_face
from personare.perception.face import Face


def state(
    head: tuple[float, float, float] = (0, 0, 0), gaze: tuple[float, float] = (0, 0), **weights: float
) -> FaceState:
    curves = np.zeros(len(ARKIT_UNITS), np.float32)
    for name, weight in weights.items():
        curves[ARKIT_UNITS.index(name)] = weight
    return FaceState(curves, 0.0, head, (0, 0), gaze)


@pytest.fixture(scope="module")
def renderer() -> MeshRenderer:
    return MeshRenderer(320, 0.5)


def seen(renderer: MeshRenderer, of: FaceState) -> Face:
    return find_face(renderer.render(of))


def opening(face: Face) -> float:
    return float(np.linalg.norm(face.landmarks[13, :2] - face.landmarks[14, :2]) / face.eye_distance_px)


def test_same_state_same_bytes(renderer: MeshRenderer) -> None:
    first = renderer.render(state(jawOpen=0.2))
    renderer.render(state(mouthPucker=1))
    again = MeshRenderer(320, 0.5).render(state(jawOpen=0.2))
    assert first.shape == (320, 320, 3)
    assert np.array_equal(first, again)
    assert np.array_equal(first, renderer.render(state(jawOpen=0.2)))


def test_where_the_halves_meet_is_not_seen(renderer: MeshRenderer) -> None:
    """Cut elsewhere, the frame is the same but for rounding."""
    asked, side = state((10, 6, 4), jawOpen=0.3), round(320 * 1.5)
    other = MeshRenderer(320, 0.5)
    other._halves = [_Half(slice(0, side // 3), side), _Half(slice(side // 3, side), side)]
    differs = np.abs(renderer.render(asked).astype(int) - other.render(asked))
    assert differs.max() <= 1
    assert (differs > 0).mean() < 0.001


def test_shoulders_drawn_once_are_those_of_every_frame(renderer: MeshRenderer) -> None:
    asked, anew = state((-10, 8, 5), jawOpen=0.6), MeshRenderer(320, 0.5)
    anew._moves[:] = True
    for half in anew._halves:
        half._behind = None
    assert not renderer._moves.all()
    assert np.array_equal(renderer.render(asked), anew.render(asked))


@pytest.mark.parametrize("size", [320, 321])
def test_averaged_down_as_areas_are(size: int) -> None:
    side = round(size * SUPERSAMPLING)
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 4), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    picture = noise if side == size * SUPERSAMPLING else smooth
    means = cv2.remap(picture, *_means(size, side), cv2.INTER_LINEAR)
    areas = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(means.astype(int) - areas).max() <= 4


def test_closing_ends_the_second_thread() -> None:
    closed = MeshRenderer(320, 0.5)
    closed.render(state())
    closed.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        closed.render(state())


def test_the_mouth_opens_as_far_as_it_is_told(renderer: MeshRenderer) -> None:
    openings = [opening(seen(renderer, state(jawOpen=jaw))) for jaw in (0, 0.15, 0.3, 0.45)]
    assert openings[0] < 0.02
    assert np.all(np.diff(openings) > 0.01)


def test_the_head_turns_as_far_as_it_is_told(renderer: MeshRenderer) -> None:
    rest, turned, lifted, tilted = (
        seen(renderer, state(head=h)) for h in ((0, 0, 0), (12, 0, 0), (0, 8, 0), (0, 0, 6))
    )
    assert turned.yaw - rest.yaw == pytest.approx(12, abs=4)
    assert lifted.pitch - rest.pitch > 3
    assert tilted.roll - rest.roll == pytest.approx(6, abs=2)


def test_eyes_shut_and_look_aside(renderer: MeshRenderer) -> None:
    rest = seen(renderer, state())
    shut = seen(renderer, state(eyeBlinkLeft=1, eyeBlinkRight=1))
    gap = [
        float(np.linalg.norm(f.landmarks[159, :2] - f.landmarks[145, :2]) / f.eye_distance_px)
        for f in (rest, shut)
    ]
    assert gap[1] < 0.6 * gap[0]
    by_gaze, by_units = (
        renderer.render(state(gaze=(0.03, 0))),
        renderer.render(state(eyeLookOutLeft=0.5, eyeLookInRight=0.5)),
    )
    assert np.array_equal(by_gaze, by_units)
    aside = find_face(by_gaze)
    assert (aside.irises[:, 0, 0] - rest.irises[:, 0, 0] > 0.01 * rest.eye_distance_px).all()


def test_the_truth_is_where_the_vertices_are(renderer: MeshRenderer) -> None:
    asked = state(jawOpen=0.3)
    places, face = renderer.vertices(asked), seen(renderer, asked)
    chin = face.landmarks[152, :2]
    assert np.linalg.norm(places - chin, axis=1).min() < 3
