"""Motion between engines and in files."""

from __future__ import annotations

import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from personare.errors import EngineError, InvalidOption, UnreadableMedia, UnwritableOutput
from personare.media.motions import motion_written, read_motion
from personare.motion import (
    ARKIT,
    ARKIT_UNITS,
    FaceState,
    Motion,
    Space,
    motion_of,
    row_of,
    state_of,
)

RNG = np.random.default_rng(3)
FLAME = Space("flame-3", ("a", "b", "c"))


def rows(n: int, width: int = ARKIT.width) -> np.ndarray:
    return RNG.uniform(-1, 1, (n, width)).astype(np.float32)


def test_a_state_and_its_row_are_the_same() -> None:
    state = FaceState(rows(1, len(ARKIT_UNITS))[0], 0.5, (1.5, -2.0, 0.25), (0.125, 0.5), (-0.25, 0.75))
    row = row_of(state)
    assert ARKIT.width == len(row) == 60
    assert row[ARKIT.columns.index("headPitch")] == -2.0
    again = state_of(row)
    assert np.array_equal(again.curves, state.curves)
    assert (again.tongue, again.head, again.shift, again.gaze) == (0.5, state.head, state.shift, state.gaze)
    assert np.array_equal(motion_of([state], Fraction(25)).values, row[None])


def test_a_motion_has_the_width_of_its_space() -> None:
    with pytest.raises(EngineError, match=r"\[n, 60\]"):
        Motion(ARKIT, Fraction(25), rows(2, 52))


def test_resampling_keeps_moments_and_holds_the_end() -> None:
    line = np.arange(6, dtype=np.float32)[:, None].repeat(3, axis=1)
    doubled = Motion(FLAME, Fraction(10), line).resampled(Fraction(20))
    assert doubled.values[:, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5]
    assert doubled.resampled(Fraction(10)).values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(Motion(FLAME, Fraction(30), rows(31, 3)).resampled(Fraction(25))) == 26


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_written_and_read_it_is_the_same_to_the_bit(tmp_path: Path, suffix: str) -> None:
    values = np.clip(rows(5), 0, 1)
    path = tmp_path / f"m{suffix}"
    with motion_written(path, ARKIT, Fraction(30000, 1001)) as sink:
        sink.write(values[:2])
        sink.write(values[2:])
    read = read_motion(path)
    assert (read.space, read.fps) == (ARKIT, Fraction(30000, 1001))
    assert np.array_equal(read.values, values)


def test_a_space_of_its_own_goes_through_npz(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with motion_written(path, FLAME, Fraction(25)) as sink:
        sink.write(rows(4, 3))
    assert read_motion(path).space == FLAME
    with (
        pytest.raises(InvalidOption, match="moves in flame-3"),
        motion_written(tmp_path / "m.json", FLAME, Fraction(25)),
    ):
        pass


def test_files_that_cannot_be(tmp_path: Path) -> None:
    for name, space, error in (
        ("m.txt", ARKIT, UnwritableOutput),
        ("no/m.npz", ARKIT, UnwritableOutput),
        ("m.npz", None, InvalidOption),
    ):
        with pytest.raises(error), motion_written(tmp_path / name, space, Fraction(25)):
            pass


def test_a_block_that_fails_writes_no_file(tmp_path: Path) -> None:
    def fails() -> None:
        with motion_written(tmp_path / "m.npz", ARKIT, Fraction(25)) as sink:
            sink.write(rows(1))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_motion_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    good = {"values": rows(2, 3), "fps": "25", "space": "flame-3", "columns": np.array(FLAME.columns)}
    for change in (
        {"values": np.full((2, 3), np.nan, np.float32)},
        {"values": rows(2, 4)},
        {"fps": "0"},
        {"values": np.array(["a"])},
        {"values": np.array([object()], object)},
    ):
        with path.open("wb") as file:
            np.savez(file, **{**good, **change})
        with pytest.raises(UnreadableMedia):
            read_motion(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UnreadableMedia, match="is no motion"):
        read_motion(path)


@pytest.mark.parametrize(
    "header", [b"{'descr': (\n", b"{'descr': '<f4', 'shape': (9" + b"9" * 30 + b",)}\n", b"[" * 200]
)
def test_an_array_with_a_damaged_header_is_told_in_one_line(tmp_path: Path, header: bytes) -> None:
    """numpy reads it as a piece of Python, and raises what Python's own parsers do."""
    length = len(header).to_bytes(2, "little")
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("values.npy", b"\x93NUMPY\x01\x00" + length + header)
    with pytest.raises(UnreadableMedia, match="is no motion") as caught:
        read_motion(tmp_path / "m.npz")
    assert caught.value.message.isprintable()
