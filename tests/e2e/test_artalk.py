"""artalk as a user runs it, from a folder of checkpoints in the released layout, at tiny size:
motion alone, the mesh, and a photo that it moves.
"""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
import torch

from personare.media.motion_files import read_curves
from personare.media.motions import read_motion
from personare.types import frame_count
from tests.conformance.case import HERE, read_golden
from tests.conformance.seeded_checkpoint import write_checkpoints
from tests.conftest import error_lines

pytestmark = pytest.mark.neural


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artalk-weights")
    write_checkpoints("artalk", "tiny", folder)
    return folder


@pytest.fixture
def artalk(cli, tmp_path, weights):
    def call(command, *arguments, output="a.mp4"):
        ended = cli(command, *arguments, "-o", tmp_path / output, "--weights", weights, "--json")
        assert ended.code == 0, ended
        return ended.json, tmp_path / output

    return call


def decoded(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def seconds_of_sound(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return float(stream.duration * stream.time_base)


def test_a_voice_becomes_the_mesh_and_its_motion_the_same_again(artalk, voice, voice_samples, tmp_path):
    motion = tmp_path / "a.pt"
    report, path = artalk("speak", voice, "--engine", "artalk", "--motion", motion)
    assert (report["width"], report["height"], report["fps"]) == (512, 512, 25)
    frames = decoded(path)
    assert report["frames"] == len(frames) == frame_count(len(voice_samples), 25)
    assert {"drive", "motion", "render"} <= set(report["timings"])
    assert set(report["cache"]["stages"].values()) == {"miss"}
    assert (frames[0, 0, 0] > 250).all()
    assert frames[:, 256, 256].mean() < 220  # the head
    assert (frames[0] != frames[20]).any()
    values = torch.load(motion, weights_only=True)
    assert values.shape == (len(frames), 106)
    assert values.dtype == torch.float32
    shown, again = artalk("speak", "--engine", "artalk", "--motion", motion, output="again.mp4")
    np.testing.assert_array_equal(decoded(again), frames)
    assert shown["cache"]["stages"] == {}  # no speech, no network
    np.testing.assert_array_equal(torch.load(motion, weights_only=True), values)


def test_the_same_voice_on_another_head_needs_no_network(artalk, portrait, voice, tmp_path):
    artalk("move", voice, "--engine", "artalk", output="a.npz")
    np.save(tmp_path / "shape.npy", np.full(300, 0.5, np.float32))
    heads = [
        ("speak", voice, "--engine", "artalk", "--set", f"shape={tmp_path / 'shape.npy'}"),
        ("speak", portrait, voice, "--moved-by", "artalk"),
    ]
    for command in heads:
        report, _ = artalk(*command)
        stages = report["cache"]["stages"]
        assert {name: stages[name] for name in stages if name.startswith("artalk")} == {
            "artalk.style": "hit",
            "artalk.hear": "hit",
            "artalk.motion": "hit",
        }


def test_it_moves_a_photo_and_tells_its_curves(artalk, portrait, voice, voice_samples, tmp_path):
    report, path = artalk(
        "speak", portrait, voice, "--moved-by", "artalk", "--curves", tmp_path / "curves.json"
    )
    frames = decoded(path)
    assert report["engine"] == "puppet"
    assert len(frames) == frame_count(len(voice_samples), 25)
    assert (frames[0] != frames[20]).any()
    states = read_curves(tmp_path / "curves.json").states
    assert len(states) == len(frames)
    assert any(state.curves.any() for state in states)
    _, motion = artalk("move", voice, "--engine", "artalk", output="m.npz")
    _, given = artalk("speak", portrait, "--motion", motion, output="given.mp4")
    np.testing.assert_array_equal(decoded(given), frames)


def test_motion_alone_needs_no_flame_head_and_everything_that_shows_one_says_so(
    cli, weights, portrait, voice, tmp_path
):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "artalk").symlink_to(weights / "artalk")
    made = cli("move", voice, "--engine", "artalk", "-o", tmp_path / "a.npz", "--weights", bare)
    assert made.code == 0, made
    assert read_motion(tmp_path / "a.npz").space.name == "flame-106"
    for command in (
        ("speak", voice, "--engine", "artalk"),
        ("speak", portrait, voice, "--moved-by", "artalk"),
        ("speak", "--engine", "artalk", "--motion", tmp_path / "a.npz"),
        ("speak", portrait, "--motion", tmp_path / "a.npz"),
    ):
        ended = cli(*command, "-o", tmp_path / "a.mp4", "--weights", bare)
        assert ended.code == 4, ended
        error, hint = error_lines(ended)
        assert "FLAME_with_eye.pt" in error
        assert "flame.is.tue.mpg.de" in hint
        assert not (tmp_path / "a.mp4").exists()


def test_a_clip_ends_where_it_is_to(artalk, voice):
    report, path = artalk("speak", voice, "--engine", "artalk", "--set", "clip_length=21")
    assert report["frames"] == len(decoded(path)) == 21
    assert report["audio_seconds"] == pytest.approx(21 / 25)
    assert seconds_of_sound(path) == pytest.approx(21 / 25, abs=0.07)


def test_other_rates(artalk, voice, voice_samples):
    report, path = artalk("speak", voice, "--engine", "artalk", "--fps", "30", "--set", "size=64")
    assert report["frames"] == len(decoded(path)) == frame_count(len(voice_samples), 30)


def test_a_style_is_cut_from_a_motion_and_changes_the_next_one(cli, artalk, weights, voice, tmp_path):
    first, motion = artalk("move", voice, "--engine", "artalk", output="a.npz")
    if first["frames"] < 60:
        values = read_motion(motion)
        torch.save(torch.from_numpy(np.resize(values.values, (60, 106))), tmp_path / "longer.pt")
        motion = tmp_path / "longer.pt"
    added = cli("styles", "add", "mine", motion, "--from", "0.2", "--json")
    assert added.code == 0, added
    listed = cli("styles", "list", "--weights", weights, "--json").json["styles"]
    assert [(entry["style"], entry["engine"]) for entry in listed] == [("mine", "artalk")]
    styled, other = artalk("move", voice, "--engine", "artalk", "--set", "style=mine", output="b.npz")
    assert styled["stages"]["artalk.hear"] == "hit"
    assert styled["stages"]["artalk.motion"] == "miss"
    assert (read_motion(other).values != read_motion(tmp_path / "a.npz").values).any()
    again = cli("styles", "add", "mine", motion)
    assert again.code == 3
    assert "already" in error_lines(again)[0]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["style=nobody"], 3, "no style named 'nobody'"),
        (["clip_length=0"], 3, "clip_length='0': Input should be greater than or equal to 1"),
        (["official_frame_count=true", "fps=30"], 3, "official_frame_count"),
        (["shape=nothing.npy"], 3, "nothing.npy does not exist"),
        (["style=nothing.pt"], 3, "nothing.pt does not exist"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(cli, weights, voice, tmp_path, options, code, told):
    ended = cli(
        "speak",
        voice,
        "--engine",
        "artalk",
        "-o",
        tmp_path / "a.mp4",
        "--weights",
        weights,
        "--set",
        *options,
    )
    assert ended.code == code, ended
    assert told in error_lines(ended)[0]
    assert not (tmp_path / "a.mp4").exists()


def test_a_clip_is_copied_only_if_style_and_shape_hold_the_same(artalk, voice, tmp_path):
    shape = tmp_path / "shape.npy"
    np.save(shape, np.zeros(300, np.float32))
    command = ("speak", voice, "--engine", "artalk", "--set", f"shape={shape}", "size=64")
    assert artalk(*command)[0]["cache"]["clip"] == "miss"
    assert artalk(*command)[0]["cache"]["clip"] == "hit"
    np.save(shape, np.ones(300, np.float32))
    assert artalk(*command)[0]["cache"]["clip"] == "miss"


@pytest.fixture(scope="session")
def tracked(tmp_path_factory):
    """Two people, as GAGAvatar tracks them."""
    golden = read_golden(HERE / "artalk" / "golden_e2e.npz")
    person = {
        "image": golden["image"],
        "transform_matrix": golden["transform_matrix"],
        "shapecode": golden["shapecode"],
        "bbox": np.array([0.1, 0.1, 0.9, 0.9]),
    }
    path = tmp_path_factory.mktemp("tracked") / "tracked.pt"
    torch.save({"11.jpg": person, "b.jpg": {**person, "image": torch.from_numpy(person["image"])}}, path)
    return path


def test_an_avatar_of_gaussians_is_prepared_once_and_speaks(cli, artalk, weights, tracked, voice, tmp_path):
    made = cli(
        "avatar", "create", "anna", tracked, "--engine", "artalk", "--weights", weights, "--set",
        "look=gaussian", "person=11.jpg",
    )  # fmt: skip
    assert made.code == 0, made
    motion = tmp_path / "m.npz"
    report, path = artalk("speak", "anna", voice, "--set", "clip_length=4", "--motion", motion)
    assert report["cache"]["stages"]["artalk.avatar"] == "hit"
    frames = decoded(path)
    assert frames.shape == (4, 64, 64, 3)
    assert (frames[0] != frames[-1]).any()
    _, again = artalk("speak", "anna", "--motion", motion, output="again.mp4")
    np.testing.assert_array_equal(decoded(again), frames)
    other, _ = artalk(
        "speak",
        tracked,
        voice,
        "--engine",
        "artalk",
        "--set",
        "look=gaussian",
        "person=b.jpg",
        "clip_length=2",
    )
    assert other["cache"]["stages"]["artalk.avatar"] == "miss"
    assert other["cache"]["stages"]["artalk.motion"] == "hit"


def test_ones_own_photo_becomes_an_avatar_and_a_shape(artalk, portrait, voice):
    mine = ("--engine", "artalk", "--set", "look=gaussian", "clip_length=1")
    report, path = artalk("speak", portrait, voice, *mine)
    stages = report["cache"]["stages"]
    assert (stages["artalk.tracked"], stages["artalk.avatar"]) == ("miss", "miss")
    first = decoded(path)
    assert first.shape == (1, 64, 64, 3)
    report, path = artalk("speak", portrait, voice, *mine, "seed=2", output="seeded.mp4")
    assert report["cache"]["stages"]["artalk.avatar"] == "hit"
    assert (decoded(path) != first).any()
    shaped = ("speak", voice, "--engine", "artalk", "--set", "clip_length=1", "size=128")
    _, mean = artalk(*shaped, output="mean.mp4")
    _, own = artalk(*shaped, f"shape={portrait}", output="own.mp4")
    assert (decoded(mean) != decoded(own)).any()


def test_a_tracked_person_lends_the_mesh_his_shape(artalk, tracked, voice, tmp_path):
    golden = read_golden(HERE / "artalk" / "golden_e2e.npz")
    np.save(tmp_path / "shape.npy", golden["shapecode"])
    shaped = ("speak", voice, "--engine", "artalk", "--set", "clip_length=1", "size=128")
    _, by_file = artalk(*shaped, f"shape={tmp_path / 'shape.npy'}")
    _, by_name = artalk(*shaped, f"shape={tracked}", "person=b.jpg", output="b.mp4")
    np.testing.assert_array_equal(decoded(by_name), decoded(by_file))


def test_whose_avatar_is_told(cli, weights, tracked, portrait, voice, tmp_path):
    def told(given, *options):
        command = ("speak", given, voice, "--engine", "artalk", "-o", tmp_path / "a.mp4")
        ended = cli(*command, "--weights", weights, "--set", "look=gaussian", *options)
        assert ended.code == 3, ended
        return error_lines(ended)

    assert "11.jpg, b.jpg" in told(tracked, "person=?")[1]
    assert "no person is chosen" in told(tracked)[0]
    assert "there is no person 'c'" in told(tracked, "person=c")[0]
    assert "is a photo, which holds no person" in told(portrait, "person=11.jpg")[0]
    (tmp_path / "wall.png").write_bytes(cv2.imencode(".png", np.full((300, 300, 3), 90, np.uint8))[1])
    assert "no face found" in told(tmp_path / "wall.png")[0]
    torch.save([torch.zeros(3)], tmp_path / "other.pt")
    assert "does not hold people" in told(tmp_path / "other.pt")[0]
    (tmp_path / "hostile.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    told(tmp_path / "hostile.pt")
    torch.save({"a": {"image": torch.zeros(3, 9, 9)}}, tmp_path / "bad.pt")
    assert "not tracked as GAGAvatar does" in told(tmp_path / "bad.pt")[0]
