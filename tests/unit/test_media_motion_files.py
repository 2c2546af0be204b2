"""Curves as files: what is read is what was written, and what strangers write is checked."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from personare.errors import UnreadableMedia, UnwritableOutput
from personare.media.motion_files import CurveTrack, curves_written, read_curves
from personare.motion import ARKIT_UNITS, FaceState
from personare.types import frame_rate

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


# ---------------------------------------------------------------- curves of other programs


def read(folder: Path, content: object, name: str = "c.json", fps: Fraction | None = None) -> CurveTrack:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_curves(path, fps)


def weights(track: CurveTrack, name: str) -> list[float]:
    return [round(float(state.curves[ARKIT_UNITS.index(name)]), 4) for state in track.states]


SPELLINGS = ["eyeBlinkLeft", "EyeBlinkLeft", "eyeBlink_L", "eyeBlinkL", "EYE_BLINK_LEFT",
             "blendShapes.EyeBlinkLeft", "head.eyeBlink_l", "eye blink left", "eyesCloseL"]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_curve_in_many_spellings(tmp_path: Path, spelling: str) -> None:
    track = read(tmp_path, {"fps": 25, "frames": [{"blendshapes": {spelling: 0.5}}]})
    assert weights(track, "eyeBlinkLeft") == [0.5]
    assert track.states[0].curves.sum() == 0.5


@pytest.mark.parametrize("name", ARKIT_UNITS)
def test_every_unit_in_the_spelling_of_every_program(tmp_path: Path, name: str) -> None:
    short = name.replace("Left", "_L").replace("Right", "_R") if name.endswith(("Left", "Right")) else name
    for spelling in (name, name[0].upper() + name[1:], short, short.replace("_", "")):
        track = read(tmp_path, {"fps": 25, "frames": [{"blendshapes": {spelling: 0.5}}]})
        assert weights(track, name) == [0.5], spelling
        assert track.states[0].curves.sum() == 0.5


def test_mediapipe(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    named = {"fps": 25, "frames": [{"blendshapes": {"_neutral": 1e-6, "jawOpen": 0.3}}] * 25}
    listed = [
        {"categoryName": "_neutral", "score": 1e-6, "index": 0},
        {"categoryName": "jawOpen", "score": 0.3},
    ]
    for frames in (named, {"fps": 25, "frames": [{"blendshapes": listed}] * 25}):
        assert weights(read(tmp_path, frames), "jawOpen") == [0.3] * 25
    assert caplog.text == ""


def test_unknown_columns_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import logging

    logging.getLogger("personare").propagate = True
    track = read(
        tmp_path, {"fps": 25, "frames": [{"blendshapes": {"jawOpn": 1, "hairWave": 1, "mouthLeft": 0.2}}]}
    )
    assert weights(track, "mouthLeft") == [0.2]
    assert "'jawOpn' and 1 more" in caplog.text
    assert "jawOpen" in caplog.text


def test_audio2face(tmp_path: Path) -> None:
    arkit = {"exportFps": 60.0, "trackPath": "a.wav", "numPoses": 2, "numFrames": 2,
             "facsNames": ["JawOpen", "EyeBlinkLeft"], "weightMat": [[0.1, 0.2], [0.3, 0.4]]}  # fmt: skip
    track = read(tmp_path, arkit)
    assert track.fps == 60
    assert weights(track, "jawOpen") == [0.1, 0.3]
    assert weights(track, "eyeBlinkLeft") == [0.2, 0.4]
    facs = {**arkit, "facsNames": ["jawDrop", "lipCornerPullerR"], "joints": [[0] * 3] * 9}
    reordered = dict(reversed(facs.items()))  # names after the rows
    for content in (facs, reordered):
        track = read(tmp_path, content)
        assert weights(track, "jawOpen") == [0.1, 0.3]
        assert weights(track, "mouthSmileRight") == [0.2, 0.4]
        assert weights(track, "mouthSmileLeft") == [0, 0]


def test_audio2face_tables_have_seconds(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i / 30:.6f},{i / 100}\n" for i in range(40))
    track = read(tmp_path, "frame,timeCode,blendShapes.JawOpen\n" + rows, "a.csv")
    assert track.fps == 30
    assert weights(track, "jawOpen") == [i / 100 for i in range(40)]


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30), Fraction(60), Fraction(24)])
def test_a_live_link_table_is_read_back(tmp_path: Path, fps: Fraction) -> None:
    made = states(round(3 * fps))
    track = read_curves(written(tmp_path / "c.csv", made, fps))
    assert track.fps == fps
    assert len(track.states) == len(made)
    for back, given in zip(track.states, made, strict=True):
        assert np.allclose(back.curves, given.curves, atol=1e-6)
        assert back.head == pytest.approx(given.head, abs=1e-4)
        assert back.gaze == pytest.approx(given.gaze, abs=1e-5)


def test_a_live_link_table_as_the_phone_writes_it(tmp_path: Path) -> None:
    """Sub-frames, a start in the middle of a second, a row without a face; ; from a
    spreadsheet.
    """
    rows = [
        f"11:59:{59 + (i + 20) // 60:02d}:{(i + 20) % 60:02d}.{i % 1000:03d},{61 if i != 50 else 0},"
        + ("0.25,0.5" if i != 50 else ",")
        for i in range(40)
    ]
    rows += [f"12:00:{i // 60:02d}:{i % 60:02d}.819,61,0.25,0.5" for i in range(150)]
    rows[10] = rows[10].replace("0.25,0.5", ",")
    for text in ("\r\n".join(["Timecode,BlendShapeCount,JawOpen,HeadYaw", *rows]),):
        for delimiter in (",", ";", "\t"):
            track = read(tmp_path, text.replace(",", delimiter), "c.csv")
            assert track.fps == 60
            assert weights(track, "jawOpen") == [0.25] * 190
            assert track.states[10].head[0] == pytest.approx(math.degrees(0.5))


def test_a_table_without_times_needs_a_rate(tmp_path: Path) -> None:
    table = "jawOpen\n0.1\n0.2\n"
    assert read(tmp_path, table, "c.csv", Fraction(30)).fps == 30
    with pytest.raises(UnreadableMedia, match="no frame rate"):
        read(tmp_path, table, "c.csv")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("", "no column"), ("a,b\n1,2\n", "no column"), ("Timecode,JawOpen\n00:00:00:00.0,x\n", "line 2"),
        ("time,JawOpen\n0,1e99\n", "line 2"), ("time,JawOpen\n", "none"),
        ("JawOpen\n" + "1" * 100_000, "too long"),
        ("time,JawOpen,HeadYaw\n0,0,99\n", "line 2"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be(tmp_path: Path, table: str, why: str) -> None:
    (tmp_path / "c.csv").write_text(table or "\n")
    with pytest.raises(UnreadableMedia, match=why):
        read_curves(tmp_path / "c.csv", Fraction(25))


CUES = [
    (0.0, 0.3, "X"),
    (0.3, 0.36, "A"),
    (0.36, 0.8, "D"),
    (0.8, 1.1, "F"),
    (1.1, 1.5, "H"),
    (1.5, 2.0, "X"),
]


def test_rhubarb_cues_move_the_mouth_smoothly(tmp_path: Path) -> None:
    content = {
        "metadata": {"soundFile": "a.wav", "duration": 2.0},
        "mouthCues": [{"start": a, "end": b, "value": shape} for a, b, shape in CUES],
    }
    track = read(tmp_path, content)
    assert (track.fps, len(track.states)) == (25, 50)
    jaw, press = weights(track, "jawOpen"), weights(track, "mouthPressLeft")
    assert jaw[0] == jaw[-1] == 0
    assert jaw[14] == pytest.approx(0.5, abs=0.01)  # in the middle of D
    assert max(weights(track, "mouthPucker")) == pytest.approx(0.65, abs=0.01)
    assert max(press) == pytest.approx(0.35, abs=0.01)  # lips shut, for 60 ms
    assert jaw[press.index(max(press))] < 0.05
    assert max(abs(a - b) for a, b in itertools.pairwise(jaw)) < 0.35
    assert max(state.tongue for state in track.states) > 0.8
    assert read(tmp_path, content, fps=Fraction(60)).fps == 60
    assert len(read(tmp_path, content, fps=Fraction(60)).states) == 120


@pytest.mark.parametrize(
    "cue",
    [
        {"start": 0, "end": 1, "value": "Z"},
        {"start": 2, "end": 1, "value": "A"},
        {"start": 0, "end": 1e9, "value": "A"},
    ],
)
def test_cues_that_cannot_be(tmp_path: Path, cue: dict[str, Any]) -> None:
    with pytest.raises(UnreadableMedia, match=r"mouthCues\.0"):
        read(tmp_path, {"mouthCues": [cue]})


@pytest.mark.parametrize("fps", ["1e99999999", "1e-99999999", "9" * 5000, "25e0", "1/0", "٢٥", "0x19", "inf"])
def test_a_rate_is_plain_digits(tmp_path: Path, fps: str) -> None:
    with pytest.raises(UnreadableMedia, match="frame rate"):
        read(tmp_path, {"fps": fps, "frames": [{"blendshapes": {"jawOpen": 0.3}}]})
    if fps != "25e0":  # which JSON has, and is 25
        with pytest.raises(UnreadableMedia):
            read(tmp_path, f'{{"fps": {fps}, "frames": [{{"blendshapes": {{"jawOpen": 0.3}}}}]}}')
    with pytest.raises(ValueError, match="frame rate"):
        frame_rate(fps)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """50 MB of frames without a curve."""
    path = tmp_path / "large.json"
    with path.open("w") as file:
        file.write(
            '{"fps": 25, "frames": [' + '{"blendshapes": {}},' * 2_600_000 + '{"blendshapes": {"x": 1}}]}'
        )
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from personare.media.motion_files import read_curves\n"
        "try:\n    read_curves(Path(sys.argv[1]))\nexcept Exception as error:\n    print(error)\n"
        # not getrusage, which a child takes over from its parent
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    said, peak = done.stdout.splitlines()
    assert "500,000 frames" in said
    assert int(peak) < 400


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_file_that_is_cut_off(tmp_path: Path, cut: int) -> None:
    whole = json.dumps({**GOOD, "names": ["jawOpen"]})
    with pytest.raises(UnreadableMedia):
        read(tmp_path, whole[:-cut])


def test_letters_and_numbers_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {
        "é" * 50: "日本" * 50,
        "fps": 25,
        "frames": [{"blendshapes": {"jawOpen": 0.125}}] * 20,
        "x": [1, [2]],
    }
    for size in range(1, 40):
        monkeypatch.setattr("personare.media.json_stream._BLOCK_BYTES", size)
        (tmp_path / "c.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8-sig")
        assert weights(read_curves(tmp_path / "c.json"), "jawOpen") == [0.125] * 20


@pytest.mark.parametrize("name", ["c.json", "c.csv"])
def test_a_full_disk_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Wherever the caller is when the disk is full."""
    import io

    def full(self: io.TextIOWrapper, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.TextIOWrapper):
        write = full

    opened = Path.open

    def open_full(self: Path, *arguments: Any, **more: Any) -> Any:
        file = opened(self, *arguments, **more)
        return (
            Full(file.detach(), encoding="utf-8")
            if self.name.endswith(".part") and "w" in arguments
            else file
        )

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(UnwritableOutput, match="No space left"):
        written(tmp_path / name, states())
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_caller_stays_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), curves_written(tmp_path / "c.json", FPS):
        raise ConnectionResetError("of the voice")
