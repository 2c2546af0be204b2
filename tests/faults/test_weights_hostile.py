"""Pickles that want something done. None of it is done; each is refused in one sentence."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from personare.errors import WeightsMismatch
from personare.weights.loading import read_checkpoint, read_state

torch = pytest.importorskip("torch")


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def asks_for(module: str, name: str, *arguments: bytes) -> bytes:
    """A pickle of protocol 4 that calls module.name, which need not exist, with texts."""
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text for text in arguments)
    called = b"".join(b"\x8c" + bytes([len(text)]) + text for text in (module.encode(), name.encode()))
    return b"\x80\x04" + called + b"\x93(" + texts + b"tR."


def refused(path: Path, match: str) -> None:
    with pytest.raises(WeightsMismatch, match=match) as caught:
        read_state(path)
    assert "\n" not in caught.value.message
    assert caught.value.hint


COMMANDS = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
    ("builtins", "exec"), ("builtins", "__import__"), ("builtins", "getattr"), ("builtins", "open"),
    ("__builtin__", "eval"), ("importlib", "import_module"), ("runpy", "run_path"), ("pty", "spawn"),
    ("socket", "socket"), ("operator", "attrgetter"), ("functools", "partial"), ("types", "CodeType"),
    ("types", "FunctionType"), ("marshal", "loads"), ("pickle", "loads"), ("ctypes", "CDLL"),
    ("shutil", "rmtree"), ("webbrowser", "open"), ("code", "interact"), ("pdb", "run"), ("timeit", "timeit"),
    ("pip", "main"), ("os.path", "join"), ("urllib.request", "urlopen"), ("torch", "os.system"),
    ("collections", "namedtuple"), ("torch.nn", "Module.__init__"), ("numpy", "__loader__"),
    ("logging", "os.system"), ("copyreg", "add_extension"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), COMMANDS)
def test_commands_are_refused(tmp_path: Path, module: str, name: str) -> None:
    (tmp_path / "bad.pth").write_bytes(asks_for(module, name, b"echo"))
    refused(tmp_path / "bad.pth", r"refused: it asks for .* no place in a checkpoint")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_real_exploit_does_not_run_in_any_format(tmp_path: Path, protocol: int) -> None:
    import os

    mark = tmp_path / "ran"
    exploit = {
        "state_dict": Calls(os.mkdir, str(mark)),
        "w": Calls(eval, f"__import__('os').mkdir({str(mark)!r})"),
    }
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(exploit, protocol=protocol))
    torch.save(exploit, tmp_path / "zip.pth", pickle_protocol=protocol)
    torch.save(
        exploit, tmp_path / "stream.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=False
    )
    for name in ("plain", "zip", "stream"):
        refused(tmp_path / f"{name}.pth", r"it asks for posix\.mkdir")
    assert not mark.exists()
    pickle.loads(pickle.dumps(exploit["state_dict"]))  # noqa: S301 - it is a real one
    assert mark.exists()


def test_the_exploit_that_hides_in_a_nested_file_is_refused(tmp_path: Path) -> None:
    inner = asks_for("os", "system", b"echo")
    data = (
        b"\x80\x04\x8c\x0dtorch.storage\x8c\x10_load_from_bytes\x93B"
        + struct.pack("<I", len(inner))
        + inner
        + b"\x85R."
    )
    (tmp_path / "bad.pkl").write_bytes(data)
    refused(tmp_path / "bad.pkl", r"asks for os\.system")


def test_unknown_functions_are_not_called(tmp_path: Path) -> None:
    import numpy.testing  # noqa: F401 - so that it could be called

    (tmp_path / "odd.pkl").write_bytes(
        asks_for("numpy.testing._private.utils", "runstring", b"raise SystemExit")
    )
    record = read_checkpoint(tmp_path / "odd.pkl")
    assert record.kind == "numpy.testing._private.utils.runstring"
    refused(tmp_path / "odd.pkl", "not the checkpoint of one network")


def test_a_call_of_what_is_no_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x04\x8c\x01a)R.")
    refused(tmp_path / "bad.pkl", "it calls a str")


@pytest.mark.parametrize("target", [b"]", b")", b"K\x01"])
def test_state_of_plain_values_is_refused(tmp_path: Path, target: bytes) -> None:
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x02" + target + b"}b.")
    refused(tmp_path / "bad.pkl", "sets the state of a")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    refused(tmp_path / "bad.pkl", "nested more than")


def test_nesting_through_the_memo_is_refused(tmp_path: Path) -> None:
    links = b"".join(
        b"]r" + struct.pack("<I", n) + b"j" + struct.pack("<I", n - 1) + b"a" for n in range(1, 2000)
    )
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x02]r\x00\x00\x00\x00" + links + b".")
    refused(tmp_path / "bad.pkl", "nested more than")


def test_a_billion_laughs_are_refused(tmp_path: Path) -> None:
    level: Any = ["ha"] * 10
    for _ in range(12):
        level = [level] * 10
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(level))
    assert (tmp_path / "bad.pkl").stat().st_size < 1000
    refused(tmp_path / "bad.pkl", "expands to more objects")


def test_tuples_whose_hash_would_take_for_ever_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x02}K\x01" + b"2\x86" * 60 + b"Ns.")
    refused(tmp_path / "bad.pkl", "uses a tuple as a key")


def test_a_memo_bomb_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.pkl").write_bytes(b"\x80\x02]r\xff\xff\xff\xff.")
    assert read_checkpoint(tmp_path / "bomb.pkl") == []


@pytest.mark.parametrize(
    "claim",
    [
        b"\x8e" + struct.pack("<Q", 1 << 50),
        b"B" + struct.pack("<I", 1 << 31),
        b"\x96" + struct.pack("<Q", 1 << 60),
    ],
)
def test_claimed_sizes_are_not_believed(tmp_path: Path, claim: bytes) -> None:
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x05" + claim + b"abc.")
    refused(tmp_path / "bad.pkl", "damaged or truncated")


def test_cycles_do_not_hang(tmp_path: Path) -> None:
    cycle: list[Any] = []
    cycle.append({"self": cycle})
    (tmp_path / "cycle.pkl").write_bytes(pickle.dumps(cycle))
    read = read_checkpoint(tmp_path / "cycle.pkl")
    assert read[0]["self"] is read


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"w": np.array([1, "a", None], dtype=object)}))
    refused(tmp_path / "bad.pkl", "array of Python objects")


@pytest.mark.parametrize("dtype", [np.dtype([("a", "f4"), ("b", "i8")]), np.dtype("M8[s]")])
def test_arrays_of_other_kinds_are_refused(tmp_path: Path, dtype: np.dtype[Any]) -> None:
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"w": np.zeros(2, dtype)}))
    refused(tmp_path / "bad.pkl", "holds an array of")


def test_an_array_larger_than_its_content_is_refused(tmp_path: Path) -> None:
    data = pickle.dumps(np.arange(300, dtype=np.uint8), protocol=2)
    assert data.count(struct.pack("<BH", ord("M"), 300)) == 1
    (tmp_path / "bad.pkl").write_bytes(
        data.replace(struct.pack("<BH", ord("M"), 300), struct.pack("<BH", ord("M"), 60_000))
    )
    refused(tmp_path / "bad.pkl", "whose size does not fit")


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((10**9,), (0,), 0), ((5,), (1,), 0), ((2,), (3,), 1), ((2,), (1,), 3), ((1 << 40, 1 << 40), (1, 1), 0)],
)
def test_tensors_outside_of_their_storage_are_refused(
    tmp_path: Path, size: Any, stride: Any, offset: int
) -> None:
    """A storage of four numbers, from which more is cut, in torch's zip format."""
    with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
        archive.writestr("x/data.pkl", _tensor_pickle(size, stride, offset))
        archive.writestr("x/data/0", np.arange(4, dtype=np.float32).tobytes())
        archive.writestr("x/version", "3\n")
    with pytest.raises(WeightsMismatch, match=r"claims|impossible|damaged"):
        read_state(tmp_path / "bad.pth")


