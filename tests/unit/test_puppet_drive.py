"""From speech to face states: any cut, exact counts, latency, silence and phones."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personare.engines.puppet.drive import MouthDrive
from personare.engines.puppet.move.state import MouthFrame
from personare.errors import EngineError
from personare.motion import UNIT
from personare.types import SAMPLE_RATE, Phone, Samples, frame_count

RATES = [Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50), Fraction(60)]
LIPS_PART = [UNIT[n] for n in ("mouthFunnel", "mouthLowerDownLeft", "mouthUpperUpRight")]
PHONES = tuple(
    Phone(symbol, 3000 + 1300 * i, 3000 + 1300 * (i + 1))
    for i, symbol in enumerate(["m", "aɪ", "p", "eɪ", "b", "l", "v", "oʊ", "", "ə", "f", "k", "ɑː"])
)


def voice(seconds: float) -> Samples:
    """Syllables of a buzz through the resonances of an open vowel."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.zeros(len(t))
    for k in range(1, 30):
        formants = sum(1 / (1 + ((k * 120 - centre) / 120) ** 2) for centre in (750, 1250, 2600))
        sound += formants * np.sin(2 * np.pi * k * 120 * t)
    sound *= np.clip(np.sin(2 * np.pi * 2.5 * t), 0, 1)
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


def noise(seconds: float, dbfs: float, seed: int = 0) -> Samples:
    sound = np.random.default_rng(seed).normal(0, 10 ** (dbfs / 20), round(seconds * SAMPLE_RATE))
    return sound.astype(np.float32)


def driven(
    speech: Samples,
    sizes: list[int],
    phones: tuple[Phone, ...] | None = None,
    fps: Fraction = Fraction(25),
    expressiveness: float = 1.0,
) -> list[MouthFrame]:
    drive = MouthDrive(fps, expressiveness)
    frames: list[MouthFrame] = []
    at = turn = 0
    while at < len(speech):
        size = sizes[turn % len(sizes)]
        said = None if phones is None else [phone for phone in phones if at <= phone.start < at + size]
        frames += drive.push(speech[at : at + size], said)
        at, turn = at + size, turn + 1
    return frames + drive.finish()


def as_bytes(frames: list[MouthFrame]) -> bytes:
    return b"".join(
        f.curves.tobytes() + np.array([f.tongue, f.loudness, f.emphasis]).tobytes() for f in frames
    )


def parted(curves: np.ndarray) -> np.ndarray:
    """What parts the lips: the jaw as far as they do not close over it, and the lips
    themselves.
    """
    jaw = np.maximum(curves[:, UNIT["jawOpen"]] - curves[:, UNIT["mouthClose"]], 0)
    jaw[jaw < 1e-6] = 0  # two float32 weights that are alike but for rounding
    return jaw + curves[:, LIPS_PART].sum(axis=1)


def curves_of(frames: list[MouthFrame]) -> np.ndarray:
    return np.stack([frame.curves for frame in frames])


@pytest.mark.parametrize("phones", [None, PHONES])
@pytest.mark.parametrize("sizes", [[320], [640], [5328], [17, 2900, 161, 1, 777]])
def test_pieces_do_not_change_a_byte(sizes: list[int], phones: tuple[Phone, ...] | None) -> None:
    speech = voice(1.5)
    whole = driven(speech, [len(speech)], phones)
    assert curves_of(whole).any()
    assert as_bytes(driven(speech, sizes, phones)) == as_bytes(whole)


def test_phones_may_be_announced_early() -> None:
    speech = voice(1.5)
    drive = MouthDrive(Fraction(25), 1.0)
    frames = drive.push(speech[:0], PHONES)
    for at in range(0, len(speech), 640):
        frames += drive.push(speech[at : at + 640], ())
    assert as_bytes(frames + drive.finish()) == as_bytes(driven(speech, [640], PHONES))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(RATES), st.integers(0, 3000))
def test_the_number_of_frames_is_exact(fps: Fraction, samples: int) -> None:
    assert len(driven(np.zeros(samples, np.float32), [700], fps=fps)) == frame_count(samples, fps)


@pytest.mark.parametrize("fps", [Fraction(1), Fraction(120), Fraction(7, 2)])
def test_odd_rates_work(fps: Fraction) -> None:
    assert len(driven(voice(1.1), [999], fps=fps)) == frame_count(17600, fps)


def test_no_speech_has_no_frames_and_10_ms_have_one() -> None:
    assert driven(np.zeros(0, np.float32), [1]) == []
    assert len(driven(voice(0.01), [160])) == 1


@pytest.mark.parametrize("fps", [*RATES, Fraction(1), Fraction(97)])
def test_frames_keep_the_promised_latency(fps: Fraction) -> None:
    drive = MouthDrive(fps, 1.0)
    out = 0
    for known in range(1, 16001, 53):
        out += len(drive.push(np.zeros(53 if known > 1 else 1, np.float32)))
        promised = (
            Fraction(known, SAMPLE_RATE) - Fraction(drive.lookahead_seconds).limit_denominator(10000)
        ) * fps
        assert out >= promised, known


def test_silence_is_exactly_still() -> None:
    frames = driven(np.zeros(32000, np.float32), [640])
    assert not curves_of(frames).any()
    assert all((f.tongue, f.loudness, f.emphasis) == (0, 0, 0) for f in frames)


