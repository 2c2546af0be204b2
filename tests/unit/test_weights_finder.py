"""Where checkpoints are looked for, and what is said when they are not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from personare.errors import UnknownName, WeightsMissing
from personare.weights import digests
from personare.weights.finder import Weights
from personare.weights.places import hub_cache, is_offline


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights but those of the test."""
    monkeypatch.delenv("PERSONARE_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_in_hub(
    cache: Path, repo: str, path: str, content: bytes, commit: str = "a" * 40, revision: str | None = "main"
) -> Path:
    """A file as huggingface_hub keeps it."""
    root = cache / f"models--{repo.replace('/', '--')}"
    blob = put(root / "blobs" / hashlib.sha256(content).hexdigest(), content)
    link = root / "snapshots" / commit / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    if revision:
        put(root / "refs" / revision, commit.encode())
    return link


MUSETALK_LAYOUT = {
    "musetalk-unet-v15": (["musetalkV15/unet.pth", "musetalkV15/musetalk.json"], "musetalkV15/unet.pth"),
    "musetalk-unet-v1": (
        ["musetalk/pytorch_model.bin", "musetalk/musetalk.json"],
        "musetalk/pytorch_model.bin",
    ),
    "sd-vae-ft-mse": (["sd-vae/config.json", "sd-vae/diffusion_pytorch_model.bin"], "sd-vae"),
    "whisper-tiny": (["whisper/config.json", "whisper/pytorch_model.bin"], "whisper"),
    "whisper-tiny-openai": (["whisper/tiny.pt"], "whisper/tiny.pt"),
    "dwpose": (["dwpose/dw-ll_ucoco_384.pth"], "dwpose/dw-ll_ucoco_384.pth"),
    "face-parse-bisent": (["face-parse-bisent/79999_iter.pth"], "face-parse-bisent/79999_iter.pth"),
    "s3fd": (["s3fd-619a316812.pth"], "s3fd-619a316812.pth"),
    "float": (["float.pth"], "float.pth"),
    "wav2vec2-base-960h": (
        ["wav2vec2-base-960h/config.json", "wav2vec2-base-960h/model.safetensors"],
        "wav2vec2-base-960h",
    ),
}


@pytest.mark.parametrize("name", MUSETALK_LAYOUT)
@pytest.mark.parametrize("below", ["", "models"])
def test_the_layout_that_people_have(tmp_path: Path, name: str, below: str) -> None:
    files, expected = MUSETALK_LAYOUT[name]
    assert Weights(tmp_path).find(name) is None
    for file in files:
        assert Weights(tmp_path).find(name) is None
        put(tmp_path / below / file)
    assert Weights(tmp_path).find(name) == tmp_path / below / expected


def test_a_file_without_its_configuration_is_not_enough(tmp_path: Path) -> None:
    put(tmp_path / "musetalkV15" / "unet.pth")
    assert Weights(tmp_path).find("musetalk-unet-v15") is None
    put(tmp_path / "models" / "musetalkV15" / "musetalk.json")  # in another folder: two halves are no whole
    assert Weights(tmp_path).find("musetalk-unet-v15") is None


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    for file in ("config.json", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"):
        put(tmp_path / "sd-vae-ft-mse" / file)
    located = Weights(tmp_path).locate("sd-vae-ft-mse")
    assert located
    assert located.file("weights").name == "diffusion_pytorch_model.safetensors"


def test_the_order_of_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = put_in_hub(tmp_path / "hub", "yuvraj108c/float", "float.pth", b"hub")
    assert Weights().find("float") == hub
    first, second = put(tmp_path / "one" / "float.pth"), put(tmp_path / "two" / "float" / "float.pth")
    monkeypatch.setenv("PERSONARE_WEIGHTS", os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "one")]))
    assert Weights().find("float") == first
    assert Weights(tmp_path / "two").find("float") == second


def test_the_hubs_cache_with_several_snapshots(tmp_path: Path) -> None:
    repo, cache = "TMElyralab/MuseTalk", tmp_path / "hub"
    put_in_hub(cache, repo, "musetalkV15/unet.pth", b"new", commit="b" * 40)
    assert Weights().find("musetalk-unet-v15") is None
    old = put_in_hub(cache, repo, "musetalkV15/unet.pth", b"old", commit="c" * 40, revision=None)
    put_in_hub(cache, repo, "musetalkV15/musetalk.json", b"{}", commit="c" * 40, revision=None)
    assert Weights().find("musetalk-unet-v15") == old  # the newest snapshot lacks the configuration
    put_in_hub(cache, repo, "musetalkV15/musetalk.json", b"{}", commit="b" * 40)
    found = Weights().find("musetalk-unet-v15")
    assert found
    assert found.read_bytes() == b"new"


