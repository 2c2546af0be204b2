"""Feature files: what goes in comes out; any other file is refused, whatever it claims."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors import safe_open
from safetensors.numpy import load_file

from personare.cache.feature_file import (
    MAPPED_FROM_BYTES,
    DamagedFeature,
    read_feature,
    storable,
    write_feature,
)
from personare.errors import EngineError
from personare.types import Feature

KEY = "ab" * 32
DTYPES = ["f2", "f4", "f8", "c8", "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">i2"]


def written(path, feature, key=KEY):
    size = write_feature(path, storable(feature, "toy.one"), key, "toy.one")
    assert size == path.stat().st_size
    return path


def read(path, key=KEY, verify=True):
    with path.open("rb") as file:
        feature, stage = read_feature(file, key, verify=verify)
    assert stage == "toy.one"
    return feature


def assert_same(a: Feature, b: Feature):
    assert a.metadata == b.metadata
    assert a.arrays.keys() == b.arrays.keys()
    for name in a.arrays:
        np.testing.assert_array_equal(a.arrays[name], b.arrays[name], strict=True)


any_array = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays(np.dtype(dtype), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=6).filter(lambda name: name != "__metadata__"), any_array, max_size=5),
    st.dictionaries(
        st.text(max_size=4), st.integers() | st.text(max_size=4) | st.lists(st.booleans(), max_size=3)
    ),
)
def test_round_trip(tmp_path_factory, given_arrays, metadata):
    path = tmp_path_factory.mktemp("features") / "x.safetensors"
    feature = Feature(given_arrays, metadata)
    assert_same(read(written(path, feature)), storable(feature, "toy.one"))
    by_library = load_file(path)
    assert by_library.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        np.testing.assert_array_equal(by_library[name], array)
        assert by_library[name].shape == array.shape


def test_the_library_sees_the_metadata(tmp_path):
    path = written(tmp_path / "x", Feature({"x": np.zeros(3)}, {"name": "安娜"}))
    with safe_open(path, "np") as file:
        about = json.loads(file.metadata()["feature"])
    assert about == {"format": 1, "key": KEY, "stage": "toy.one", "metadata": {"name": "安娜"}}


def test_same_feature_same_bytes(tmp_path):
    a = written(tmp_path / "a", Feature({"x": np.arange(3), "y": np.ones(2, np.uint8)}, {"p": 1, "q": 2}))
    b = written(tmp_path / "b", Feature({"y": np.ones(2, np.uint8), "x": np.arange(3)}, {"q": 2, "p": 1}))
    assert a.read_bytes() == b.read_bytes()


def test_large_features_are_mapped_small_ones_read(tmp_path):
    large = Feature({"a": np.zeros(3, np.uint8), "b": np.arange(MAPPED_FROM_BYTES // 4, dtype=np.float32)})
    mapped = read(written(tmp_path / "large", large))
    assert isinstance(mapped.arrays["b"].base, mmap.mmap)
    assert isinstance(read(written(tmp_path / "small", Feature({"b": np.zeros(9)}))).arrays["b"].base, bytes)
    for array in mapped.arrays.values():
        assert array.flags.aligned
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    (tmp_path / "large").unlink()
    assert_same(mapped, storable(large, "toy.one"))  # evicted while in use


def test_many_small_features_do_not_use_up_file_descriptors(tmp_path):
    path = written(tmp_path / "x", Feature({"x": np.zeros(10)}))
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [read(path) for _ in range(200)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(kept) == 200


# ---------------------------------------------------------------- what cannot be kept


@pytest.mark.parametrize(
    "feature",
    [
        Feature({"x": np.array(["text"])}),
        Feature({"x": np.array([object()])}),
        Feature({"x": np.zeros(2, np.complex128)}),
        Feature({"x": np.zeros(2, "datetime64[s]")}),
        Feature({"x": np.zeros((1,) * 40)}),
        Feature({"__metadata__": np.zeros(2)}),
        Feature({}, {"x": float("nan")}),
        Feature({}, {"x": np.float32(1)}),
        Feature({}, {"x": {1, 2}}),
    ],
)
def test_what_a_file_cannot_hold_is_refused(feature):
    with pytest.raises(EngineError, match=r"toy\.one"):
        storable(feature, "toy.one")


def test_too_much_metadata_is_refused(tmp_path):
    with pytest.raises(EngineError, match="metadata"):
        written(tmp_path / "x", Feature({}, {"x": "y" * (1 << 24)}))


def test_storable_does_not_lock_the_array_of_the_stage():
    array = np.zeros(3)
    kept = storable(Feature({"x": array}, {"t": (1, 2)}), "toy.one")
    array[0] = 1
    assert not kept.arrays["x"].flags.writeable
    assert kept.metadata == {"t": [1, 2]}


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "x"
    return written(path, Feature({"x": np.arange(4, dtype=np.int16)}, {"a": 1})).read_bytes()


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path, sound):
    path = tmp_path / "x"
    path.write_bytes(sound)
    read(path)
    damaged = bytearray(sound)
    for bit in range(0, len(sound) * 8, 7):  # in every byte, and every bit of a byte
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedFeature):
            read(path)
        damaged[bit // 8] ^= 1 << bit % 8


def test_every_cut_and_every_addition_is_found(tmp_path, sound):
    path = tmp_path / "x"
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(DamagedFeature):
            read(path)
    path.write_bytes(sound + b"\0")
    with pytest.raises(DamagedFeature):
        read(path)


@pytest.mark.parametrize("size", [0, 300, MAPPED_FROM_BYTES + 5])
@pytest.mark.parametrize("filling", [b"hello ", b"\0", b"\xff", b"{", b"["])
@pytest.mark.parametrize("verify", [True, False])
def test_other_files_are_refused(tmp_path, size, filling, verify):
    (tmp_path / "x").write_bytes((filling * size)[:size])
    with pytest.raises(DamagedFeature):
        read(tmp_path / "x", verify=verify)


def test_a_feature_under_another_key_is_refused(tmp_path, sound):
    (tmp_path / "x").write_bytes(sound)
    with pytest.raises(DamagedFeature, match="another key"):
        read(tmp_path / "x", key="cd" * 32)


# -------------------------------------------------- malice: everything below has a right
# checksum


def sealed(header: bytes, data: bytes, length: int | None = None) -> bytes:
    """A file with this header and a checksum that fits."""
    content = bytearray((len(header) if length is None else length).to_bytes(8, "little") + header + data)
    at = content.find(b'"checksum":"') + len(b'"checksum":"')
    content[at : at + 64] = blake3(bytes(content)).hexdigest().encode()
    return bytes(content)


def header_of(arrays, about=None, **fields) -> bytes:
    about = json.dumps(about or {"format": 1, "key": KEY, "stage": "toy.one", "metadata": {}, **fields})
    return json.dumps(
        {"__metadata__": {"checksum": "0" * 64, "feature": about}, **arrays}, separators=(",", ":")
    ).encode()


def array(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def test_the_seal_of_these_tests_is_right(tmp_path):
    (tmp_path / "x").write_bytes(sealed(header_of(array()), b"\0" * 8))
    np.testing.assert_array_equal(read(tmp_path / "x").arrays["x"], np.zeros(2, np.float32), strict=True)


@pytest.mark.parametrize(
    "arrays_of_header",
    [
        array(dtype="O"),
        array(dtype="BF16", offsets=(0, 4)),
        array(dtype=["F32"]),
        array(shape=(3,)),
        array(shape=(-2,)),
        array(shape=(-1, -2)),
        array(shape=(2.0,)),
        array(shape=(True, 2)),
        array(shape="ab"),
        array(shape=None),
        array(shape=(2**62, 2**62)),
        array(shape=(1,) * 40 + (2,)),
        array(offsets=(0, 4)),
        array(offsets=(4, 12)),
        array(offsets=(-8, 0)),
        array(offsets=(8, 0)),
        array(offsets=(0, 8, 16)),
        array(offsets=(0,)),
        array(offsets={"0": 1, "8": 2}),
        array(shape=(2**40,), offsets=(0, 2**42)),
        {"x": 5},
        {"x": {}},
        {**array(), "y": {"dtype": "F32", "shape": (2,), "data_offsets": (0, 8)}},
        {},
    ],
)
def test_impossible_arrays(tmp_path, arrays_of_header):
    (tmp_path / "x").write_bytes(sealed(header_of(arrays_of_header), b"\0" * 8))
    with pytest.raises(DamagedFeature):
        read(tmp_path / "x")


@pytest.mark.parametrize("shape", [(0, 2**70), (0, 2**62, 2**62), (0, -1)])
def test_impossible_arrays_of_no_bytes(tmp_path, shape):
    (tmp_path / "x").write_bytes(sealed(header_of(array(shape=shape, offsets=(0, 0))), b""))
    with pytest.raises(DamagedFeature, match="shape"):
        read(tmp_path / "x")


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 2},
        {"format": "1"},
        {"stage": 5},
        {"stage": None},
        {"metadata": []},
        {"metadata": "x"},
        {"key": "../../etc/passwd"},
    ],
)
def test_impossible_fields(tmp_path, fields):
    (tmp_path / "x").write_bytes(sealed(header_of(array(), **fields), b"\0" * 8))
    with pytest.raises(DamagedFeature):
        read(tmp_path / "x")


START = b'{"__metadata__":{"checksum":"' + b"0" * 64 + b'"'


@pytest.mark.parametrize(
    "header",
    [
        START,
        START + b"}}",
        START + b',"feature":"' + b"[" * 50000 + b'"}}',
        START + b',"feature":"[]"}}',
        START + b',"feature":5}}',
        START + b',"feature":"{}"},"x":' + b"[" * 50000,
        START + b',"feature":"{}"},"x":' + b"9" * 5000 + b"}",
        START + b',"feature":"\xff\xfe"}}',
    ],
)
def test_impossible_headers(tmp_path, header):
    (tmp_path / "x").write_bytes(sealed(header, b""))
    with pytest.raises(DamagedFeature):
        read(tmp_path / "x")


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**63, 2**64 - 1])
def test_impossible_lengths_of_the_header(tmp_path, length):
    (tmp_path / "x").write_bytes(sealed(header_of(array()), b"\0" * 8, length))
    with pytest.raises(DamagedFeature):
        read(tmp_path / "x")


def test_a_huge_header_is_refused_before_it_is_parsed(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.write((1 << 25).to_bytes(8, "little"))
        file.truncate((1 << 25) + 8)
    with pytest.raises(DamagedFeature, match="longer"):
        read(tmp_path / "x", verify=False)
