"""`personare score` as a user runs it, on a clip that puppet makes."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.conftest import error_lines, write_wav

TEXT = "My mother bought five purple shoes. Wow, Bob!"


@pytest.fixture(scope="module")
def clip(tmp_path_factory, portrait):
    from personare.studio.settings import Settings
    from personare.studio.studio import Studio
    from personare.voice.tts import open_text

    folder = tmp_path_factory.mktemp("clip")
    studio = Studio(Settings(cache_dir=folder / "features"))
    studio.speak(studio.cast(portrait, None, {"size": 320}), open_text(TEXT, "en-us"), folder / "a.mp4")
    return folder / "a.mp4"


def named(ended):
    assert ended.code == 0, ended
    return {row["name"]: row for row in ended.json["rows"]}


def written(path, pictures):
    """Pictures as a silent mp4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_clip_of_ours_against_its_text(cli, clip):
    ended = cli("score", clip, "--text", TEXT, "--voice", "en-us", "--json")
    rows = named(ended)
    assert ended.json["width"] == ended.json["height"] == 320
    assert all(row["bar"] and row["verdict"] in ("pass", "below", "not measured") for row in rows.values())
    for name in ("face lost", "lag", "p b m closed", "f v lip to teeth", "skin, single-frame spikes"):
        assert rows[name]["verdict"] == "pass", rows[name]
    assert rows["opening follows articulation, r"]["value"] > 0.6
    table = cli("score", clip)
    assert table.code == 0
    assert "p b m closed" in table.out
    assert "not measured" in table.out


def test_a_voice_moved_by_three_frames_is_a_lag_of_three_frames(cli, clip, tmp_path):
    from personare.media.audio import open_speech

    voice = np.concatenate([chunk.samples for chunk in open_speech(clip).chunks()])
    straight = named(cli("score", clip, "--speech", write_wav(tmp_path / "v.wav", voice), "--json"))["lag"][
        "value"
    ]
    three_frames = round(16000 * Fraction(3, 25))
    early = write_wav(tmp_path / "early.wav", voice[three_frames:])
    assert named(cli("score", clip, "--speech", early, "--json"))["lag"]["value"] - straight == pytest.approx(
        3, abs=0.5
    )


def test_what_cannot_be_scored_says_so(cli, tmp_path, voice, clip):
    nothing = written(tmp_path / "nothing.mp4", [np.full((128, 128, 3), 90, np.uint8)] * 3)
    message, hint = error_lines(cli("score", nothing, "--speech", voice))
    assert "no face in any of 3 pictures" in message
    assert "face" in hint
    message, hint = error_lines(cli("score", nothing))
    assert "no sound" in message
    assert "--speech" in hint
    message, _ = error_lines(cli("score", voice))
    assert "no moving pictures" in message
    phones = tmp_path / "phones.json"
    phones.write_text("[[0.1, 0.2]]")
    message, hint = error_lines(cli("score", clip, "--phones", phones))
    assert "not a list of phones" in message
    assert "IPA" in hint
    assert cli("score", clip, "--phones", phones, "--text", "a").code == 2


def test_phones_may_come_from_a_file(cli, clip, tmp_path):
    phones = tmp_path / "phones.json"
    phones.write_text(json.dumps({"phones": [[0.1, 0.2, "m"], [0.2, 0.6, "ɑː"]]}))
    rows = named(cli("score", clip, "--phones", phones, "--json"))
    assert rows["p b m closed"]["note"] == "1 sounds"
    assert rows["f v lip to teeth"]["note"] == "none spoken"