def test_a_link_into_nothing_is_not_there(tmp_path: Path) -> None:
    link = put_in_hub(tmp_path / "hub", "yuvraj108c/float", "float.pth", b"hub")
    link.resolve().unlink()
    assert Weights().find("float") is None


def test_the_rules_of_the_hubs_own_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert hub_cache() == Path.home() / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub_cache() == tmp_path / "xdg" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert hub_cache() == tmp_path / "home" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", "~/there")
    assert hub_cache() == Path.home() / "there"


@pytest.mark.parametrize(
    ("setting", "expected"), [("1", True), ("true", True), ("YES", True), ("0", False), ("", False)]
)
def test_offline(monkeypatch: pytest.MonkeyPatch, setting: str, expected: bool) -> None:
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", setting)
    assert is_offline() is expected


def test_what_is_missing_is_said_with_size_licence_and_one_command(tmp_path: Path) -> None:
    put(tmp_path / "float.pth")
    weights = Weights(tmp_path)
    assert [entry.name for entry in weights.missing("float", "dwpose", "s3fd")] == ["dwpose", "s3fd"]
    with pytest.raises(WeightsMissing) as caught:
        weights.require("float", "musetalk-unet-v15", "sd-vae-ft-mse", "s3fd")
    message, hint = caught.value.message, caught.value.hint
    assert "float.pth" not in message
    assert "musetalk-unet-v15 (musetalkV15/unet.pth, 3.4 GB, licence: MIT" in message
    assert "sd-vae-ft-mse (sd-vae, about 335 MB, licence: MIT)" in message
    assert hint.startswith("personare weights pull musetalk-unet-v15 sd-vae-ft-mse; fetch https://")
    assert hint.endswith(str(tmp_path / "s3fd" / "s3fd-619a316812.pth"))
    assert "\n" not in message + hint
    assert caught.value.exit_code == 4
    assert weights.require("float") == {"float": tmp_path / "float.pth"}


def test_an_unknown_name_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        Weights(tmp_path).find("nothing")


# ---------------------------------------------------------------- digests


def old(path: Path) -> Path:
    """A file that was last written long ago."""
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


def test_the_digest_of_one_file_and_of_several(tmp_path: Path) -> None:
    put(tmp_path / "float.pth", b"content")
    assert Weights(tmp_path).sha256("float") == hashlib.sha256(b"content").hexdigest()
    put(tmp_path / "musetalkV15" / "unet.pth", b"u")
    put(tmp_path / "musetalkV15" / "musetalk.json", b"{}")
    lines = (
        f"{hashlib.sha256(b'{}').hexdigest()}  musetalk.json\n{hashlib.sha256(b'u').hexdigest()}  unet.pth\n"
    )
    before = Weights(tmp_path).sha256("musetalk-unet-v15")
    assert before == hashlib.sha256(lines.encode()).hexdigest()
    put(tmp_path / "musetalkV15" / "musetalk.json", b'{"a": 1}')
    assert Weights(tmp_path).sha256("musetalk-unet-v15") != before
    with pytest.raises(WeightsMissing):
        Weights(tmp_path).sha256("dwpose")


def test_a_file_is_read_once_while_it_stays_the_same(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old(put(tmp_path / "float.pth", b"first"))
    first = Weights(tmp_path).sha256("float")
    assert (home / "weights-digests.json").is_file()
    with monkeypatch.context() as patched:
        patched.setattr(digests, "file_sha256", lambda *_: pytest.fail("read again"))
        assert Weights(tmp_path).sha256("float") == first
    old(put(path, b"other"))  # same size, same time of modification
    assert Weights(tmp_path).sha256("float") == hashlib.sha256(b"other").hexdigest()


def test_a_young_file_is_not_trusted(tmp_path: Path, home: Path) -> None:
    put(tmp_path / "float.pth", b"first")
    Weights(tmp_path).sha256("float")
    assert not (home / "weights-digests.json").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"x": 1}', b"\xff\xfe"])
def test_a_damaged_memo_is_forgotten(tmp_path: Path, home: Path, damage: bytes) -> None:
    old(put(tmp_path / "float.pth", b"content"))
    put(home / "weights-digests.json", damage)
    for _ in range(2):
        assert Weights(tmp_path).sha256("float") == hashlib.sha256(b"content").hexdigest()


def test_a_home_that_cannot_be_written_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(put(tmp_path / "float.pth", b"content"))
    monkeypatch.setenv("PERSONARE_HOME", str(put(tmp_path / "a-file") / "below"))
    assert Weights(tmp_path).sha256("float") == hashlib.sha256(b"content").hexdigest()


def test_the_hubs_own_digest_is_taken_from_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_hub(tmp_path / "hub", "yuvraj108c/float", "float.pth", b"hub")
    monkeypatch.setattr(digests, "file_sha256", lambda *_: pytest.fail("read"))
    assert Weights().sha256("float") == hashlib.sha256(b"hub").hexdigest()
