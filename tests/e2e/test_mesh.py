"""The bundled head speaks without a portrait."""

from __future__ import annotations

from pathlib import Path

import pytest

from personare.media.video import VideoSource
from personare.perception import find_face
from tests.conftest import error_lines


def test_a_voice_alone_is_spoken_by_the_carried_head(cli, voice: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    ended = cli("speak", voice, "--set", "look=mesh", "size=256", "-o", clip, "--json")
    assert ended.code == 0, ended.err
    pictures = [frame.image for frame in VideoSource(clip).frames()]
    assert len(pictures) == ended.json["frames"]
    assert pictures[0].shape == (256, 256, 3)
    openings = []
    for picture in pictures[::3]:
        landmarks = find_face(picture, min_eye_distance_px=16).landmarks
        openings.append(abs(float(landmarks[14, 1] - landmarks[13, 1])))
    assert max(openings) > 3 * min(openings) + 1


def test_an_avatar_of_the_carried_head(cli, tmp_path: Path) -> None:
    made = cli("avatar", "create", "nobody", "--set", "look=mesh", "size=256", "--json")
    assert made.code == 0, made.err
    spoken = cli("speak", "nobody", "--text", "Hello.", "-o", tmp_path / "clip.mp4", "--json")
    assert spoken.code == 0, spoken.err
    assert (spoken.json["avatar"], spoken.json["width"]) == ("nobody", 256)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--text", "Hello."], "no portrait is given"),
        (["portrait", "--text", "Hello.", "--set", "look=mesh"], "need no portrait"),
        (["--text", "Hello.", "--set", "look=bronze"], "look"),
    ],
)
def test_what_does_not_go_together(
    cli, portrait: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    given = [portrait if argument == "portrait" else argument for argument in arguments]
    ended = cli("speak", *given, "-o", tmp_path / "clip.mp4")
    assert ended.code == 3
    assert said in error_lines(ended)[0]
    assert not (tmp_path / "clip.mp4").exists()


def test_who_gives_no_portrait_is_told_how_to_go_without_one(cli, tmp_path: Path) -> None:
    """By asking the engine, whatever its option is called."""
    without = cli("speak", "--text", "Hello.", "-o", tmp_path / "clip.mp4")
    assert error_lines(without)[1].endswith("or --set look=mesh")
    needs_one = cli("speak", "--text", "Hello.", "-o", tmp_path / "clip.mp4", "--engine", "float")
    assert error_lines(needs_one)[1] == "give a photo, a video or the name of an avatar"
