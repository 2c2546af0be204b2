"""Performances and stages of the engines share one copy of each network, and files are read
once.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import personare
from personare.engines.engine import Performance
from personare.media.image import read_image
from personare.perception import find_face
from personare.weights import resident
from personare.weights.finder import Weights
from personare.weights.loading import read_state
from tests.conftest import SEEDED

pytestmark = pytest.mark.neural


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Before and after a test nothing is resident that nobody leases."""
    gc.collect()
    resident.drop_unleased()
    yield
    resident.set_budget(None)
    gc.collect()
    resident.drop_unleased()


def held(engine: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(part, dtype) -> (leases, loads) of what is resident of an engine's checkpoints."""
    parts = {"float": ("float/",), "musetalk": ("musetalk-", "sd-vae", "whisper")}[engine]
    return {(r.part, r.dtype): (r.leases, r.loads) for r in resident.report() if r.part.startswith(parts)}


def times_opened(file: Path, act: Callable[[], object]) -> int:
    """How often `act` opens a file."""
    paths: list[str] = []
    listening = [True]
    sys.addaudithook(  # which stays for good
        lambda event, arguments: paths.append(str(arguments[0])) if listening and event == "open" else None
    )
    try:
        act()
    finally:
        listening.clear()
    return paths.count(str(file))


def spoken(performance: Performance, samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    frames = [*performance.feed(samples), *performance.finish()]
    return np.concatenate([piece.images for piece in frames])


def test_four_float_sessions_and_their_preparation_read_the_file_once(
    weights: Path, portrait: Path, voice_samples: np.ndarray[Any, Any]
) -> None:
    engine = personare.open_engine("float", weights=weights)
    file, speech = weights / "float" / "float.pth", voice_samples[:3200]
    for name in SEEDED["float"]:
        Weights(weights).sha256(name)  # read once for the digest, which is then remembered
    sessions: list[Performance] = []
    sizes: list[int] = []

    def run() -> None:
        avatar = engine.prepare(portrait, rest_in_silence=1)  # encoder, decoder; decoder again
        for _ in range(4):
            sessions.append(engine.perform(avatar, emotion="auto"))
            spoken(sessions[-1], speech)
            sizes.append(resident.resident_bytes())

    assert times_opened(file, run) == times_opened(file, lambda: read_state(file)) > 0
    assert sizes == [sizes[0]] * 4
    assert sizes[0] >= file.stat().st_size * 0.9
    assert {part: leases for (part, _), (leases, _) in held("float").items()} == {
        "float/file": 0, "float/encoder": 0, "float/decoder": 4, "float/transformer": 4, "float/voice": 0,
        "float/emotion": 0,
    }  # fmt: skip
    sessions.pop().close()
    sessions.clear()  # these are not closed
    gc.collect()
    assert {leases for leases, _ in held("float").values()} == {0}


def test_sessions_at_the_same_time_do_not_hear_each_other(
    weights: Path, portrait: Path, voice_samples: np.ndarray[Any, Any]
) -> None:
    """They share wav2vec2, which tells about its layers while it runs."""
    engine = personare.open_engine("float", weights=weights)
    avatar = engine.prepare(portrait)
    voices = [voice_samples[start : start + 8000] for start in (0, 4000, 8000, 12000)]
    alone = [spoken(engine.perform(avatar), voice) for voice in voices]
    together = threading.Barrier(len(voices))

    def session(voice: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        together.wait(10)
        return spoken(engine.perform(avatar), voice)

    with ThreadPoolExecutor(len(voices)) as threads:
        made = list(threads.map(session, voices))
    for one, other in zip(alone, made, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.nightly
def test_musetalk_sessions_of_two_versions_and_precisions_live_side_by_side(
    weights: Path, portrait: Path, voice_samples: np.ndarray[Any, Any]
) -> None:
    resident.set_budget(0)  # nothing stays for its own sake
    engine = personare.open_engine("musetalk", weights=weights)
    options = {"detector": "landmarks", "parser": "landmarks", "batch_size": 2, "device": "cpu"}
    speech = voice_samples[5000:6600]

    def session(**more: str) -> Performance:
        chosen = {**options, "precision": "float32", **more}
        return engine.perform(engine.prepare(portrait, **chosen), **chosen)

    first = session()
    before, live = spoken(first, speech), held("musetalk")
    again, other, half = session(), session(version="v1"), session(precision="bfloat16")
    assert spoken(again, speech).shape == before.shape
    assert (spoken(other, speech) != before).any()
    assert (spoken(half, speech) != before).any()
    now = {name: leases for name, (leases, _) in held("musetalk").items()}
    assert now == {
        ("musetalk-unet-v15", "float32"): 2, ("musetalk-unet-v1", "float32"): 1,
        ("musetalk-unet-v15", "bfloat16"): 1, ("sd-vae-ft-mse/decoder", "float32"): 3,
        ("sd-vae-ft-mse/decoder", "bfloat16"): 1, ("whisper-tiny", "float32"): 3,
        ("whisper-tiny", "bfloat16"): 1,
    }  # fmt: skip
    np.testing.assert_array_equal(spoken(session(), speech), before)
    assert {name: loads for name, (_, loads) in held("musetalk").items() if name in live} == {
        name: loads for name, (_, loads) in live.items()
    }
    for performance in (first, again, other, half):
        performance.close()
    gc.collect()
    assert held("musetalk") == {}


def test_both_halves_of_the_autoencoder_share_what_was_read(
    weights: Path, portrait: Path, voice_samples: np.ndarray[Any, Any]
) -> None:
    engine = personare.open_engine("musetalk", weights=weights)
    options = {"detector": "landmarks", "parser": "landmarks", "precision": "float32"}
    (file,) = (weights / "sd-vae").glob("diffusion_pytorch_model.*")
    for name in SEEDED["musetalk"]:
        Weights(weights).sha256(name)

    def run() -> None:
        avatar = engine.prepare(portrait, **options)
        for _ in range(2):
            spoken(engine.perform(avatar, **options), voice_samples[5000:6600])

    assert times_opened(file, run) == times_opened(file, lambda: read_state(file)) > 0


def test_the_networks_of_the_package_are_told_with_the_size_of_their_files(portrait: Path) -> None:
    find_face(read_image(portrait), "portrait")
    face = next(r for r in resident.report() if r.part == "perception/face_landmark")
    assert (face.bytes, face.leases, face.loads) == (1226772, 1, 1)


def test_doctor_and_the_report_of_a_clip_say_what_is_resident(
    cli: Any, portrait: Path, voice: Path, tmp_path: Path
) -> None:
    ended = cli("speak", portrait, voice, "-o", tmp_path / "a.mp4", "--set", "size=256", "--json")
    assert ended.json["resident_bytes"] == resident.resident_bytes() > 2724088  # hears with a network
    told = cli("doctor", "--json").json["networks"]
    heard = next(entry for entry in told if entry["part"] == "voice/articulation")
    assert (heard["bytes"], heard["device"], heard["leases"]) == (2724088, "cpu", 1)
    assert "networks in memory" in cli("doctor").out
