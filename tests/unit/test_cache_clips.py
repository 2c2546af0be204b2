"""Finished clips: found by everything that enters them, whole or not at all."""

from __future__ import annotations

import os

import numpy as np
import pytest

from personare.cache.clips import ClipCache, ClipFacts, SpeechDigest, cast_key
from personare.media.audio import speech_from_samples
from personare.types import Phone

FACTS = ClipFacts(frames=25, fps=29.97002997, width=256, height=256, audio_seconds=1.0)
CAST, OTHER, SPEECH = "a" * 64, "b" * 64, "1" * 64


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "made.mp4"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


@pytest.fixture
def cache(tmp_path):
    return ClipCache(tmp_path / "clips", max_bytes=4_000_000)


def stored(cache):
    return sorted(cache.folder.rglob("*.clip"))


def test_a_kept_clip_is_found_with_its_bytes_and_facts(cache, clip, tmp_path):
    assert not cache.has_any(CAST)
    assert cache.keep(CAST, SPEECH, clip, FACTS)
    assert cache.has_any(CAST)
    assert not cache.has_any(OTHER)
    target = tmp_path / "again.mp4"
    assert cache.take(CAST, SPEECH, target) == FACTS
    assert target.read_bytes() == clip.read_bytes()
    assert cache.take(CAST, "2" * 64, tmp_path / "none.mp4") is None
    assert not (tmp_path / "none.mp4").exists()


@pytest.mark.parametrize("where", [5, 40, 120, 300, 100_000, -1])
def test_a_flipped_bit_is_never_given_out(cache, clip, tmp_path, where, caplog):
    cache.keep(CAST, SPEECH, clip, FACTS)
    (path,) = stored(cache)
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    target = tmp_path / "again.mp4"
    target.write_bytes(b"what was there")
    assert cache.take(CAST, SPEECH, target) is None
    assert target.read_bytes() == b"what was there"
    assert stored(cache) == []
    assert "damaged" in caplog.text


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"", lambda data: b"{" * 9000]
)
def test_another_length_is_never_given_out(cache, clip, tmp_path, change):
    cache.keep(CAST, SPEECH, clip, FACTS)
    (path,) = stored(cache)
    path.write_bytes(change(path.read_bytes()))
    assert cache.take(CAST, SPEECH, tmp_path / "again.mp4") is None
    assert not (tmp_path / "again.mp4").exists()


def test_the_least_recently_used_clips_go_first(cache, clip, tmp_path):
    for number, speech in enumerate(("1" * 64, "2" * 64, "3" * 64)):
        cache.keep(CAST, speech, clip, FACTS)
        os.utime(cache.folder / CAST[:2] / CAST / f"{speech}.clip", (number, number))
    cache.take(CAST, "1" * 64, tmp_path / "again.mp4")
    cache.keep(CAST, "4" * 64, clip, FACTS)
    assert [path.stem[0] for path in stored(cache)] == ["1", "3", "4"]
    assert cache.stats().clips == 3
    assert cache.stats().bytes <= cache.max_bytes


def test_a_clip_larger_than_the_cache_is_not_kept(tmp_path, clip):
    cache = ClipCache(tmp_path / "clips", max_bytes=1000)
    assert not cache.keep(CAST, SPEECH, clip, FACTS)
    assert stored(cache) == []


def test_a_folder_that_cannot_be_used_keeps_nothing(tmp_path, clip):
    (tmp_path / "blocked").write_text("a file")
    cache = ClipCache(tmp_path / "blocked")
    assert not cache.keep(CAST, SPEECH, clip, FACTS)
    assert not cache.has_any(CAST)
    assert cache.take(CAST, SPEECH, tmp_path / "again.mp4") is None


def test_every_part_of_a_cast_is_in_its_key():
    parts = {
        "engine": "puppet",
        "version": 1,
        "options": {"size": 256},
        "portrait": "0" * 64,
        "keys": {"puppet.face": "f" * 64},
        "weights": ("c" * 64,),
        "container": ".mp4 x264",
        "numerics": {"versions": {"numpy": "2.0"}},
        "source": ["5" * 64],
    }
    changes = {
        "engine": "float",
        "version": 2,
        "options": {"size": 512},
        "portrait": "1" * 64,
        "keys": {"puppet.face": "e" * 64},
        "weights": ("d" * 64,),
        "container": ".mov x264",
        "numerics": {"versions": {"numpy": "2.1"}},
        "source": ["6" * 64],
    }
    keys = {cast_key(**parts)} | {cast_key(**{**parts, name: changed}) for name, changed in changes.items()}
    assert len(keys) == len(parts) + 1


def digest(samples, rate=16000, phones=None):
    speech = speech_from_samples(samples, rate, phones=phones)
    hasher = SpeechDigest(speech)
    for chunk in speech.chunks():
        hasher.add(chunk)
    return hasher.hexdigest()


def test_a_speech_is_all_that_is_heard_of_it():
    rng = np.random.default_rng(1)
    voice = rng.uniform(-1, 1, 48000).astype(np.float32)
    assert digest(voice) == digest(voice.copy())
    assert digest(voice) == digest(voice[:, None])
    quieter = voice.copy()
    quieter[-1] += np.float32(1e-6)
    stereo = np.stack([voice, voice], axis=1)
    phones = (Phone("m", 0, 800),)
    others = [
        digest(quieter),
        digest(voice[:-1]),
        digest(stereo),
        digest(voice, 44100),
        digest(voice, phones=phones),
        digest(voice, phones=(Phone("m", 0, 801),)),
        digest(voice, phones=()),
    ]
    assert len({digest(voice), *others}) == len(others) + 1