def _tensor_pickle(size: Any, stride: Any, offset: int) -> bytes:
    """A state dict of one tensor, with a class beside it that torch's own reader does not take."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
        def persistent_id(self, obj: object) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if isinstance(obj, Key) else None

    class Key:
        pass

    buffer = io.BytesIO()
    tensor = Calls(torch._utils._rebuild_tensor_v2, Key(), offset, size, stride, False, None)
    Pickler(buffer, 2).dump({"w": tensor, "other": Path("x")})
    return buffer.getvalue()


def test_a_zip_that_lies_about_its_storages_is_refused(tmp_path: Path) -> None:
    for content, compression in (
        (b"abc", zipfile.ZIP_STORED),
        (bytes(16), zipfile.ZIP_DEFLATED),
        (None, zipfile.ZIP_STORED),
    ):
        with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
            archive.writestr("x/data.pkl", _tensor_pickle((4,), (1,), 0))
            if content is not None:
                archive.writestr("x/data/0", content, compression)
        with pytest.raises(WeightsMismatch):
            read_state(tmp_path / "bad.pth")


def test_any_damage_to_an_old_file_ends_in_one_sentence(tmp_path: Path) -> None:
    """Bytes all over the structure turned over, and lengths cut: an error of ours, or a
    readable file; never another error.
    """
    held = {"state_dict": {"a": torch.arange(3.0)}, "meta": Path("x"), "n": np.arange(2)}
    torch.save(held, tmp_path / "whole.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "whole.pth").read_bytes()
    bad = tmp_path / "bad.pth"
    messages = []
    for position in range(0, len(whole), 3):
        for damaged in (
            whole[:position] + bytes([whole[position] ^ 0x15]) + whole[position + 1 :],
            whole[:position],
        ):
            bad.write_bytes(damaged)
            try:
                read_checkpoint(bad)
            except WeightsMismatch as error:
                messages.append(error.message)
    assert len(messages) > len(whole) // 3
    assert not any("\n" in message for message in messages)
