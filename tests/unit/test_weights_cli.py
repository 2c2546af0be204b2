"""`personare weights` as people and scripts use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Ended, error_lines
from tests.unit.fake_hub import FakeHub, running_hub

pytestmark = pytest.mark.slow

CONFIG, WEIGHTS = b"{}", b"\x80\x02}."
EMOTION = "wav2vec-english-speech-emotion-recognition"
Cli = Callable[..., Ended]


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    import huggingface_hub

    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        for name in ("PERSONARE_WEIGHTS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        running.add("yuvraj108c/float/float.pth", WEIGHTS)
        running.add("facebook/wav2vec2-base-960h/pytorch_model.bin", WEIGHTS)
        running.add("facebook/wav2vec2-base-960h/config.json", CONFIG, is_large=False)
        for name, content, is_large in (("pytorch_model.bin", WEIGHTS, True), ("config.json", CONFIG, False)):
            running.add(f"r-f/{EMOTION}/{name}", content, is_large=is_large)
        yield running
        huggingface_hub.close_session()


def test_list_names_everything(cli: Cli) -> None:
    table = cli("weights", "list").out
    for name in ("musetalk-unet-v15", "whisper-tiny-openai", "wav2vec2-emotion"):
        assert name in table
    entries = {
        entry["name"]: entry
        for entry in cli("weights", "list", "--engine", "float", "--json").json["weights"]
    }
    assert set(entries) == {"float", "wav2vec2-base-960h", "wav2vec2-emotion", "s3fd"}
    assert entries["float"]["here"] is False
    assert entries["float"]["needed_by"] == {"float": "always"}
    assert "non-commercial" in entries["float"]["licence"]


def test_pull_list_where_verify(cli: Cli, tmp_path: Path) -> None:
    pulled = cli("weights", "pull", "float")
    assert pulled.code == 0
    assert "licence: non-commercial" in pulled.err
    where = cli("weights", "where", "float")
    path = Path(where.out.strip())
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(tmp_path / "hub")
    assert pulled.out == f"float: {path}\n"
    assert cli("weights", "pull", "float").out == f"float: already at {path}\n"
    assert cli("weights", "where", "float", "--json").json["path"] == str(path)
    verified = cli("weights", "verify", "--json").json
    assert verified["well"] is True
    assert [(file["component"], file["state"]) for file in verified["files"]] == [("float", "plausible")]


def test_pull_for_an_engine_takes_the_alternative_that_is_there(cli: Cli, tmp_path: Path) -> None:
    ended = cli("weights", "pull", "--engine", "float", "--to", tmp_path / "w", "--json")
    assert ended.err == ""
    assert ended.json == {
        "weights": [
            {"name": "float", "path": str(tmp_path / "w" / "float" / "float.pth"), "fetched": True},
            {
                "name": "wav2vec2-base-960h",
                "path": str(tmp_path / "w" / "wav2vec2-base-960h"),
                "fetched": True,
            },
            {"name": "wav2vec2-emotion", "path": str(tmp_path / "w" / EMOTION), "fetched": True},
        ]
    }
    assert (tmp_path / "w" / "wav2vec2-base-960h" / "pytorch_model.bin").read_bytes() == WEIGHTS
    again = cli("weights", "pull", "--engine", "float", "--to", tmp_path / "w", "--json").json["weights"]
    assert [entry["fetched"] for entry in again] == [False, False, False]


def test_damage_is_found_and_repaired(cli: Cli) -> None:
    cli("weights", "pull", "float")
    path = Path(cli("weights", "where", "float").out.strip())
    path.resolve().write_bytes(b"\x80\x02].")
    found = cli("weights", "verify", "float")
    assert found.code == 4
    error, hint = error_lines(found)
    assert "it is damaged" in error
    assert "personare weights pull float --repair" in hint
    assert cli("weights", "verify", "float", "--json").code == 4
    assert cli("weights", "pull", "float", "--repair").code == 0
    assert path.read_bytes() == WEIGHTS
    assert cli("weights", "verify", "float").code == 0


def test_wrong_files_in_a_folder_are_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "79999_iter.pth").write_bytes(b"<!DOCTYPE html>")
    error, _ = error_lines(cli("weights", "verify", "face-parse-bisent", "--weights", tmp_path / "w"))
    assert "is a web page" in error
    (tmp_path / "w" / "79999_iter.pth").write_bytes(WEIGHTS)
    error, _ = error_lines(cli("weights", "verify", "face-parse-bisent", "--weights", tmp_path / "w"))
    assert "is truncated: 4 of 53289463 bytes" in error


def test_what_has_to_be_fetched_by_hand_says_from_where_and_to_where(cli: Cli, tmp_path: Path) -> None:
    ended = cli("weights", "pull", "float", "s3fd", "--to", tmp_path / "w")
    assert ended.code == 4
    assert (tmp_path / "w" / "float" / "float.pth").is_file()
    hint = ended.err.splitlines()[-1]
    assert hint == (
        "hint: fetch https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth"
        f" and put it at {tmp_path / 'w' / 's3fd' / 's3fd-619a316812.pth'}"
    )
    failed = cli("weights", "pull", "s3fd", "--json")
    assert failed.json["kind"] == "WeightsMissing"


def test_mistakes(cli: Cli) -> None:
    assert error_lines(cli("weights", "pull"))[0] == "nothing was named to pull"
    assert "musetalk-unet-v15" in error_lines(cli("weights", "where", "unet"))[1]
    assert (
        error_lines(cli("weights", "list", "--engine", "puppet"))[0]
        == "no engine named 'puppet' uses weights"
    )
    missing = cli("weights", "verify", "dwpose")
    assert missing.code == 4
    assert "407 MB, licence: Apache-2.0" in error_lines(missing)[0]