def test_a_mouth_rests_a_little_open_in_a_short_pause_and_shut_after_an_m() -> None:
    pause, phones = noise(1.8, -70), (Phone("ɑː", 0, 12000), Phone("m", 12000, 16000))
    vowel = parted(curves_of(driven(np.concatenate([voice(1.0), pause]), [640])))
    assert 0.1 < vowel[34:42].min() < vowel[34:42].max() < 0.6
    assert not vowel[-20:].any()
    hummed = parted(curves_of(driven(np.concatenate([voice(1.0), pause]), [640], phones)))
    assert hummed[28:].max() < 0.02


def test_the_jaw_stays_behind_lips_that_shut_and_moves_like_a_heavy_one() -> None:
    """The chin of a p between two vowels does not jump to its place at rest, and no frame
    repeats the one before at a limit.
    """
    phones = tuple(
        Phone(symbol, 1600 * i, 1600 * (i + 1)) for i, symbol in enumerate(["ɑː", "p", "ɑː", "b"] * 5)
    )
    curves = curves_of(driven(voice(2.0), [640], phones))
    jaw, opening = curves[5:48, UNIT["jawOpen"]], parted(curves[5:48])
    assert (opening == 0).mean() > 0.3
    assert jaw.min() > 0.08
    assert np.abs(np.diff(jaw)).max() < 0.6 * np.abs(np.diff(opening)).max()
    assert (np.diff(jaw[jaw > 0.9 * jaw.max()]) != 0).all()


def test_a_pause_after_speech_becomes_exactly_still() -> None:
    frames = driven(np.concatenate([voice(1.0), noise(1.8, -70)]), [640])
    curves = curves_of(frames)
    assert curves[:25, UNIT["jawOpen"]].max() > 0.15
    assert not curves[-20:].any()


@pytest.mark.parametrize(("dbfs", "frames_to_settle"), [(-70, 0), (-60, 0), (-50, 0), (-40, 25), (-30, 25)])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_alone_leaves_the_mouth_still(dbfs: float, frames_to_settle: int, seed: int) -> None:
    curves = curves_of(driven(noise(3.0, dbfs, seed), [640]))
    assert not curves[frames_to_settle:].any()


def test_hum_and_offset_leave_the_mouth_still() -> None:
    t = np.arange(32000) / SAMPLE_RATE
    for sound in (0.02 * np.sin(2 * np.pi * 50 * t), np.full(32000, 0.1)):
        assert not curves_of(driven(sound.astype(np.float32), [640])).any()


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("expressiveness", [1.0, 1.2])
def test_lips_meet_in_every_p_b_m(fps: Fraction, expressiveness: float) -> None:
    """In at least one of the frames shown while the sound lasts, or the one before; in closures
    of 40 ms.
    """
    phones, at = [], 1600
    for i, symbol in enumerate(["a", "p", "a", "b", "ɛ", "m", "oʊ", "p", "i", "m"] * 2):
        end = at + (1900 if i % 2 == 0 else 640) + 37 * i
        phones.append(Phone(symbol, at, end))
        at = end
    frames = driven(voice(at / SAMPLE_RATE), [640], tuple(phones), fps, expressiveness)
    curves = curves_of(frames)
    assert curves[:, UNIT["jawOpen"]].max() > 0.25
    for phone in phones[1::2]:
        first = int(phone.start * fps / SAMPLE_RATE)
        last = int((phone.end - 1) * fps / SAMPLE_RATE)
        shown = parted(curves[max(first - 1, 0) : last + 1])
        assert shown.min() == 0, phone


def test_known_phones_overrule_the_sound_only_where_they_speak() -> None:
    speech = voice(2.0)
    phones = (Phone("m", 8000, 16000),)
    with_phones, without = driven(speech, [640], phones), driven(speech, [640])
    assert as_bytes(with_phones[:8]) == as_bytes(without[:8])
    assert not parted(curves_of(with_phones)[14:23]).any()
    assert parted(curves_of(without)[14:23]).any()
    assert as_bytes(with_phones[-8:]) != b""
    assert curves_of(with_phones)[-14:, UNIT["jawOpen"]] == pytest.approx(
        curves_of(without)[-14:, UNIT["jawOpen"]], abs=0.03
    )


def test_the_mouth_of_a_voice_is_lively_finite_and_in_range() -> None:
    frames = driven(voice(3.0), [333])
    curves = curves_of(frames)
    assert np.isfinite(curves).all()
    assert 0.2 < curves[:, UNIT["jawOpen"]].max() < 0.62
    loudness = [frame.loudness for frame in frames]
    emphasis = [frame.emphasis for frame in frames]
    for values in (loudness, emphasis, [frame.tongue for frame in frames]):
        assert min(values) >= 0
        assert max(values) <= 1
    assert max(loudness) > 0.5
    assert min(loudness[5:]) < 0.3


def test_a_finished_utterance_takes_no_more() -> None:
    drive = MouthDrive(Fraction(25), 1.0)
    drive.finish()
    with pytest.raises(EngineError):
        drive.push(np.zeros(10, np.float32))


def test_memory_does_not_grow_with_the_speech() -> None:
    drive = MouthDrive(Fraction(25), 1.0)
    second = voice(1.0)
    for i in range(8):
        drive.push(second, [Phone("a", i * 16000 + k * 800, i * 16000 + (k + 1) * 800) for k in range(20)])
        kept = len(drive._mouth), len(drive._painter._segments)
        assert max(kept) < 30
