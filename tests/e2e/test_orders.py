"""Orders as commands make them: what goes where, what is refused before anything is made."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from personare.errors import InvalidOption, UnreadableMedia, UnwritableOutput
from personare.media.video import VideoSource
from personare.studio.order import Order
from personare.studio.studio import Studio
from personare.work.jobs import Defaults, read_jobs
from tests.conftest import error_lines, write_wav

SMALL = ("--set", "size=256")


@pytest.fixture
def short(tmp_path, voice_samples):
    return write_wav(tmp_path / "v.wav", voice_samples[:8000])


def pictures(clip: Path) -> np.ndarray:
    return np.stack([frame.image for frame in VideoSource(clip).frames()])


@pytest.fixture
def own(tmp_path, portrait, short):
    """A folder of a user's files, each with the bytes that it has to keep: a photo under the
    name of a video, a voice, a text, curves, and links to them.
    """
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(portrait, folder / "me.mp4")
    shutil.copy(short, folder / "v.mov")
    (folder / "t.m4v").write_text("Hello.")
    curves = {"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}] * 5}
    (folder / "c.json").write_text(json.dumps(curves))
    (folder / "link.mp4").symlink_to("me.mp4")
    os.link(folder / "me.mp4", folder / "hard.mp4")
    return folder


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["speak", "me.mp4", "v.mov", "-o", "me.mp4"], "the portrait"),
        (["speak", "me.mp4", "v.mov", "-o", "link.mp4"], "the portrait"),
        (["speak", "me.mp4", "v.mov", "-o", "hard.mp4"], "the portrait"),
        (["speak", "link.mp4", "v.mov", "-o", "../own/me.mp4"], "the portrait"),
        (["speak", "me.mp4", "v.mov", "-o", "v.mov"], "the voice"),
        (["speak", "me.mp4", "--text-file", "t.m4v", "-o", "t.m4v"], "the text"),
        (["speak", "me.mp4", "v.mov", "-o", "a.mp4", "--curves", "v.mov"], "the voice"),
        (["speak", "me.mp4", "v.mov", "-o", "a.mp4", "--motion", "me.mp4"], "the portrait"),
        (["speak", "me.mp4", "v.mov", "-o", "a.mp4", "--curves", "A.MP4"], "the clip"),
        (["speak", "me.mp4", "--curves", "c.json", "-o", "c.json"], "the motion"),
        (["speak", "me.mp4", "--curves", "c.json", "--sound", "v.mov", "-o", "v.mov"], "the sound"),
        (["follow", "me.mp4", "v.mov", "-o", "v.mov"], "the guide"),
        (["follow", "me.mp4", "v.mov", "-o", "a.mp4", "--curves", "me.mp4"], "the portrait"),
        (["bench", "puppet", "me.mp4", "v.mov", "--plot", "plot.png"], "the voice"),
    ],
)
def test_an_output_is_never_one_of_the_inputs(cli, own, monkeypatch, arguments, what):
    monkeypatch.chdir(own)
    if arguments[0] == "bench":
        (own / "v.mov").rename(own / "plot.png")
        arguments = ["plot.png" if argument == "v.mov" else argument for argument in arguments]
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    ended = cli(*arguments)
    assert ended.code == 3
    assert f"would be written over {what}" in error_lines(ended)[0]
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before


def test_an_avatar_is_not_written_over(cli, portrait, short, home, tmp_path):
    assert cli("avatar", "create", "anna", portrait, *SMALL).code == 0
    (kept,) = home.glob("avatars/*/portrait-*.jpg")
    content = kept.read_bytes()
    ended = cli("avatar", "export", "anna", kept)
    assert ended.code == 3
    assert "a file of the avatar itself" in error_lines(ended)[0]
    (tmp_path / "link.mp4").symlink_to(kept)
    assert cli("speak", "anna", short, "-o", tmp_path / "link.mp4").code == 3
    assert kept.read_bytes() == content
    assert cli("avatar", "export", "anna", tmp_path / "anna.avatar").code == 0


def test_urls_and_swapped_arguments_are_told_as_such(cli, portrait, short, tmp_path):
    def refused(*arguments):
        ended = cli("speak", *arguments, "-o", tmp_path / "a.mp4")
        assert ended.code == 3
        return error_lines(ended)

    assert refused("https://example.com/me.jpg", short) == (
        "portrait: https://example.com/me.jpg is a URL",
        "download it first",
    )
    assert refused(portrait, "https://example.com/v.mp3")[0] == "speech: https://example.com/v.mp3 is a URL"
    assert refused(short, portrait)[0] == f"{short} is a sound: the portrait comes first"
    assert refused(short, "--text", "Hello.")[0] == f"{short} is a sound: the portrait comes first"
    assert refused(portrait, portrait)[0] == f"{portrait} is a picture: the voice comes second"
    assert not (tmp_path / "a.mp4").exists()


def test_a_list_from_windows_is_read(cli, portrait, short, tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "voices").mkdir()
    shutil.copy(portrait, tmp_path / "faces" / "me.jpg")
    shutil.copy(short, tmp_path / "voices" / "v.wav")
    job = {"portrait": r"faces\me.jpg", "speech": r"voices\v.wav", "output": r"clips\a.mp4"}
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**job, "options": {"size": 256}}) + "\r\n")
    ended = cli("batch", tmp_path / "jobs.jsonl", "--workers", "1", "--json")
    assert ended.code == 0, ended
    assert (tmp_path / "clips" / "a.mp4").exists()
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**job, "speech": "https://example.com/a.mp3"}))
    assert (
        "jobs.jsonl line 1: https://example.com/a.mp3 is a URL" in cli("batch", tmp_path / "jobs.jsonl").err
    )


def test_python_and_the_command_line_make_the_same_clip(cli, portrait, short, tmp_path):
    said, made = tmp_path / "said.mp4", tmp_path / "made.mp4"
    assert cli("speak", portrait, short, "-o", said, *SMALL, "--no-clip-cache").code == 0
    order = Order(portrait=portrait, speech=short, options={"size": 256}, output=made)
    assert Studio().make(order).cache["clip"] == "miss"
    assert made.read_bytes() == said.read_bytes()
    (job,) = _jobs(tmp_path, {"portrait": str(portrait), "speech": str(short), "output": "said.mp4"})
    assert job.order == Order(portrait=portrait, speech=short, options={"size": "256"}, output=said.resolve())


def _jobs(folder, line):
    (folder / "one.jsonl").write_text(json.dumps(line))
    return read_jobs(folder / "one.jsonl", folder.resolve(), Defaults(options={"size": "256"}))


def test_one_engine_moves_the_portrait_of_another(cli, portrait, short, tmp_path):
    """puppet's motion on puppet's portrait is puppet."""
    plain, moved = tmp_path / "plain.mp4", tmp_path / "moved.mp4"
    assert cli("speak", portrait, short, "-o", plain, *SMALL).code == 0
    ended = cli("speak", portrait, short, "-o", moved, *SMALL, "--moved-by", "puppet", "--json")
    assert ended.code == 0, ended
    assert ended.json["cache"]["clip"] == "off"
    assert np.array_equal(pictures(moved), pictures(plain))
    for engine, said in (("nobody", "no engine named"), ("musetalk", "makes no motion")):
        refused = cli("speak", portrait, short, "-o", moved, "--moved-by", engine)
        assert said in error_lines(refused)[0]
    hint = error_lines(cli("speak", portrait, short, "-o", moved, "--moved-by", "musetalk"))[1]
    assert "puppet" in hint.removeprefix("engines that do: ").split(", ")


def test_motion_out_and_in(cli, portrait, short, tmp_path):
    spoken, shown, motion = tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "m.npz"
    assert cli("speak", portrait, short, "-o", spoken, *SMALL, "--motion", motion).code == 0
    again = cli("speak", portrait, "-o", shown, *SMALL, "--motion", motion, "--sound", short)
    assert again.code == 0, again
    assert np.array_equal(pictures(spoken), pictures(shown))
    both = cli("speak", portrait, "-o", shown, "--motion", motion, "--curves", tmp_path / "c.json")
    assert both.code == 2


def test_what_an_engine_cannot_is_said_with_the_engines_that_can(portrait, short, tmp_path):
    def refused(**fields):
        order = Order.model_validate({"portrait": portrait, "output": tmp_path / "a.mp4", **fields})
        with pytest.raises(InvalidOption) as caught:
            Studio().make(order)
        return caught.value

    guided = refused(guide=tmp_path, engine="float")
    assert guided.message == "float cannot follow a guide"
    assert guided.hint.startswith("engines that can: ")
    motion = tmp_path / "c.json"
    motion.write_text('{"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}]}')
    assert refused(motion=motion, engine="float").hint == "engines that can: puppet"


def test_the_text_on_stdin(cli, portrait, tmp_path, monkeypatch):
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffHello.".encode())))
    ended = cli("speak", portrait, "--text-file", "-", "-o", tmp_path / "a.mp4", *SMALL, "--json")
    assert ended.code == 0, ended
    assert 0.2 < ended.json["audio_seconds"] < 2


def test_a_single_argument_is_the_voice_where_the_engine_brings_a_portrait(cli, short, portrait, tmp_path):
    ended = cli("speak", tmp_path / "no.wav", "-o", tmp_path / "a.mp4", "--set", "look=mesh")
    assert "no.wav does not exist" in error_lines(ended)[0]
    alone = cli("speak", portrait, "-o", tmp_path / "a.mp4")
    assert alone.code == 2
    with pytest.raises(UnwritableOutput):
        Studio().make(Order(speech=short, options={"look": "mesh"}, output=short))


def test_a_guide_and_a_portrait_that_have_changed_places(portrait, short, tmp_path):
    video = tmp_path / "v.mp4"
    Studio().make(Order(portrait=portrait, speech=short, options={"size": 256}, output=video))
    with pytest.raises(UnreadableMedia, match="the guide comes second"):
        Studio().make(Order(portrait=video, guide=portrait, output=tmp_path / "a.mp4"))


@pytest.mark.parametrize("switch", ["--motion", "--curves"])
def test_motion_that_cannot_be_written_is_told_before_the_clip_is_made(
    cli, portrait, short, tmp_path, switch
):
    clip = tmp_path / "a.mp4"
    ended = cli("speak", portrait, short, "-o", clip, switch, "/proc/m.json", "--set", "size=256")
    assert ended.code == 3, ended
    assert not clip.exists()
