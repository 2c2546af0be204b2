"""Curves as files: what is read is what was written, and what strangers write is checked."""

from __future__ import annotations

import csv
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from personare.errors import UnreadableMedia, UnwritableOutput
from personare.media.motion_files import CurveTrack, curves_written, read_curves
from personare.types import ARKIT_UNITS, FaceState

FPS = Fraction(30000, 1001)


def states(n: int = 40) -> list[FaceState]:
    source = np.random.default_rng(3)
    made = []
    for _ in range(n):
        yaw, pitch, roll, x, y, gx, gy, tongue = (float(v) for v in source.uniform(-0.03, 0.03, 8))
        curves = source.uniform(0, 1, 52).astype(np.float32)
        made.append(FaceState(curves, abs(tongue), (yaw * 100, pitch * 100, roll * 100), (x, y), (gx, gy)))
    return made


def written(path: Path, made: list[FaceState], fps: Fraction = FPS) -> Path:
    with curves_written(path, fps) as sink:
        for state in made:
            sink.write(state)
    return path


def test_what_is_read_is_what_was_written_to_the_bit(tmp_path: Path) -> None:
    made = states()
    track = read_curves(written(tmp_path / "c.json", made))
    assert track.fps == FPS
    assert len(track.states) == len(made)
    for read, given in zip(track.states, made, strict=True):
        assert read.curves.dtype == np.float32
        assert np.array_equal(read.curves, given.curves)
        assert (read.tongue, read.head, read.shift, read.gaze) == (
            given.tongue,
            given.head,
            given.shift,
            given.gaze,
        )


def test_the_file_is_plain_json_that_names_its_columns(tmp_path: Path) -> None:
    read = json.loads(written(tmp_path / "c.json", states(2)).read_text())
    assert (read["format"], read["fps"], read["names"]) == (
        "personare-curves",
        "30000/1001",
        list(ARKIT_UNITS),
    )
    assert len(read["frames"]) == 2


def test_a_live_link_table(tmp_path: Path) -> None:
    state = FaceState(np.zeros(52, np.float32), 0.0, (10.0, -5.0, 2.0), (0.0, 0.0), (0.02, 0.01))
    state.curves[ARKIT_UNITS.index("jawOpen")] = 0.25
    with (written(tmp_path / "c.csv", [state] * 31, Fraction(30))).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 31
    assert len(rows[0]) == 2 + 61
    assert float(rows[0]["JawOpen"]) == 0.25
    assert sum(float(rows[0][n[0].upper() + n[1:]]) for n in ARKIT_UNITS) == 0.25
    assert math.degrees(float(rows[0]["HeadYaw"])) == pytest.approx(10, abs=1e-3)
    assert float(rows[0]["LeftEyeYaw"]) > 0 > float(rows[0]["LeftEyePitch"])
    assert (rows[0]["Timecode"], rows[30]["Timecode"]) == ("00:00:00:00.000", "00:00:01:00.000")


def test_a_strangers_file_needs_little(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(
        '{"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}, {"blendshapes": {}, "head": [1, 2, 3]}]}'
    )
    track = read_curves(path)
    assert track == CurveTrack(Fraction(25), track.states)
    assert track.states[0].curves[ARKIT_UNITS.index("jawOpen")] == np.float32(0.3)
    assert track.states[1].head == (1, 2, 3)


GOOD: dict[str, Any] = {"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fps": 0}, "frame rate"),
        ({"fps": "x"}, "frame rate"),
        ({"frames": []}, "frames"),
        ({"version": 2}, "version"),
        ({"frames": [{"blendshapes": {"jawOpn": 1}}]}, "jawOpn"),
        ({"frames": [{"blendshapes": {"jawOpen": 9}}]}, "frames.0"),
        ({"frames": [{"blendshapes": [0, 1]}]}, "2 blendshapes for 52"),
        ({"frames": [{"blendshapes": {}, "head": [900, 0, 0]}]}, "head"),
        ({"frames": [{"blendshapes": {}, "tongue": "NaN"}]}, "tongue"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(UnreadableMedia, match=said) as caught:
        read_curves(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "\x00\x01", '{"fps": 25, "frames": [{"blendshapes": {"jawOpen": NaN}}]}']
)
def test_no_curves(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UnreadableMedia):
        read_curves(tmp_path / "c.json")


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    def fail() -> None:
        with curves_written(tmp_path / "c.json", FPS) as sink:
            sink.write(states(1)[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["c.txt", "nowhere/c.json"])
def test_a_target_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnwritableOutput), curves_written(tmp_path / name, FPS):
        pass
