"""Pulls from a hub on this machine: whole, resumed, refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from personare.errors import LicenceNotAccepted, UnwritableOutput, WeightsMismatch, WeightsMissing
from personare.weights import download
from personare.weights.catalogue import Component, read_catalogue
from personare.weights.finder import Weights
from personare.weights.hub import pull
from tests.unit.fake_hub import FakeHub, running_hub

UNET = bytes(range(256)) * 4000
CONFIG = b'{"sample_size": 64}'


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with a network in two files; the cache is empty; waiting takes no time."""
    import huggingface_hub

    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PERSONARE_WEIGHTS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
        running.add("someone/net/v2/unet.pth", UNET)
        running.add("someone/net/v2/net.json", CONFIG, is_large=False)
        yield running
        huggingface_hub.close_session()


def entry(**changes: str) -> Component:
    """The catalogue's entry of that network. changes: of the file of weights."""
    known = {"bytes": str(len(UNET)), **{name: f'"{value}"' for name, value in changes.items()}}
    known_fields = ", ".join(f"{name} = {value}" for name, value in known.items())
    text = f"""
        [net]
        summary = "a network"
        kind = "file"
        licence = "MIT"
        places = ["netV2", "."]
        sources = [{{ repo = "someone/net", folder = "v2" }}]
        by_hand = "https://example.org/net"
        files = [
          {{ role = "weights", name = "unet.pth", {known_fields} }},
          {{ role = "config", name = "net.json" }},
        ]
        needed_by = {{ musetalk = "always" }}
    """
    return read_catalogue(text)["net"]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The finder knows that network."""
    monkeypatch.setattr("personare.weights.finder.component", lambda name: {"net": entry()}[name])


def test_a_pull_enters_the_hub_cache_and_is_found_there_without_the_network(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, int | None]] = []
    located = pull(entry(), progress=lambda *told: seen.append(told))
    assert located.path.read_bytes() == UNET
    assert located.file("config").read_bytes() == CONFIG
    assert located.path.resolve().name == hashlib.sha256(UNET).hexdigest()
    assert ("unet.pth", len(UNET), len(UNET)) in seen
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Weights().find("net") == located.path
    from huggingface_hub import hf_hub_download

    same = hf_hub_download("someone/net", "v2/unet.pth", cache_dir=tmp_path / "hub", local_files_only=True)
    assert Path(same) == located.path


def test_a_pull_into_a_folder_has_the_layout_that_is_found_there(hub: FakeHub, tmp_path: Path) -> None:
    located = pull(entry(), tmp_path / "models")
    assert located.path == tmp_path / "models" / "netV2" / "unet.pth"
    assert sorted(path.name for path in located.folder.iterdir()) == ["net.json", "unet.pth"]
    hub.requests.clear()
    pull(entry(), tmp_path / "models")
    assert hub.ranges == []


def test_a_broken_transfer_goes_on_where_it_broke(hub: FakeHub) -> None:
    hub.files["someone/net/v2/unet.pth"].breaks = [300_000, 100_000]
    assert pull(entry()).path.read_bytes() == UNET
    assert hub.ranges == [None, "bytes=300000-", "bytes=400000-"]


def test_an_interrupted_pull_is_resumed_by_the_next_one(hub: FakeHub, tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    hub.files["someone/net/v2/unet.pth"].breaks = [500_000]
    with pytest.raises(KeyboardInterrupt):
        pull(entry(), progress=interrupt)
    parts = list((tmp_path / "hub").rglob("*.part"))
    assert len(parts) == 1
    assert 0 < (have := parts[0].stat().st_size) < len(UNET)
    assert Weights().find("net") is None
    assert pull(entry()).path.read_bytes() == UNET
    assert f"bytes={have}-" in hub.ranges
    assert not [path for path in (tmp_path / "hub").rglob("*") if ".part" in path.name]


def test_a_server_without_ranges_is_asked_for_all_of_it_again(hub: FakeHub) -> None:
    file = hub.files["someone/net/v2/unet.pth"]
    file.breaks, file.ignores_ranges = [700_000], True
    assert pull(entry()).path.read_bytes() == UNET


def test_a_transfer_that_brings_nothing_ends_with_what_was_fetched_kept(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["someone/net/v2/unet.pth"].breaks = [200_000] + [0] * 20
    with pytest.raises(WeightsMissing, match="cannot be reached") as caught:
        pull(entry())
    assert "kept" in caught.value.hint
    assert len(hub.ranges) == 1 + download.ATTEMPTS
    assert next((tmp_path / "hub").rglob("*.part")).stat().st_size == 200_000


def test_wrong_bytes_are_removed_and_named(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["someone/net/v2/unet.pth"].served = UNET[:-1] + b"\x00"
    with pytest.raises(WeightsMismatch, match=r"sha256 .* removed") as caught:
        pull(entry(), tmp_path / "models")
    assert "again" in caught.value.hint
    assert not (tmp_path / "models" / "netV2" / "unet.pth").exists()
    assert not list((tmp_path / "models").rglob("*.part"))


def test_another_version_on_the_hub_is_refused_before_anything_is_fetched(hub: FakeHub) -> None:
    with pytest.raises(WeightsMismatch, match=r"another unet\.pth"):
        pull(entry(sha256_prefix="0" * 8))
    hub.files["someone/net/v2/unet.pth"].content += b"more"
    with pytest.raises(WeightsMismatch, match=r"another unet\.pth"):
        pull(entry())
    assert hub.ranges == []


def test_a_file_that_the_hub_names_by_no_digest_is_checked_against_the_record(
    hub: FakeHub, tmp_path: Path
) -> None:
    file = hub.files["someone/net/v2/unet.pth"]
    file.is_large = False
    pull(entry(sha256=hashlib.sha256(UNET).hexdigest()))
    with pytest.raises(WeightsMismatch, match="removed"):
        pull(entry(sha256="1" * 64), tmp_path / "models")


def test_a_damaged_blob_is_fetched_anew(hub: FakeHub) -> None:
    located = pull(entry())
    located.path.resolve().write_bytes(UNET[::-1])
    assert pull(entry()).path.read_bytes() == UNET


def test_a_gated_repository_says_where_to_accept_its_terms(hub: FakeHub) -> None:
    hub.gated.add("someone/net")
    with pytest.raises(LicenceNotAccepted, match="accepted its terms") as caught:
        pull(entry())
    assert "huggingface.co/someone/net" in caught.value.hint


def test_what_is_not_on_the_hub_has_its_other_source_named(hub: FakeHub) -> None:
    del hub.files["someone/net/v2/net.json"]
    with pytest.raises(WeightsMissing, match="has not got all of it") as caught:
        pull(entry())
    assert "https://example.org/net" in caught.value.hint
    hub.files.clear()
    with pytest.raises(WeightsMissing, match="no repository someone/net"):
        pull(entry())


def test_a_hub_in_trouble_and_a_hub_that_is_not_there(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.status = 500
    with pytest.raises(WeightsMissing, match="answered 500"):
        pull(entry())
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsMissing, match=r"http://127.0.0.1:9 cannot be reached"):
        pull(entry())


def test_offline_means_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsMissing, match="HF_HUB_OFFLINE"):
        pull(entry())
    assert hub.requests == []


def test_a_full_disk_is_noticed_before_the_transfer(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("personare.weights.hub.shutil.disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(UnwritableOutput, match="are needed"):
        pull(entry())
    assert hub.ranges == []


def test_a_folder_that_cannot_be_written_is_named(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(UnwritableOutput, match=r"cannot write .*unet\.pth"):
        pull(entry(), tmp_path / "models")
