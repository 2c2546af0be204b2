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
import torch

from personare.errors import WeightsMismatch
from personare.weights.loading import read_checkpoint, read_state

pytestmark = pytest.mark.neural


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


def zipped(path: Path, program: bytes, *more: tuple[str, bytes, int]) -> Path:
    """A checkpoint in torch's zip form. more: (name, content, how it is packed)."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program)
        for name, content, packing in more:
            archive.writestr(f"x/{name}", content, packing)
    return path


def calls(name: str, argument: bytes) -> bytes:
    """A pickle that calls builtins.NAME with what a piece of pickle leaves on the stack."""
    return b"\x80\x02cbuiltins\n" + name.encode() + b"\n" + argument + b"\x85R."


def test_a_zip_is_never_shown_to_what_builds_what_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "load", None)
    eight_gigabytes = calls("bytearray", b"\x8a\x05" + (8 << 30).to_bytes(5, "little"))
    refused(zipped(tmp_path / "bomb.pth", eight_gigabytes), "makes bytes of a int")
    torch.save({"a": torch.arange(3.0)}, tmp_path / "good.pth")
    assert read_state(tmp_path / "good.pth")["a"].tolist() == [0, 1, 2]


PACKED = zipfile.ZIP_DEFLATED
STORED = zipfile.ZIP_STORED


@pytest.mark.parametrize("name", ["byteorder", "version", "data/0", ".data/serialization_id"])
def test_nothing_in_a_zip_is_unpacked(tmp_path: Path, name: str) -> None:
    program = _tensor_pickle((4,), (1,), 0)
    storage = () if name == "data/0" else (("data/0", bytes(16), STORED),)
    path = zipped(tmp_path / "bad.pth", program, *storage, (name, bytes(1 << 20), PACKED))
    refused(path, "is compressed or encrypted")


def test_the_program_of_a_zip_is_not_unpacked_and_not_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "packed.pth", "w", PACKED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}." + bytes(1 << 20))
    refused(tmp_path / "packed.pth", "is compressed")
    monkeypatch.setattr("personare.weights.pickled._MAX_ZIPPED_PICKLE", 1000)
    refused(zipped(tmp_path / "long.pth", b"\x80\x02}." + bytes(1001)), "describes itself in more than")


def test_a_storage_of_wider_numbers_does_not_reach_into_the_next(tmp_path: Path) -> None:
    program = _tensor_pickle((4,), (1,), 0).replace(b"FloatStorage", b"DoubleStorage")
    path = zipped(tmp_path / "bad.pth", program, ("data/0", bytes(16), STORED), ("data/1", bytes(16), STORED))
    refused(path, "a storage of another size than it says")


def test_members_of_a_zip_may_not_share_their_bytes(tmp_path: Path) -> None:
    """A directory can name the same bytes any number of times."""
    zipped(tmp_path / "good.pth", _tensor_pickle((4,), (1,), 0), ("data/0", bytes(1000), STORED))
    data = bytearray((tmp_path / "good.pth").read_bytes())
    second = data.rindex(b"PK\x01\x02")
    entry = data[second : data.index(b"PK\x05\x06", second)]
    end = data[second + len(entry) :]
    forged = data[:second] + entry + entry.replace(b"data/0", b"data/1") + end
    counts = len(forged) - 22
    forged[counts + 8 : counts + 16] = struct.pack("<HHI", 3, 3, 0)
    directory = data.index(b"PK\x01\x02")
    forged[counts + 12 : counts + 16] = struct.pack("<I", counts - directory)
    (tmp_path / "bad.pth").write_bytes(forged)
    refused(tmp_path / "bad.pth", "overlap")


def test_a_zip_whose_directory_is_all_of_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personare.weights.zip_directory._LARGEST_DIRECTORY", 10_000)
    path = zipped(tmp_path / "bad.pth", b"\x80\x02}.", *((f"{n:0>50}", b"", STORED) for n in range(200)))
    refused(path, "a directory larger than")


def repeated(operation: bytes, times: int, value: bytes) -> bytes:
    """A value is made and kept as number 0; then an operation on it, again and again."""
    return b"\x80\x04" + value + b"\x94" + operation * times + b"."


LIST = b"](" + b"K\x01" * 60_000 + b"e"
BYTES = b"B" + struct.pack("<I", 60_000) + bytes(60_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [("list", LIST), ("tuple", LIST), ("set", LIST), ("bytearray", BYTES)],
)
def test_copies_of_copies_are_counted(tmp_path: Path, name: str, value: bytes) -> None:
    again = b"cbuiltins\n" + name.encode() + b"\nh\x00\x85R0"
    (tmp_path / "bad.pkl").write_bytes(repeated(again, 20_000, value))
    refused(tmp_path / "bad.pkl", "again and again")


def test_records_of_the_same_long_arguments_are_counted(tmp_path: Path) -> None:
    arguments = b"(" + b"K\x01" * 60_000 + b"t"
    program = b"\x80\x04" + arguments + b"\x940](" + b"ca\nB\nh\x00R" * 5000 + b"e."
    (tmp_path / "bad.pkl").write_bytes(program)
    refused(tmp_path / "bad.pkl", "again and again")


def test_nested_files_share_one_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("personare.weights.pickle_limits.MAX_OPERATIONS", 50_000)
    inner = b"\x80\x02" + b"N0" * 2000 + b"N."
    kept = b"B" + struct.pack("<I", len(inner)) + inner
    again = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R0"
    (tmp_path / "bad.pkl").write_bytes(repeated(again, 1000, kept))
    refused(tmp_path / "bad.pkl", "more than 50000 operations")


def test_keys_that_collide_are_refused(tmp_path: Path) -> None:
    """All have the hash 0; a dictionary of n of them takes n^2 steps."""
    modulus = (1 << 61) - 1
    keys = b"".join(b"\x8a\x0a" + (n * modulus).to_bytes(10, "little") + b"N" for n in range(1, 1000))
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x02}(" + keys + b"u.")
    refused(tmp_path / "bad.pkl", "huge number as a key")
    pairs = b"".join(b"M" + struct.pack("<H", n) + b"K\x01\x86N" for n in range(5000))
    (tmp_path / "pairs.pkl").write_bytes(b"\x80\x02}(" + pairs + b"u.")
    refused(tmp_path / "pairs.pkl", "too many tuples")


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
