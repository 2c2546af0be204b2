"""What a performance of puppet does beyond the contract of all engines (see tests/contract)."""

from __future__ import annotations

import numpy as np
import pytest

import personare
from personare.engines.puppet.compose import StillBackground
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.fit.rig import Rig
from personare.errors import EngineError
from personare.motion import ARKIT, state_of
from personare.types import Phone


@pytest.fixture(scope="module")
def stage(portrait, tmp_path_factory):
    engine = personare.open_engine("puppet", cache_dir=tmp_path_factory.mktemp("features"))
    avatar = engine.prepare(portrait, size=256)
    return engine, avatar


def in_pieces(performance, samples, length, phones=None):
    made = []
    for start in range(0, len(samples), length):
        piece = None if phones is None else [p for p in phones if start <= p.start < start + length]
        made += list(performance.feed(samples[start : start + length], piece))
    made += list(performance.finish())
    assert [frames.first for frames in made] == list(np.cumsum([0, *map(len, made)])[:-1])
    return np.concatenate([frames.images for frames in made])


def test_any_cut_of_the_voice_gives_the_same_bytes_where_phones_are_known(stage, voice_samples):
    engine, avatar = stage
    samples = voice_samples[:17777]
    phones = [
        Phone("m", 2000, 3500), Phone("aɪ", 3500, 8000), Phone("b", 8000, 9000), Phone("oʊ", 9000, 15000)
    ]  # fmt: skip
    whole = in_pieces(engine.perform(avatar), samples, len(samples), phones)
    for length in (320, 640, 5328):
        assert np.array_equal(in_pieces(engine.perform(avatar), samples, length, phones), whole), length


def test_pixels_outside_the_moving_region_are_the_portrait_s(stage, voice_samples):
    engine, avatar = stage
    source = avatar.features["puppet.crop"].arrays["picture"]
    pictures = in_pieces(engine.perform(avatar), voice_samples[:16000], 16000)
    moved = (pictures != source).any(axis=(0, 3))
    moving = StillBackground(source, Rig.from_feature(avatar.features["puppet.rig"]).outline).moving
    assert 0.1 < moving.mean() < 0.9
    assert moved[moving].mean() > 0.2
    assert not moved[~moving].any()


def test_idle_moves_but_the_mouth_rests(stage):
    engine, avatar = stage
    performance = engine.perform(avatar)
    frames = performance.idle(50)
    assert (frames.first, frames.images.shape, frames.images.dtype) == (0, (50, 256, 256, 3), np.uint8)
    assert (frames.images[0] != frames.images[-1]).any()
    still = engine.perform(avatar, head_motion=0, blink_rate=0, gaze=0).idle(10).images
    assert (still == still[0]).all()


def test_with_all_motion_at_zero_a_face_at_rest_is_the_still_picture_and_drawn_no_more(stage, monkeypatch):
    engine, avatar = stage
    drawn = []
    draw = FaceRenderer.draw
    monkeypatch.setattr(FaceRenderer, "draw", lambda self, state: drawn.append(state) or draw(self, state))
    performance = engine.perform(avatar, head_motion=0, blink_rate=0, gaze=0)
    performance.idle(2)
    idle = performance.idle(10).images
    silence = [f.images for f in performance.feed(np.zeros(16000, np.float32))]
    silence += [f.images for f in performance.finish()]
    assert len(drawn) == 2
    still = FaceRenderer(avatar.features).render(state_of(np.zeros(ARKIT.width, np.float32)))
    assert (np.concatenate([idle, *silence]) == still).all()
    idle[0][:] = 0
    assert (performance.idle(1).images == still).all()
    performance.close()


def test_hand_over_between_idle_and_speech_has_no_jump(stage, voice_samples):
    engine, avatar = stage
    performance = engine.perform(avatar, blink_rate=0, gaze=0)
    parts = [performance.idle(10).images]
    parts += [f.images for f in performance.feed(voice_samples[:16000])]
    performance.interrupt()
    parts.append(performance.idle(10).images)
    parts += [f.images for f in performance.feed(voice_samples[3000:12000])]
    parts += [f.images for f in performance.finish()]
    parts.append(performance.idle(10).images)
    pictures = np.concatenate(parts).astype(np.int16)
    steps = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3))
    speaking = steps[10 : 10 + 15]
    assert steps.max() < 2.5 * speaking.max()


def test_options_that_enter_preparation_are_refused_at_speak(stage, voice):
    engine, avatar = stage
    with pytest.raises(EngineError, match="size"):
        engine.speak(avatar, voice, size=512)
    clip = engine.speak(avatar, voice, fps=30)
    first = next(iter(clip))
    assert first.images.shape == (1, 256, 256, 3)


def test_a_performance_tells_what_each_room_took(stage, voice_samples):
    """What `personare bench` shows, and `speak --json` in its timings."""
    engine, avatar = stage
    performance = engine.perform(avatar)
    frames = sum(len(made) for made in performance.feed(voice_samples)) + sum(
        len(made) for made in performance.finish()
    )
    assert frames
    assert set(performance.watch.seconds) == {"drive", "motion", "render", "compose"}
    assert all(seconds > 0 for seconds in performance.watch.seconds.values())
