"""What kind of file something is, from its first bytes; and clear words about what is no
checkpoint at all.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

from personare.errors import WeightsMismatch, WeightsMissing

Format = Literal["safetensors", "zip", "tar", "pickle"]

FETCH_AGAIN = "delete it and fetch it again (personare weights list shows from where)"
_HEAD_BYTES = 512
_MAX_SAFETENSORS_HEADER = 100_000_000
_OTHERS = {
    b"GGUF": "a GGUF file",
    b"\x89HDF": "an HDF5 file",
    b"\x08\x07": "an ONNX file",
    b"\x08\x08": "an ONNX file",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"%PDF": "a PDF",
}


def sniff(path: Path) -> Format:
    """The format of a checkpoint. Raises WeightsMissing if it cannot be read, WeightsMismatch
    for what is no checkpoint.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise WeightsMissing(
            f"cannot read {path}: {error.strerror}", hint="check the path and its permissions"
        ) from None
    if size == 0:
        raise WeightsMismatch(f"{path} is empty", hint=FETCH_AGAIN)
    _refuse_text(path, head)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[257:262] == b"ustar" or _is_old_tar(head):
        return "tar"
    if _is_safetensors(head, size, path):
        return "safetensors"
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        return "pickle"
    if not any(head):
        raise WeightsMismatch(f"{path} begins with zeros: a transfer that never finished", hint=FETCH_AGAIN)
    kind = next(
        (kind for magic, kind in _OTHERS.items() if head.startswith(magic)),
        "no checkpoint that personare can read",
    )
    raise WeightsMismatch(f"{path} is {kind}; expected safetensors or a torch checkpoint", hint=FETCH_AGAIN)


def _refuse_text(path: Path, head: bytes) -> None:
    """What servers and git give instead of weights."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        raise WeightsMismatch(
            f"{path} is a git-lfs pointer, not the weights themselves",
            hint="run git lfs pull in its repository, or delete it and fetch it with personare weights pull",
        )
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error")):
        raise WeightsMismatch(
            f"{path} is a web page, not weights: the download gave an error page", hint=FETCH_AGAIN
        )
    if text.startswith(
        (
            b'{"error',
            b"{'error",
            b"entry not found",
            b"repository not found",
            b"invalid username",
            b"access to model",
        )
    ):
        raise WeightsMismatch(f"{path} is a server's error message, not weights", hint=FETCH_AGAIN)


def _is_old_tar(head: bytes) -> bool:
    """Tar without a magic word (before POSIX): a name, then octal numbers at fixed places."""
    return (
        len(head) == _HEAD_BYTES
        and head[:1].isalpha()
        and head[100:107].isdigit()
        and head[124:135].strip(b"\0 ").isdigit()
    )


def _is_safetensors(head: bytes, size: int, path: Path) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    (header,) = struct.unpack("<Q", head[:8])
    if header > _MAX_SAFETENSORS_HEADER:
        return False
    if 8 + header > size:
        raise WeightsMismatch(
            f"{path} is truncated: its header alone is longer than the file", hint=FETCH_AGAIN
        )
    return True
