"""Presence, loudness and emphasis of a voice, frame by frame."""

from personare.voice.prosody import Prosody, ProsodyFrame, RunningQuantile

SPEAKING = {"voice": 0.95, "silence": 0.02}
PAUSING = {"voice": 0.05, "silence": 0.95}


def _run(
    prosody: Prosody, n: int, level_dbfs: float, voice: float, silence: float, known: bool = False
) -> ProsodyFrame:
    for _ in range(n):
        frame = prosody.push(voice, silence, level_dbfs, known)
    return frame


def test_presence_rises_with_speech_and_falls_to_exactly_nothing() -> None:
    prosody = Prosody()
    assert _run(prosody, 50, -70, **PAUSING).presence == 0
    assert _run(prosody, 8, -25, **SPEAKING).presence == 1
    assert _run(prosody, 10, -70, **PAUSING).presence == 1
    assert 0 < _run(prosody, 12, -70, **PAUSING).presence < 1
    rest = _run(prosody, 20, -70, **PAUSING)
    assert (rest.presence, rest.loudness, rest.emphasis) == (0, 0, 0)


def test_blips_do_not_wake_the_mouth() -> None:
    prosody = Prosody()
    _run(prosody, 50, -70, **PAUSING)
    for _ in range(20):
        assert _run(prosody, 2, -25, **SPEAKING).presence == 0
        assert _run(prosody, 1, -25, **PAUSING).presence == 0


def test_steady_noise_that_sounds_like_speech_does_not_wake_the_mouth_but_known_phones_do() -> None:
    prosody = Prosody()
    assert _run(prosody, 100, -50, **PAUSING).presence == 0
    assert _run(prosody, 30, -50, **SPEAKING).presence == 0
    assert _run(prosody, 30, -50, **SPEAKING, known=True).presence == 1


def test_loudness_is_relative_to_the_voice() -> None:
    for offset in (0, -25):
        prosody = Prosody()
        _run(prosody, 30, -75, **PAUSING)
        for _ in range(12):
            loud = _run(prosody, 12, -20 + offset, **SPEAKING)
            quiet = _run(prosody, 12, -34 + offset, **SPEAKING)
        assert loud.loudness > 0.75
        assert quiet.loudness < 0.35


def test_emphasis_marks_the_louder_syllable() -> None:
    prosody = Prosody()
    for _ in range(10):
        plain = max(_run(prosody, 1, -30, **SPEAKING).emphasis for _ in range(12))
        _run(prosody, 12, -38, **SPEAKING)
    stressed = max(_run(prosody, 1, -20, **SPEAKING).emphasis for _ in range(12))
    assert stressed > plain + 0.3


def test_a_running_quantile_settles_where_it_should() -> None:
    quantile = RunningQuantile(0.9, start=0.0, step=0.5)
    for _ in range(60):
        for value in range(100):
            quantile.push((value * 37) % 100)
    assert 84 < quantile.value < 96
