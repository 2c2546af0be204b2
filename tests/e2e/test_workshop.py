"""The finished-clip cache as a user meets it: found again, never stale."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.media.audio import speech_from_samples
from personare.media.image import read_image, write_png
from personare.media.writer import ClipWriter
from personare.studio.studio import Studio
from personare.types import Phone
from tests.conftest import error_lines, write_wav

SMALL = ("--set", "size=256")


@pytest.fixture
def speak(cli, tmp_path):
    def call(portrait, speech, *options, name="a.mp4"):
        ended = cli("speak", portrait, speech, "-o", tmp_path / name, *SMALL, *options, "--json")
        assert ended.code == 0, ended
        return ended.json, (tmp_path / name).read_bytes()

    return call


@pytest.fixture
def short(tmp_path, voice_samples):
    return write_wav(tmp_path / "v.wav", voice_samples[:8000])


def test_the_same_clip_is_found_whatever_files_are_called(speak, cli, portrait, short, tmp_path):
    first, made = speak(portrait, short)
    assert first["cache"]["clip"] == "miss"
    photo, voice = tmp_path / "other.jpg", tmp_path / "other.wav"
    photo.write_bytes(portrait.read_bytes())
    voice.write_bytes(short.read_bytes())
    again, found = speak(photo, voice, name="b.mp4")
    assert again["cache"]["clip"] == "hit"
    assert set(again["cache"]["stages"].values()) == {"hit"}
    assert found == made
    fields = ("frames", "fps", "width", "height", "audio_seconds", "engine")
    assert {name: again[name] for name in fields} == {name: first[name] for name in fields}
    assert "perform" not in again["timings"]
    assert "made before" in cli("speak", photo, voice, "-o", tmp_path / "c.mp4", *SMALL).out


def test_whatever_changes_is_made_anew(speak, portrait, short, tmp_path, voice_samples, monkeypatch):
    _, made = speak(portrait, short)
    picture = read_image(portrait).copy()
    picture[0, 0] ^= 1
    write_png(tmp_path / "other.png", picture)
    write_png(tmp_path / "same.png", read_image(portrait))
    other = voice_samples[:8000].copy()
    other[4000] += 0.01
    changed_voice = write_wav(tmp_path / "other.wav", other)
    stereo = write_wav(tmp_path / "stereo.wav", np.stack([voice_samples[:8000]] * 2, axis=1))
    outcomes = [
        speak(tmp_path / "other.png", short)[0],
        speak(tmp_path / "same.png", short)[0],
        speak(portrait, changed_voice)[0],
        speak(portrait, stereo)[0],
        speak(portrait, short, "--set", "seed=1")[0],
        speak(portrait, short, "--fps", "30")[0],
        speak(portrait, short, name="a.mov")[0],
    ]
    from personare.engines.puppet.engine import Puppet

    monkeypatch.setattr(Puppet, "version", Puppet.version + 1)
    outcomes.append(speak(portrait, short)[0])
    assert [report["cache"]["clip"] for report in outcomes] == ["miss"] * len(outcomes)
    monkeypatch.undo()
    assert made


def test_switches_are_respected(speak, cli, portrait, short, home):
    _, made = speak(portrait, short)
    for switch, outcome in (("--no-cache", "off"), ("--no-clip-cache", "off"), ("--refresh", "miss")):
        report, again = speak(portrait, short, switch)
        assert report["cache"]["clip"] == outcome
        assert again == made
        assert "perform" in report["timings"]
    assert cli("cache", "stats", "--json").json["clips"]["clips"] == 1
    (kept,) = home.rglob("*.clip")
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    report, again = speak(portrait, short)
    assert report["cache"]["clip"] == "miss"
    assert again == made
    assert speak(portrait, short)[0]["cache"]["clip"] == "hit"
    assert cli("cache", "clear", "--json").json["clips"]["clips"] == 1
    assert speak(portrait, short)[0]["cache"]["clip"] == "miss"


def test_phones_count_and_a_voice_that_never_says_the_same_is_never_found(portrait, tmp_path, voice_samples):
    studio = Studio()
    cast = studio.cast(portrait, None, {"size": 256})
    plain = voice_samples[:8000]

    def clip_of(speech):
        return studio.speak(cast, speech, tmp_path / "a.mp4").cache["clip"]

    assert clip_of(speech_from_samples(plain, 16000)) == "miss"
    assert clip_of(speech_from_samples(plain, 16000)) == "hit"
    assert clip_of(speech_from_samples(plain, 16000, phones=(Phone("m", 0, 4000),))) == "miss"
    takes = iter(np.linspace(0.5, 0.9, 20))

    def another_take():
        return speech_from_samples(plain * np.float32(next(takes)), 16000).chunks()

    from dataclasses import replace

    moody = replace(speech_from_samples(plain, 16000), chunks=another_take)
    assert [clip_of(moody) for _ in range(3)] == ["miss"] * 3
    heard = np.linspace(0.5, 0.9, 20)[
        1
    ]  # the first take was listened to for its digest, the second was performed
    assert clip_of(speech_from_samples(plain * np.float32(heard), 16000)) == "hit"


def test_a_batch_follows_every_video_of_a_folder(cli, portrait, tmp_path):
    """Made once, then kept; a guide that is another one is followed anew."""

    def write(path, count):
        writer = ClipWriter(path, size=(256, 256), fps=Fraction(10), voice_rate=16000, voice_channels=1)
        with writer as clip:
            clip.write_frames(np.repeat(read_image(portrait)[None, ::2, ::2], count, axis=0))

    folder = tmp_path / "guides"
    folder.mkdir()
    for name, count in (("a", 2), ("b", 3)):
        write(folder / f"{name}.mp4", count)
    command = ("batch", folder, "--portrait", portrait, "--set", "size=256", "--workers", 1, "--json")
    made = cli(*command).json["results"]
    assert [(result["output"], result["state"]) for result in made] == [("a.mp4", "made"), ("b.mp4", "made")]
    assert [result["report"]["frames"] for result in made] == [2, 3]
    write(folder / "b.mp4", 4)
    assert [result["state"] for result in cli(*command).json["results"]] == ["kept", "made"]


def test_a_stage_is_left_out_of_the_cache(cli, portrait, short, tmp_path):
    def outcomes(*options):
        ended = cli(
            *("speak", portrait, short, "-o", tmp_path / "a.mp4", "--set", "size=256", "--json"), *options
        )
        assert ended.code == 0, ended
        return ended.json["cache"]["stages"]

    outcomes()
    again = outcomes("--no-clip-cache", "--no-cache-of", "puppet.crop", "puppet.rig")
    assert {stage for stage, outcome in again.items() if outcome == "miss"} == {"puppet.crop", "puppet.rig"}
    ended = cli("speak", portrait, short, "-o", tmp_path / "b.mp4", "--no-cache-of", "puppet.nose")
    error, hint = error_lines(ended)
    assert ended.code == 3
    assert "no stage is named 'puppet.nose'" in error
    assert "crop" in hint
