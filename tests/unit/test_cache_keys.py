"""Keys: the same inputs always give the same key, different inputs never do."""

from __future__ import annotations

import json
import math
import os
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from personare.cache.index import Index, Surroundings
from personare.cache.keys import canonical_json, file_digest, file_stamp, stage_key
from personare.errors import UnreadableMedia

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def typed(value):
    """The value with its kind of scalar, so that == tells 1 from True but not 1 from 1.0."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return isinstance(value, bool), value


@given(json_values, json_values)
def test_texts_are_equal_just_when_values_are(a, b):
    assert (canonical_json(a) == canonical_json(b)) == (typed(a) == typed(b))


@given(json_values)
def test_text_reads_back_as_the_value(value):
    text = canonical_json(value)
    assert typed(json.loads(text)) == typed(value)
    assert text.isascii()
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=6), st.randoms())
def test_order_of_names_does_not_count(value, random):
    names = list(value)
    random.shuffle(names)
    assert canonical_json({name: value[name] for name in names}) == canonical_json(value)


@given(st.integers(-(2**53), 2**53))
def test_a_float_without_fraction_is_the_integer(number):
    assert canonical_json(float(number)) == canonical_json(number) == str(number)


def test_how_numbers_are_written():
    assert canonical_json([0.1, -0.0, 1e22, 2.5e-7]) == "[0.1,0,10000000000000000000000,2.5e-07]"
    assert canonical_json(Fraction(30000, 1001)) == '"30000/1001"'
    assert canonical_json(Fraction(50, 2)) == canonical_json("25")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="not a JSON number"):
        canonical_json({"x": [value]})


@pytest.mark.parametrize("value", [{1: 2}, {1, 2}, Path("x"), np.float32(1), np.int64(1), b"x", object()])
def test_what_is_not_json_is_refused(value):
    with pytest.raises(TypeError):
        canonical_json({"x": value})


BASE = {
    "name": "toy.face",
    "version": 1,
    "parameters": {"size": 512, "seed": 0},
    "needs": {"toy.load": "a" * 64},
    "sources": {"portrait": "b" * 64},
    "weights": ("c" * 64, "d" * 64),
    "numeric_format": "float32",
}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "toy.faces"},
        {"version": 2},
        {"parameters": {"size": 513, "seed": 0}},
        {"parameters": {"size": 512}},
        {"parameters": {"size": "512", "seed": 0}},
        {"needs": {"toy.load": "b" * 64}},
        {"needs": {"toy.read": "a" * 64}},
        {"sources": {"portrait": "c" * 64}},
        {"sources": {"portrait": "b" * 64, "guide": "c" * 64}},
        {"sources": {"speech": "b" * 64}},
        {"sources": {}},
        {"weights": ("c" * 64,)},
        {"numeric_format": "float16"},
    ],
)
def test_everything_a_stage_reads_is_in_its_key(change):
    assert stage_key(**{**BASE, **change}) != stage_key(**BASE)


def test_what_does_not_change_a_key():
    same = {**BASE, "parameters": {"seed": 0.0, "size": 512.0}, "weights": ("d" * 64, "c" * 64)}
    assert stage_key(**same) == stage_key(**BASE)


def test_keys_stay_the_same_over_releases():
    """A change here throws away every cache in the world: raise KEY_SCHEMA and this value only
    on purpose.
    """
    assert stage_key(**BASE) == "6eefabed423f2f5021da51396a33f13c46f8bcd6b2e412ce1a8014036a1058f8"


# ---------------------------------------------------------------- digests of files


@pytest.fixture
def index(tmp_path):
    made = Index(tmp_path / "index.sqlite3", lambda known, pinned: Surroundings((), ()))
    yield made
    made.close()


def old_file(path: Path, content: bytes) -> Path:
    """A file last written ten seconds ago."""
    path.write_bytes(content)
    written_ns = time.time_ns() - 10 * 10**9
    os.utime(path, ns=(written_ns, written_ns))
    return path


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_digest_is_blake3_of_the_bytes(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert file_digest(path) == blake3(content).hexdigest()


def test_an_unchanged_file_is_not_read_again(tmp_path, index):
    path = old_file(tmp_path / "photo.jpg", b"anna")
    file_digest(path, index)
    index.remember_digest(path, file_stamp(path), "d" * 64)
    assert file_digest(path, index) == "d" * 64


def test_a_young_file_is_always_read(tmp_path, index):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"anna")
    assert file_digest(path, index) == blake3(b"anna").hexdigest()
    assert index.recall_digest(path, file_stamp(path)) is None
    index.remember_digest(path, file_stamp(path), "d" * 64)
    assert file_digest(path, index) == blake3(b"anna").hexdigest()


def test_a_file_with_times_in_the_future_is_always_read(tmp_path, index):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"anna")
    os.utime(path, (time.time() + 1000, time.time() + 1000))
    file_digest(path, index)
    assert index.recall_digest(path, file_stamp(path)) is None


def test_a_changed_file_is_read_again(tmp_path, index):
    path = old_file(tmp_path / "photo.jpg", b"anna")
    before = path.stat()
    file_digest(path, index)

    old_file(path, b"annas")  # another size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_digest(path, index) == blake3(b"annas").hexdigest()

    old_file(path, b"bert!")  # another time
    assert file_digest(path, index) == blake3(b"bert!").hexdigest()

    kept = path.stat()
    old_file(tmp_path / "other.jpg", b"carla").replace(path)  # another inode
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert file_digest(path, index) == blake3(b"carla").hexdigest()

    path.write_bytes(
        b"dora!"
    )  # same size, inode and time: only the time of change, which nobody can set, tells
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert file_digest(path, index) == blake3(b"dora!").hexdigest()


def test_digests_remembered_are_bounded(tmp_path, index):
    path = old_file(tmp_path / "photo.jpg", b"anna")
    stamp = file_stamp(path)
    for i in range(5000):
        index.remember_digest(tmp_path / str(i), stamp, "e" * 64)
    assert index.recall_digest(tmp_path / "0", stamp) is None
    assert index.recall_digest(tmp_path / "4999", stamp) == "e" * 64


def test_names_of_files_need_not_be_text(tmp_path, index):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    old_file(path, b"anna")
    assert file_digest(path, index) == file_digest(path, index) == blake3(b"anna").hexdigest()


def test_unreadable_portraits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [
        (tmp_path / "none.jpg", "No such file"),
        (tmp_path, "folder"),
        (tmp_path / "pipe", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (Path("a\0b"), "null"),
        (Path("x" * 5000), "too long"),
    ]:
        with pytest.raises(UnreadableMedia, match=reason) as failure:
            file_digest(path)
        assert failure.value.hint
