"""One owner of the networks in a process: loaded once, counted honestly, dropped in order."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import personare
from personare.engines.engine import Performance
from personare.errors import InvalidOption, WeightsMismatch
from personare.media.image import read_image
from personare.perception import find_face
from personare.weights import resident
from personare.weights.finder import Weights
from personare.weights.loading import read_state
from personare.weights.resident import BUDGET_VARIABLE, Lease, NetworkKey, NetworkPool
from tests.conformance.seeded_checkpoint import write_checkpoints

torch = pytest.importorskip("torch")

FLOAT = ("float", "wav2vec2-base-960h", "wav2vec2-emotion")
MUSETALK = ("musetalk-unet-v15", "musetalk-unet-v1", "sd-vae-ft-mse", "whisper-tiny")
LARGE = 1 << 40


def key(part: str) -> NetworkKey:
    return NetworkKey(("0" * 64,), part)


def linear() -> Any:
    """4 * 4 + 4 numbers: 80 bytes."""
    return torch.nn.Linear(4, 4)


# ---------------------------------------------------------------- the owner


def test_a_network_is_loaded_once_and_stays_after_its_lease() -> None:
    pool, loaded = NetworkPool(LARGE), []

    def load() -> Any:
        loaded.append(1)
        return linear()

    with pool.lease(key("a"), load) as first, pool.lease(key("a"), load) as second:
        assert first is second
        assert [(r.part, r.bytes, r.leases, r.loads) for r in pool.report()] == [("a", 80, 2, 1)]
    with pool.lease(key("a"), load) as third:
        assert third is first
    assert [(r.leases, r.loads) for r in pool.report()] == [(0, 1)]
    assert loaded == [1]


def test_a_lease_ends_once() -> None:
    pool = NetworkPool(LARGE)
    kept, ended = pool.lease(key("a"), linear), pool.lease(key("a"), linear)
    ended.close()
    ended.close()
    assert pool.report()[0].leases == 1
    assert not hasattr(ended, "network")
    assert kept.network.in_features == 4


def test_a_lease_that_nobody_refers_to_is_given_back() -> None:
    pool = NetworkPool(0)

    class Session:
        def __init__(self) -> None:
            self.lease = pool.lease(key("a"), linear)
            self.me = self  # a ring, which only the garbage collector takes apart

    session = Session()
    assert len(pool.report()) == 1
    del session
    gc.collect()
    assert pool.report() == []


def test_over_budget_the_least_recently_used_goes_first_and_what_is_leased_stays() -> None:
    pool = NetworkPool(3 * 80)
    leased = pool.lease(key("leased"), linear)
    for part in ("a", "b"):
        pool.lease(key(part), linear).close()
    pool.lease(key("a"), linear).close()  # used once more: now b is the oldest
    newest = pool.lease(key("c"), linear)
    assert [r.part for r in pool.report()] == ["a", "c", "leased"]
    pool.set_budget(0)
    assert [r.part for r in pool.report()] == ["c", "leased"]
    leased.close()
    assert [r.part for r in pool.report()] == ["c"]
    newest.close()
    assert pool.report() == []


def test_a_network_that_is_dropped_is_freed_and_loaded_again_when_it_is_wanted() -> None:
    pool = NetworkPool(0)
    lease = pool.lease(key("a"), linear)
    network = weakref.ref(lease.network)
    gc.disable()  # freed at once, not when the collector comes round
    try:
        lease.close()
        assert network() is None
    finally:
        gc.enable()
    with pool.lease(key("a"), linear):
        assert pool.report()[0].loads == 2


def test_dropping_what_shares_its_memory_with_a_leased_network_frees_nothing() -> None:
    pool, tensor = NetworkPool(0), torch.zeros(20)
    leased = pool.lease(key("part"), lambda: {"mine": tensor})
    file = pool.lease(key("file"), lambda: {"mine": tensor})
    file.close()
    assert [(r.part, r.bytes) for r in pool.report()] == [("file", 80), ("part", 80)]
    assert pool.resident_bytes() == 80
    leased.close()
    assert pool.report() == []


def test_threads_that_ask_at_once_wait_for_one_load() -> None:
    pool, loading, go, loads = NetworkPool(LARGE), threading.Event(), threading.Event(), []

    def load() -> Any:
        loads.append(1)
        loading.set()
        assert go.wait(10)
        return linear()

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(pool.lease, key("a"), load)
        assert loading.wait(10)
        others = [threads.submit(pool.lease, key("a"), load) for _ in range(7)]
        # While one network is being loaded others can be leased.
        assert threads.submit(pool.lease, key("b"), linear) is not None
        go.set()
        leases = [waiting.result(10) for waiting in (first, *others)]
    assert loads == [1]
    assert len({id(lease.network) for lease in leases}) == 1
    assert next(r for r in pool.report() if r.part == "a").leases == 8


def test_after_a_load_that_failed_the_next_asker_tries_again() -> None:
    pool, loading, go = NetworkPool(LARGE), threading.Event(), threading.Event()

    def fail() -> Any:
        loading.set()
        assert go.wait(10)
        raise WeightsMismatch("damaged")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.lease, key("a"), fail)
        assert loading.wait(10)
        second = threads.submit(pool.lease, key("a"), linear)
        go.set()
        with pytest.raises(WeightsMismatch, match="damaged"):
            first.result(10)
        assert second.result(10).network.in_features == 4
    assert [(r.leases, r.loads) for r in pool.report()] == [(1, 1)]


def test_leases_from_many_threads_add_up_to_nothing_in_the_end() -> None:
    pool = NetworkPool(80)

    def ask(seed: int) -> None:
        for part in np.random.default_rng(seed).choice(list("abc"), 200):
            with pool.lease(key(part), linear) as network:
                assert network.in_features == 4

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
    assert [r.leases for r in pool.report()] == [0]
    assert pool.resident_bytes() == 80


def test_devices_have_budgets_of_their_own() -> None:
    pool = NetworkPool(80)
    for device in ("cpu", "cuda:0"):
        pool.lease(NetworkKey(("0" * 64,), "a", device), linear).close()
    assert [r.device for r in pool.report()] == ["cpu", "cuda:0"]
    assert (pool.resident_bytes("cpu"), pool.drop_unleased("cuda:0")) == (80, 80)
    assert [r.device for r in pool.report()] == ["cpu"]


def test_the_budget_is_a_size_in_the_environment_or_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = NetworkPool()
    monkeypatch.setattr(resident, "main_memory", lambda: (1, 1000))
    monkeypatch.delenv(BUDGET_VARIABLE, raising=False)
    assert pool.budget("cpu") == 500
    monkeypatch.setenv(BUDGET_VARIABLE, "2GB")
    assert pool.budget("cpu") == 2_000_000_000
    monkeypatch.setenv(BUDGET_VARIABLE, "much")
    with pytest.raises(InvalidOption, match="'much' is not a size"):
        pool.lease(key("a"), linear)
    assert pool.report() == []


def test_bytes_are_those_of_every_tensor_once() -> None:
    class Packed(torch.nn.Linear):  # type: ignore[name-defined, misc]
        """A weight in oneDNN's own layout, which is neither parameter nor buffer."""

        def __init__(self) -> None:
            super().__init__(32, 16, bias=False)
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), 8)
            self.weight = torch.nn.Parameter(torch.empty(0, 32))

    class Voice:
        def __init__(self, network: Any, again: Any) -> None:
            self.parts = {"network": network, "again": again}
            self.table = torch.zeros(10, dtype=torch.float16)

    norm = torch.nn.BatchNorm1d(4)  # 4 * 4 numbers of float32, one of int64
    pool = NetworkPool(LARGE)
    pool.lease(key("a"), lambda: (Voice(norm, norm), [Packed()]))
    pool.lease(key("b"), lambda: object(), lambda _: 1234)
    assert [r.bytes for r in pool.report()] == [72 + 20 + 4 * 32 * 16, 1234]


def test_a_lease_of_ones_own_needs_no_pool() -> None:
    with Lease("network") as network:
        assert network == "network"


def test_asking_for_the_owner_imports_no_torch() -> None:
    program = (
        "import sys, personare.weights.resident as r; r.report(); r.budget('cpu');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- the engines


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of an hour ago, whose digests are therefore remembered."""
    folder = tmp_path_factory.mktemp("weights")
    for path in (
        *write_checkpoints("float", "tiny", folder, only=FLOAT),
        *write_checkpoints("musetalk", "tiny", folder, only=MUSETALK),
    ):
        os.utime(path, (time.time() - 3600,) * 2)
    return folder


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
    for name in FLOAT:
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
    for name in MUSETALK:
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
