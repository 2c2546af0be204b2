"""Files that are no weights: each gets one clear sentence."""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from personare.errors import WeightsMismatch, WeightsMissing
from personare.weights.formats import sniff
from personare.weights.loading import read_state
from tests.conftest import Ended, error_lines

pytestmark = pytest.mark.neural


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><head><title>404</title>", "is a web page, not weights"),
        (b"\n  <html>\n<body>Google Drive - Virus scan warning", "is a web page, not weights"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "is a web page, not weights"),
        (b'{"error":"Repository not found"}', "is a server's error message"),
        (b"Entry not found", "is a server's error message"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3400074924\n",
            "is a git-lfs pointer",
        ),
        (bytes(4096), "begins with zeros"),
        (b"GGUF\x03\x00\x00\x00", "is a GGUF file"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"cos\nsystem\n(S'echo'\ntR.", "no checkpoint that personare can read"),
        (b"\xff\xd8\xff\xe0 a picture", "no checkpoint that personare can read"),
        (struct.pack("<Q", 10_000) + b'{"a":', "is truncated"),
        (struct.pack("<Q", 20) + b'{"a": not json at al', "is damaged or truncated"),
        (b"PK\x03\x04 and no more", "is damaged or truncated"),
        (b"\x80\x02}q\x00(X", "is damaged or truncated"),
        (b"\x80\x04.", "is damaged or truncated"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "unet.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsMismatch) as caught:
        read_state(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 4


def test_other_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsMismatch, match="zip archive without a checkpoint"):
        read_state(tmp_path / "plain.zip")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02N.")
        archive.writestr("net/constants.pkl", b"\x80\x02N.")
    with pytest.raises(WeightsMismatch, match="TorchScript"):
        read_state(tmp_path / "script.pt")


@pytest.mark.parametrize("kind", ["zip", "stream", "safetensors"])
@pytest.mark.parametrize("kept", [0.99, 0.5, 0.05])
def test_truncated_files(tmp_path: Path, kind: str, kept: float) -> None:
    state = {"a": torch.ones(300), "b": torch.ones(5, 5)}
    path = tmp_path / "net"
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsMismatch, match="truncated"):
        read_state(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(WeightsMissing, match="cannot read"):
            sniff(path)


def test_without_torch_the_command_that_installs_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "net.pth").write_bytes(b"\x80\x02}.")
    with pytest.raises(WeightsMissing, match="needs torch") as caught:
        read_state(tmp_path / "net.pth")
    assert "personare[neural]" in caught.value.hint


def test_without_the_hubs_client_everything_but_pulling_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Ended]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("PERSONARE_WEIGHTS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("torch", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "float.pth").write_bytes(b"\x80\x02}.")
    assert cli("weights", "list").code == 0
    assert cli("weights", "where", "float", "--weights", tmp_path).out.strip() == str(tmp_path / "float.pth")
    assert cli("weights", "verify", "float", "--weights", tmp_path).code == 0
    missing = cli("weights", "pull", "dwpose")
    assert missing.code == 4
    error, hint = (line for line in missing.err.splitlines() if line.startswith(("error", "hint")))
    assert "huggingface_hub" in error
    assert "personare[neural]" in hint
    asked = cli("weights", "where", "dwpose")
    assert asked.code == 4
    assert error_lines(asked)[1] == "personare weights pull dwpose"
