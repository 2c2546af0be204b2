"""Sampling: noise, resuming, other frame rates; the mouth's part of a motion, and rest in
silence.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.engines.float import prepare, reach
from personare.engines.float.motion import MotionSampler
from personare.engines.resampling import MotionResampler
from personare.types import frame_count
from tests.unit.float_networks import CPU, noise, state

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module")
def network():
    return state().transformer(CPU)


def sampler(network, **options):
    return MotionSampler(network, noise(24), np.full(7, 1 / 7, np.float32), points=3, **options)


def test_noise_is_fresh_in_every_chunk_and_reproducible(network):
    one, other = sampler(network, seed=4), sampler(network, seed=4)
    assert np.array_equal(one.noise(2), other.noise(2))
    assert not np.array_equal(one.noise(1), one.noise(2))
    assert not np.array_equal(one.noise(2), sampler(network, seed=5).noise(2))


def test_fixed_noise_is_the_same_in_every_chunk_and_begins_as_fresh_noise_does(network):
    fixed = sampler(network, seed=4, fixed=True)
    assert np.array_equal(fixed.noise(0), fixed.noise(7))
    assert np.array_equal(fixed.noise(0), sampler(network, seed=4).noise(0))


def test_a_sampler_goes_on_where_another_stopped(network):
    voice = noise(30, 24)
    whole = np.concatenate(list(sampler(network).chunks(voice)))
    first = sampler(network)
    start = first.sample(voice[:10])
    rest = np.concatenate(list(sampler(network, continuation=first.continuation).chunks(voice[10:])))
    assert np.array_equal(np.concatenate([start, rest]), whole)
    assert (
        np.abs(np.concatenate(list(sampler(network).chunks(voice[10:]))) - rest).max() > 1e-3
    )  # it does depend on them


def test_a_last_chunk_of_one_frame(network):
    voice = noise(11, 24)
    motion = list(sampler(network).chunks(voice))
    assert [len(chunk) for chunk in motion] == [10, 1]
    with pytest.raises(ValueError, match="1 to 10 frames"):
        sampler(network).sample(voice)


def resampled(motion, fps, frames, cuts=()):
    clock = MotionResampler(fps)
    parts = [clock.push(part) for part in np.split(motion, cuts)]
    return np.concatenate([*parts, clock.finish(frames)])


def test_at_25_fps_the_motion_is_untouched():
    motion = noise(23, 5)
    assert np.array_equal(resampled(motion, Fraction(25), 23), motion)


@pytest.mark.parametrize("fps", ["12", "24", "30000/1001", "50", "60"])
def test_other_rates_take_the_motion_at_the_exact_time(fps):
    rate, samples = Fraction(fps), 31 * 640 - 100
    time = np.arange(31)[:, None] / 25
    motion = np.concatenate([time, 0.3 * np.sin(4 * time)], 1).astype(np.float32)
    frames = frame_count(samples, rate)
    made = resampled(motion, rate, frames)
    assert len(made) == frames
    at = np.arange(frames) / float(rate)
    inside = (at > 0.05) & (at < 29 / 25)
    assert np.abs(made[inside, 0] - at[inside]).max() < 1e-5
    assert np.abs(made[inside, 1] - 0.3 * np.sin(4 * at[inside])).max() < 1e-3
    assert np.array_equal(resampled(motion, rate, frames, cuts=(1, 10, 20)), made)


@pytest.fixture(scope="module")
def seen():
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    return prepare.appearance(state().encoder(CPU), state().decoder(CPU), picture)


@pytest.fixture(scope="module")
def parts(seen):
    decoder = state().decoder(CPU)
    return reach.mouth_share(decoder, seen), decoder.direction.basis.numpy()


def test_lips_only_moves_the_rest_of_the_picture_less(seen, parts):
    """By what the decoder itself then does: the flow outside the mouth shrinks more than the
    flow within.
    """
    import torch

    decoder, (mouth, rest) = state().decoder(CPU), reach.regions()
    features = [torch.from_numpy(seen[f"feature{level}"])[None] for level in range(4)]
    motion = seen["reference"] + 0.02 * noise(8, 6) @ parts[1].T

    def moved(motion):
        pose = torch.from_numpy(
            seen["appearance"] + np.concatenate([seen["reference"][None], motion]).astype(np.float32)
        )
        with torch.inference_mode():
            flow = decoder.flow(pose, features).numpy()
        change = np.square(flow[1:] - flow[:1]).sum(-1)
        return [float((change * weight).sum() / weight.sum()) for weight in (mouth, rest)]

    lips = reach.MouthAndHead(seen["reference"], *parts, head_motion=0, rest_in_silence=0).apply(
        motion, np.zeros(8, np.float32)
    )
    (mouth_before, rest_before), (mouth_after, rest_after) = moved(motion), moved(lips)
    assert rest_after / rest_before < 0.5
    assert rest_after / rest_before < mouth_after / mouth_before


def test_full_head_motion_changes_nothing(seen, parts):
    motion = (seen["reference"] + noise(4, 24)).astype(np.float32)
    same = reach.MouthAndHead(seen["reference"], *parts, head_motion=1, rest_in_silence=0).apply(
        motion, np.ones(4, np.float32)
    )
    assert np.abs(same - motion).max() < 1e-5


def test_the_mouth_rests_in_silence_alone(seen, parts):
    motion = (seen["reference"] + 0.5 * noise(2, 6) @ parts[1].T).astype(np.float32)
    made = reach.MouthAndHead(seen["reference"], *parts, head_motion=1, rest_in_silence=1).apply(
        motion, np.array([0, 1], np.float32)
    )
    mouth = np.linalg.norm((motion - seen["reference"]) @ parts[1] @ parts[0].T, axis=1)
    left = np.linalg.norm((made - seen["reference"]) @ parts[1] @ parts[0].T, axis=1)
    assert left[0] == pytest.approx(mouth[0], rel=1e-4)
    assert left[1] < mouth[1]
