"""What is heard: spectra, whisper's hidden states, windows per frame, positions."""

from __future__ import annotations

import math
import re
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np

from personare.engines.musetalk.drive import (
    WindowRule,
    Windows,
    positional_encoding,
)
from personare.engines.musetalk.hearing import ROWS_PER_SECOND, Ears, Whole
from personare.media.audio import open_speech
from personare.types import SAMPLE_RATE
from personare.voice.whisper import (
    PIECE_SAMPLES,
    EncoderConfig,
    encoder_from_state,
    log_mel,
    mirrored,
    normalised,
    piece_mel,
)
from personare.weights.resident import Lease
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance


def samples_of(audio_i16: np.ndarray) -> np.ndarray:
    """16-bit samples as float32 in [-1, 1)."""
    return audio_i16.astype(np.float32) / np.float32(32768)


def ears(replay: Replay) -> Ears:
    """The product's encoder with the seeded weights."""
    config = EncoderConfig.from_json(replay.config("whisper_encoder"))
    return Ears(lambda: Lease(encoder_from_state(replay.state("whisper_encoder"), config, "the golden")), ())


def published_frame_count(samples: int, fps: Fraction) -> int | None:
    """Frames that the published program makes of a speech; None where it ends with an error.
    Ours makes `types.frame_count`.
    """
    rule = WindowRule(fps, published=True)
    frames, rows = math.floor(samples / SAMPLE_RATE * int(fps)), rule.row_count(samples)
    padding = math.ceil(ROWS_PER_SECOND / int(fps))
    padded = min(padding * rule.left, rows) + rows + min(3 * padding * rule.right, rows)
    last = math.floor((frames - 1) * (ROWS_PER_SECOND / int(fps))) + rule.rows
    return frames if frames > 0 and last <= padded else None


def original_frame_count(rows: int, fps: Fraction) -> int:
    """Frames that the program of 2024 makes of so many rows: until one that starts beyond the
    last row has been emitted.
    """
    return math.ceil((rows + 1) * fps / ROWS_PER_SECOND) + 1


def _whisper(replay: Replay) -> Arrays:
    samples = samples_of(replay.arrays["audio_i16"])
    mels = [
        piece_mel(samples[start : start + PIECE_SAMPLES]) for start in range(0, len(samples), PIECE_SAMPLES)
    ]
    listener = ears(replay).encoder
    hidden = np.concatenate([listener.hear(mel, final_norm=True) for mel in mels])
    mel = mels[0]
    return {
        "mel_first": mel[:, :160],
        "mel_tail_400": mel[:, 400:404],
        "mel_last": mel[:, -4:],
        "hidden_shape": np.array((1, *hidden.shape)),
        "hidden_0_8": hidden[:8],
        "hidden_step": hidden[::125],
        "hidden_last": hidden[-2:],
    }


def _audio_resample(replay: Replay) -> Arrays:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pcm.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(replay.arrays["pcm_i16_stereo"].shape[1])
            file.setsampwidth(2)
            file.setframerate(int(replay.arrays["sr"]))
            file.writeframes(replay.arrays["pcm_i16_stereo"].astype("<i2").tobytes())
        return {"mono16k": np.concatenate([chunk.samples for chunk in open_speech(path).chunks()])}


def _audio_windows(replay: Replay) -> Arrays:
    outputs = {}
    for name, array in replay.arrays.items():
        if match := re.fullmatch(r"fps(\w+)_n(\d+)", name):
            windows = _index_windows(_fps(match[1]), int(match[2]))
            outputs[name] = windows[replay.arrays[f"{name}_rows"]]
        elif match := re.fullmatch(r"left(\d+)_right(\d+)_fps(\w+)_n(\d+)", name):
            windows = _index_windows(_fps(match[3]), int(match[4]), int(match[1]), int(match[2]))
            outputs[name] = windows[[0, 1, -1]]
        elif name == "table_fps_samples_frames":
            counts = [
                published_frame_count(int(n), Fraction(str(round(float(fps), 3)))) for fps, n, _ in array
            ]
            outputs[name] = np.array(
                [[fps, n, -1 if c is None else c] for (fps, n, _), c in zip(array, counts, strict=True)],
                np.float32,
            )
    return outputs


def _fps(text: str) -> Fraction:
    return Fraction(text.replace("p", "."))


def _index_windows(fps: Fraction, samples: int, left: int = 2, right: int = 2) -> np.ndarray:
    """The published rule's windows of rows whose values tell their place: row + 1 + 0.1 state +
    0.01 channel.
    """
    rule = WindowRule(fps, published=True, left=left, right=right)
    count = rule.row_count(samples)
    frames = published_frame_count(samples, fps)
    assert frames is not None
    place = 1 + np.arange(count)[:, None, None] + 0.1 * np.arange(5)[None, :, None] + 0.01 * np.arange(2)
    windows = Windows(rule)
    made = [*windows.push(place.astype(np.float32)), *windows.finish(count, frames, lambda: (5, 2))]
    return np.stack(made[:frames])


def _audio_legacy_v1(replay: Replay) -> Arrays:
    samples = samples_of(replay.arrays["audio_i16"])
    mel = log_mel(mirrored(samples))[:, :-1]
    mel = normalised(mel, float(mel.max()))
    listener = ears(replay)
    hearing = Whole(listener, None)
    rows = np.concatenate([*hearing.push(samples), *hearing.finish()])
    chunks25, chunks30 = _original_windows(rows, 25), _original_windows(rows, 30)
    place = np.arange(40)[:, None, None] + 0.1 * np.arange(5)[None, :, None] + 0.01 * np.arange(2)
    return {
        "mel_shape": np.array(mel.shape),
        "mel_head": mel[:, :100],
        "n_chunks25": np.array(len(chunks25)),
        "n_chunks30": np.array(len(chunks30)),
        "emb_shape": np.array(rows.shape),
        "emb_step": rows[::25],
        "chunk25_0": chunks25[0],
        "chunk25_last": chunks25[-1],
        "chunk30_7": chunks30[7],
        "windows25": _original_windows(place.astype(np.float32), 25),
        "windows30": _original_windows(place.astype(np.float32), 30),
    }


def _original_windows(rows: np.ndarray, fps: int) -> np.ndarray:
    windows = Windows(WindowRule(Fraction(fps), edge="repeat"))
    frames = original_frame_count(len(rows), Fraction(fps))
    return np.stack([*windows.push(rows), *windows.finish(len(rows), frames, lambda: (5, 2))])


def _pe(replay: Replay) -> Arrays:
    x = replay.arrays["x"]
    return {"pe384": positional_encoding(50, 384)[::7, ::3], "y": x + positional_encoding(*x.shape[1:])}


CASES = {
    "whisper": Case(
        _whisper,
        {"hidden_shape": EXACT, ".*": Tolerance(1e-3)},
        inputs=("audio_i16",),
        components=("whisper_encoder",),
    ),
    "audio_resample": Case(_audio_resample, {".*": Tolerance(1e-4)}, inputs=("pcm_i16_stereo", "sr")),
    "audio_windows": Case(_audio_windows, {".*": Tolerance(2e-3)}, inputs=(r".*_rows",)),
    "audio_legacy_v1": Case(
        _audio_legacy_v1,
        {"(mel|emb)_shape|n_chunks.*": EXACT, ".*": Tolerance(1e-3)},
        inputs=("audio_i16",),
        components=("whisper_encoder",),
    ),
    "pe": Case(_pe, {".*": Tolerance(1e-5)}, inputs=("x",)),
}
