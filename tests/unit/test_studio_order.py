"""One order: what it says, what it refuses, and that it crosses processes and JSON unchanged."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path

import pytest

from personare.engines.engine import load_engine
from personare.errors import InvalidOption
from personare.studio.finished import clip_key
from personare.studio.order import Order, local_path, who
from personare.studio.settings import Settings


def sent(value):
    """The value at the other end of a pipe."""
    there, here = Pipe(duplex=False)
    here.send(value)
    return there.recv()


SPOKEN = {"portrait": "me.jpg", "speech": "hello.wav", "output": "out.mp4"}


@pytest.mark.parametrize(
    "fields",
    [
        {**SPOKEN, "engine": "puppet", "options": {"size": 256, "fps": "30", "background": None}},
        {"avatar": "anna", "text": "Guten Tag.", "voice": "de", "output": "a.mov", "curves_out": "c.csv"},
        {"text_file": "t.txt", "output": "a.mp4", "moved_by": "artalk"},
        {"portrait": "me.jpg", "guide": "driving.mp4", "output": "a.mp4", "motion_out": "m.npz"},
        {"portrait": "me.jpg", "motion": "c.json", "sound": "s.wav", "output": "a.mp4"},
    ],
)
def test_an_order_is_the_same_after_a_pipe_and_after_json(fields):
    order = Order.model_validate(fields)
    assert sent(order) == order
    assert Order.from_json(order.model_dump_json()) == order
    with pytest.raises(Exception, match="frozen"):
        order.output = Path("other.mp4")


def test_what_moves_the_portrait():
    kinds = {"speech": "speech", "text": "text", "text_file": "text", "guide": "guide", "motion": "motion"}
    for source, kind in kinds.items():
        assert Order.model_validate({source: "x", "output": "a.mp4"}).kind == kind


@pytest.mark.parametrize(
    ("fields", "said", "hint"),
    [
        ({"portrait": "me.jpg", "output": "a.mp4"}, "exactly one of speech, text", "what moves"),
        ({**SPOKEN, "text": "both"}, "given: speech, text", "what moves"),
        ({**SPOKEN, "avatar": "anna"}, "not both", "leave one out"),
        ({**SPOKEN, "voice": "de"}, "voice is for text, not for speech", "its own voice"),
        ({**SPOKEN, "sound": "s.wav"}, "sound is for motion, not for speech", "their own sound"),
        ({"motion": "c.json", "moved_by": "a", "output": "a.mp4"}, "moved_by is not for motion", "leave"),
        ({"motion": "c.json", "curves_out": "d.json", "output": "a.mp4"}, "curves_out is not", "leave"),
        ({"speech": "a.wav"}, "output: Field required", "the clip to write"),
        ({**SPOKEN, "portait": "x"}, "no field 'portait'", "fields are: portrait, avatar"),
        ({**SPOKEN, "speech": 3}, "speech: ", "file of a voice"),
        ({**SPOKEN, "options": {"size": {1}}}, "options: ", "options of the engine"),
        ({**SPOKEN, "speech": "a\0.wav"}, "NUL", "check the paths"),
        (
            {**SPOKEN, "speech": "https://example.com/a.mp3"},
            "speech: https://example.com/a.mp3 is a URL",
            "download",
        ),
        ({**SPOKEN, "speech": Path("https://example.com/a.mp3")}, "https://example.com/a.mp3", "download"),
        ({**SPOKEN, "portrait": "s3://bucket/me.jpg"}, "portrait: s3://bucket/me.jpg is a URL", "download"),
        ({**SPOKEN, "portrait": "file:///me.jpg"}, "is a URL", "the path itself"),
    ],
)
def test_a_fault_is_one_line_and_a_hint(fields, said, hint):
    with pytest.raises(InvalidOption) as caught:
        Order.model_validate(fields)
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[1]", '"order"', '{"speech": "a.wav"}', b"\xff", "[" * 100_000])
def test_json_that_is_no_order(text):
    with pytest.raises(InvalidOption) as caught:
        Order.from_json(text)
    assert "\n" not in caught.value.message


def test_settings_cross_processes_and_json():
    settings = Settings(cache_dir=Path("c"), cache="off", weights=Path("w"), keep_clips=False)
    assert sent(settings) == settings
    assert Settings.from_json(settings.model_dump_json()) == settings
    with pytest.raises(InvalidOption, match="cache: ") as caught:
        Settings.model_validate({"cache": "maybe"})
    assert "neither looked for nor kept" in caught.value.hint


def test_who_is_a_file_if_there_is_one_else_an_avatar(tmp_path):
    (tmp_path / "anna").write_bytes(b"x")
    assert who("anna", tmp_path) == {"portrait": tmp_path / "anna"}
    assert who("bert", tmp_path) == {"avatar": "bert"}
    assert who(Path("nowhere.jpg")) == {"portrait": Path("nowhere.jpg")}
    assert who(None) == {}
    assert who("a" * 5000) == {"avatar": "a" * 5000}
    with pytest.raises(InvalidOption, match="is a URL"):
        who("http://example.com/me.jpg")


def test_backslashes_separate_folders_unless_a_file_is_called_so(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "me.jpg").write_bytes(b"x")
    assert who(r"faces\me.jpg", tmp_path) == {"portrait": tmp_path / "faces" / "me.jpg"}
    assert local_path(r"clips\a.mp4", tmp_path) == tmp_path / "clips" / "a.mp4"
    (tmp_path / r"clips\a.mp4").write_bytes(b"x")
    assert local_path(r"clips\a.mp4", tmp_path) == tmp_path / r"clips\a.mp4"
    assert local_path("~nobody-of-that-name/x", tmp_path) == tmp_path / "~nobody-of-that-name" / "x"


def test_what_the_machine_makes_of_auto_is_in_a_clips_key(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine("puppet")
    options = engine.Options()
    before = clip_key(engine, options, "0" * 64, ".mp4")
    assert clip_key(engine, options, "0" * 64, ".mp4") == before
    monkeypatch.setattr(engine.Options, "numerics", lambda _: {"precision": "torch.bfloat16"})
    assert clip_key(engine, options, "0" * 64, ".mp4") != before
