"""Back ends that crash, hang and lie, and which of them are found."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from personare.errors import EngineError, UnknownName, WeightsMissing
from personare.voice.tts import find_back_ends, open_text, voices
from personare.voice.tts.backends import Catalogue, EspeakLibrary, EspeakProgram, Phoneme, Sound
from personare.voice.tts.catalogue import choose_voice, match_voice, working_back_end

PRELUDE = """
import json, os, struct, sys, time
request = json.load(sys.stdin)
def send(kind, payload=b""):
    sys.stdout.buffer.write(struct.pack("<cI", kind, len(payload)) + payload)
    sys.stdout.buffer.flush()
if "texts" not in request:
    voice = {"name": "Fake", "identifier": "fake", "languages": [[5, "en-us"]]}
    send(b"V", json.dumps({"voices": [voice], "variants": []}).encode()); send(b"Z"); sys.exit()
send(b"R", struct.pack("<I", 22050))
"""


def fake(code, prelude=PRELUDE, seconds=20.0):
    worker = (sys.executable, "-I", "-c", prelude + textwrap.dedent(code))
    return EspeakLibrary("fake", "no-library", worker=worker, silence_seconds=seconds)


def heard(back_end):
    return list(back_end.speak(["hello"], "fake"))


def test_sound_and_phonemes_arrive():
    sound, phoneme = heard(
        fake("""
        send(b"A", struct.pack("4h", 1, -2, 3, -32768)); send(b"P", b'[[2, "m"]]'); send(b"Z")
    """)
    )
    assert isinstance(sound, Sound)
    assert sound.samples.tolist() == [1, -2, 3, -32768]
    assert sound.rate == 22050
    assert phoneme == Phoneme(2, "m")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("os.kill(os.getpid(), 11)", "stopped by signal 11"),
        ("sys.exit(3)", "ended with status 3"),
        ('send(b"A", b"\\0" * 100)', "ended with status 0 before it was done"),
        ("sys.stdout.buffer.write(b'A\\xff\\0\\0\\0abc')", "before it was done"),
        ('send(b"E", b\'{"message": "no such thing"}\')', "fake: no such thing"),
        ('send(b"E", b"[]")', "not speech"),
        ('send(b"A", b"\\0")', "not speech"),
        ('send(b"Q")', "not speech"),
        ('send(b"P", json.dumps([[-1, "m"]]).encode())', "not speech"),
        ('send(b"P", json.dumps([[1, 2]]).encode())', "not speech"),
        ('send(b"P", b"{")', "not speech"),
        ('send(b"R", b"\\0\\0\\0\\0")', "not speech"),
        ("sys.stdout.buffer.write(b'A\\xff\\xff\\xff\\xff')", "not speech"),
    ],
)
def test_a_crash_or_nonsense_is_an_error_with_a_hint(code, says):
    with pytest.raises(EngineError, match=says) as caught:
        heard(fake(code))
    assert caught.value.hint


def test_sound_before_its_rate_is_nonsense():
    with pytest.raises(EngineError, match="not speech"):
        heard(fake('send(b"A", b"\\0\\0")', prelude=PRELUDE.replace('send(b"R"', '(lambda *_: 0)(b"R"')))


def test_sound_without_phonemes_goes_out_all_the_same():
    wordless = fake("""
        send(b"P", b'[[0, "a"]]')
        for _ in range(60): send(b"A", b"\\1\\0" * 22050)
        send(b"Z")
    """)
    lengths = [len(c.samples) for c in open_text("hello", "fake", back_ends=[wordless]).chunks()]
    assert sum(lengths) == 60 * 16000
    assert max(lengths) < 12 * 16000


@pytest.mark.parametrize("code", ["time.sleep(600)", 'send(b"A", b"\\0\\0"); time.sleep(600)'])
def test_a_hang_is_an_error(code):
    with pytest.raises(EngineError, match=r"gave no sound for 0\.5 s"):
        heard(fake(code, seconds=0.5))


def test_a_child_that_never_reads_its_request_is_an_error():
    back_end = fake("", prelude="import time; time.sleep(600)", seconds=0.5)
    with pytest.raises(EngineError, match="gave no sound"):
        list(back_end.speak(["x" * 1_000_000], "fake"))


def test_a_worker_that_cannot_be_started_is_an_error():
    with pytest.raises(EngineError, match="cannot be started"):
        heard(EspeakLibrary("fake", "none", worker=("/nonexistent/python",)))


@pytest.mark.parametrize("leave", ["close", "interrupt"])
def test_no_child_outlives_its_speech(leave):
    endless = fake("""
        send(b"A", b"\\0\\0"); send(b"P", json.dumps([[0, str(os.getpid())]]).encode())
        while True: send(b"A", b"\\0\\0" * 1000)
    """)
    speech = endless.speak(["hello"], "fake")
    next(speech)
    child = int(next(speech).symbol)
    os.kill(child, 0)
    if leave == "close":
        speech.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            speech.throw(KeyboardInterrupt())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_the_next_back_end_takes_over_from_a_broken_one():
    broken, good = EspeakLibrary("broken", "/nonexistent/libespeak-ng.so"), fake("")
    assert working_back_end([broken, good])[0] == good
    with pytest.raises(EngineError, match="cannot be loaded"):
        working_back_end([broken])


def test_without_a_back_end_there_is_one_line_and_a_hint():
    with pytest.raises(WeightsMissing) as caught:
        open_text("hello", back_ends=[])
    assert "pip install 'personare[tts]'" in caught.value.hint
    assert "\n" not in caught.value.message
    listed = voices(back_ends=[])
    assert {"en", "zh", "ja", "de", "fr", "es"} <= {v.language for v in listed}
    assert not any(v.available for v in listed)
    espeak = [v for v in listed if v.backend == "espeak-ng"]
    assert len(espeak) == 6
    assert all("pip install" in v.needed for v in espeak)


def test_the_environment_chooses_the_back_end(tmp_path):
    assert find_back_ends({"PERSONARE_ESPEAK": "none"}) == ()
    (library,) = find_back_ends({"PERSONARE_ESPEAK": "/opt/lib/libespeak-ng.so.1"})
    assert isinstance(library, EspeakLibrary)
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_back_ends({"PERSONARE_ESPEAK": str(program)}) == (EspeakProgram("espeak-ng", str(program)),)
    assert find_back_ends({})[0].name == "espeakng_loader"


def program_that(tmp_path, code):
    """An `espeak-ng` of our own making: its --voices prints a table, and speaking runs `code`."""
    program = tmp_path / "espeak-ng"
    program.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent("""
        import struct, sys
        if sys.argv[1].startswith("--voices"):
            print("Pty Language       Age/Gender VoiceName          File                 Other Languages")
            if sys.argv[1] == "--voices":
                print(" 5  cmn             --/M      Chinese_(Mandarin) sit/cmn           (zh-cmn 5)(zh 5)")
            else:
                print(" 5  variant         --/F      female3            !v/f3                ")
            sys.exit()
        text = sys.stdin.read()
        fmt = struct.pack("<IHHIIHH", 16, 1, 1, 22050, 44100, 2, 16)
        wav = b"RIFF\\0\\0\\0\\0WAVEfmt " + fmt + b"data\\0\\0\\0\\0"
    """)
        + textwrap.dedent(code)
    )
    program.chmod(0o755)
    return EspeakProgram("espeak-ng", str(program))


def test_a_program_speaks_without_phone_times(tmp_path):
    program = program_that(
        tmp_path,
        """
        assert sys.argv[1:] == ["-v", "sit/cmn+f3", "-b", "1", "--stdin", "--stdout"]
        sys.stdout.buffer.write(wav + struct.pack("<h", 100) * 30000)
    """,
    )
    ready = [(v.name, v.language, v.description) for v in voices([program]) if v.available]
    assert ready == [("cmn", "zh", "Chinese (Mandarin)")]
    chunks = list(open_text("你好", "zh+f3", back_ends=[program]).chunks())
    assert len(chunks) > 1
    assert sum(len(c.voice) for c in chunks) == 30000
    assert sum(len(c.samples) for c in chunks) == -(-30000 * 16000 // 22050)
    assert all(c.phones is None for c in chunks)


@pytest.mark.parametrize(
    "code", ["sys.stdout.buffer.write(wav + b'\\0' * 99); sys.exit(1)", "print('x' * 44)", "pass"]
)
def test_a_program_that_fails_is_an_error(tmp_path, code):
    with pytest.raises(EngineError):
        list(program_that(tmp_path, code).speak(["hello"], "en"))


def test_voices_are_found_by_tag_name_and_variant():
    _, catalogue = working_back_end()
    found = {wanted: match_voice(catalogue, wanted)[0] for wanted in (
        "en", "EN_us", "en-gb", "zh", "zh-TW", "ja", "de-AT", "fr", "fr-ca", "es", "German", "en-us+F3",
        "gmw/en-US",
    )}  # fmt: skip
    assert found == {
        "en": "gmw/en-US", "EN_us": "gmw/en-US", "en-gb": "gmw/en", "zh": "sit/cmn", "zh-TW": "sit/cmn",
        "ja": "jpx/ja", "de-AT": "gmw/de", "fr": "roa/fr", "fr-ca": "roa/fr", "es": "roa/es",
        "German": "gmw/de", "en-us+F3": "gmw/en-US+f3", "gmw/en-US": "gmw/en-US",
    }  # fmt: skip


def test_every_listed_voice_can_be_asked_for_by_its_name():
    _, catalogue = working_back_end()
    listed = [voice for voice in voices() if voice.available]
    assert len(listed) == len(catalogue.voices) > 100
    assert len({v.name for v in listed}) == len(listed)
    assert all(match_voice(catalogue, v.name)[1].name == v.description for v in listed)


@pytest.mark.parametrize("wanted", ["Germann", "xx", "../../etc/passwd", "en-us+nobody", "", "+f3"])
def test_an_unknown_voice_gets_a_hint(wanted):
    with pytest.raises(UnknownName) as caught:
        match_voice(working_back_end()[1], wanted)
    assert caught.value.hint
    if wanted == "Germann":
        assert "German" in caught.value.hint


def test_a_program_that_is_no_synthesiser_is_told_at_once(tmp_path):
    """PERSONARE_ESPEAK=/bin/true; the search for a language once went round for ever."""
    program = tmp_path / "true"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match="lists no voices"):
        choose_voice("en", [EspeakProgram("true", str(program))])
    with pytest.raises(UnknownName):
        match_voice(Catalogue((), ()), "en")
