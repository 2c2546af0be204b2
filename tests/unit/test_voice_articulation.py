"""The network that hears sounds, in a stream: any cut, silence, noise."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personare.errors import EngineError, WeightsMismatch, WeightsMissing
from personare.types import SAMPLE_RATE, Samples
from personare.voice import articulation
from personare.voice.articulation import (
    LOOKAHEAD_SAMPLES,
    NETWORK,
    NETWORK_SHA256,
    OUTPUTS,
    ArticulationFrames,
    ArticulationStream,
    open_network,
)
from personare.voice.features import MELS
from personare.voice.visemes import VISEME


def voiced(seconds: float, hz: float = 120.0) -> Samples:
    """A buzz through two resonances of an open vowel, in syllables of 200 ms."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.zeros(len(t))
    for k in range(1, 30):
        formants = sum(1 / (1 + ((k * hz - centre) / 120) ** 2) for centre in (750, 1250, 2600))
        sound += formants * np.sin(2 * np.pi * k * hz * t)
    sound *= np.clip(np.sin(2 * np.pi * 2.5 * t), 0, 1)
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


def hear(speech: Samples, sizes: list[int]) -> ArticulationFrames:
    stream = ArticulationStream()
    parts, at = [], 0
    for i in range(len(speech) + 1):
        if at >= len(speech):
            break
        size = sizes[i % len(sizes)]
        parts.append(stream.push(speech[at : at + size]))
        at += size
    parts.append(stream.finish())
    for before, after in pairwise(parts):
        assert after.first == before.first + len(before)
    return ArticulationFrames(
        0,
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.level_dbfs for part in parts]),
        np.concatenate([part.known for part in parts]),
    )


@pytest.mark.parametrize("sizes", [[160], [320], [5328], [7, 401, 33]])
def test_pieces_do_not_change_a_bit(sizes: list[int]) -> None:
    speech = voiced(1.0)
    whole, pieces = hear(speech, [len(speech)]), hear(speech, sizes)
    assert pieces.probabilities.tobytes() == whole.probabilities.tobytes()
    assert pieces.level_dbfs.tobytes() == whole.level_dbfs.tobytes()


def test_blocks_answer_as_frame_by_frame_does() -> None:
    network = open_network(NETWORK, NETWORK_SHA256)
    state = np.zeros(network.get_inputs()[1].shape, np.float32)
    inputs = np.random.default_rng(0).normal(-0.5, 0.8, (75, MELS)).astype(np.float32)
    in_blocks = articulation._Listener(network, state).hear(inputs)
    for frame, answer in zip(inputs, in_blocks, strict=True):
        alone, state = network.run(["near", "state_out"], {"x": frame[None, None], "state": state})
        assert np.abs(answer - alone[0, 0]).max() < 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 4000))
def test_there_is_a_frame_for_every_10_ms_begun(samples: int) -> None:
    frames = hear(np.zeros(samples, np.float32), [1000])
    assert len(frames) == -(-samples // 160)
    assert frames.probabilities.shape == (len(frames), OUTPUTS)
    assert np.isfinite(frames.probabilities).all()


def test_a_frame_is_out_exactly_when_its_look_ahead_is_known() -> None:
    stream = ArticulationStream()
    assert len(stream.push(np.zeros(LOOKAHEAD_SAMPLES - 1, np.float32))) == 0
    assert len(stream.push(np.zeros(1, np.float32))) == 1
    assert len(stream.push(np.zeros(160, np.float32))) == 1


def test_silence_is_silence_from_the_first_frame_and_a_voice_is_a_voice() -> None:
    silence = hear(np.zeros(16000, np.float32), [16000])
    assert silence.visemes[:, VISEME["sil"]].min() > 0.9
    assert silence.voice.max() < 0.1
    speech = hear(voiced(2.0), [32000])
    assert speech.voice.max() > 0.9
    assert speech.open.max() > 0.5
    assert speech.visemes.sum(axis=1) == pytest.approx(np.ones(len(speech)), abs=1e-5)


@pytest.mark.parametrize("dbfs", [-70, -60, -50, -40])
def test_noise_and_rumble_from_the_start_leave_the_mouth_shut(dbfs: int) -> None:
    white = np.random.default_rng(0).standard_normal(32000)
    rumble = np.convolve(white, 0.995 ** np.arange(1500))[: len(white)]
    for noise, most in ((white, 0.03), (rumble, 0.06)):
        heard = hear((noise / noise.std() * 10 ** (dbfs / 20)).astype(np.float32), [320])
        open_vowels = heard.visemes[:, [VISEME[vowel] for vowel in ("aa", "E", "oh")]].sum(axis=1)
        assert (open_vowels > 0.3).mean() < most


def test_streams_share_the_network_but_no_state() -> None:
    speech = voiced(0.5)
    alone = hear(speech, [len(speech)])
    one, other = ArticulationStream(), ArticulationStream()
    first = one.push(speech[:4000])
    other.push(speech[::-1].copy())
    second, last = one.push(speech[4000:]), one.finish()
    together = np.concatenate([part.probabilities for part in (first, second, last)])
    assert together.tobytes() == alone.probabilities.tobytes()


def test_a_finished_stream_takes_no_more() -> None:
    stream = ArticulationStream()
    stream.finish()
    with pytest.raises(EngineError, match="finished"):
        stream.push(np.zeros(160, np.float32))


def test_only_the_released_network_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="cannot read") as missing:
        open_network(tmp_path / "none.onnx", NETWORK_SHA256)
    assert "reinstall" in missing.value.hint
    damaged = bytearray(NETWORK.read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "damaged.onnx").write_bytes(damaged)
    with pytest.raises(WeightsMismatch, match="damaged"):
        open_network(tmp_path / "damaged.onnx", NETWORK_SHA256)
