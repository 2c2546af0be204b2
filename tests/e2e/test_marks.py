"""Marks as a user meets them: on every clip, off with a reason, seen, heard, signed, checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import av
import numpy as np
import pytest

from personare.cli.verify import ALTERED_CODE, NOTHING_SAYS_CODE
from personare.provenance.installed import is_installed
from tests.conftest import error_lines, write_wav
from tests.unit.marked_clips import decoded, flipped, remuxed


@pytest.fixture(scope="module")
def short(voice_samples, tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("short") / "short.wav", voice_samples[:16000])


@pytest.fixture
def speak(cli, tmp_path, portrait, short):
    def call(name, *options, who=portrait):
        ended = cli("speak", who, short, "-o", tmp_path / name, "--set", "size=256", *options, "--json")
        assert ended.code == 0, ended
        return ended.json, tmp_path / name

    return call


def sound(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def test_a_clip_is_marked_and_off_needs_a_reason_and_changes_no_picture(
    speak, cli, short, portrait, tmp_path
):
    report, clip = speak("on.mp4")
    assert report["marks"]["marks"] == "on"
    found = cli("verify", clip, "--json")
    assert (found.code, found.json["verdict"], found.json["generated"]) == (0, "marked", True)
    assert found.json["aigc"]["ProduceID"] == report["marks"]["id"]
    assert found.json["made"]["name"] == "on.mp4"
    refused = cli("speak", portrait, short, "-o", tmp_path / "no.mp4", "--marks", "off")
    assert refused.code == 3
    assert "reason" in error_lines(refused)[0]
    told, off = speak("off.mp4", "--marks", "off", "--marks-reason", "a test of ours")
    assert told["cache"]["clip"] == "hit"
    assert told["marks"] == {"marks": "off", "reason": "a test of ours", "id": report["marks"]["id"]}
    assert b"AIGC" not in off.read_bytes()
    assert np.array_equal(decoded(off), decoded(clip))
    assert np.array_equal(sound(off), sound(clip))
    _, again = speak("again.mp4")
    assert again.read_bytes() == clip.read_bytes()
    cli("marks", "setup", "--producer", "Acme")
    _, named = speak("named.mp4")
    assert cli("verify", named, "--json").json["aigc"]["ContentProducer"] == "Acme"


def test_labels_and_cues_are_kept_apart_from_clips_without(speak):
    _, plain = speak("plain.mp4")
    report, shown = speak("shown.mp4", "--label", "zh-CN", "--cue", "morse")
    assert report["cache"]["clip"] == "miss"
    assert (report["marks"]["label"], report["marks"]["cue"]) == ("zh-CN", "morse")
    one, two = (decoded(path).astype(int)[:, :256] for path in (plain, shown))
    changed = np.abs(one - two).mean(axis=0)
    assert changed[220:, 60:200].mean() > 20
    assert changed[:200].mean() < 1
    assert np.abs(sound(plain) - sound(shown)).max() > 0.05
    again, twin = speak("twin.mp4", "--label", "zh-CN", "--cue", "morse")
    assert again["cache"]["clip"] == "hit"
    assert twin.read_bytes() == shown.read_bytes()
    told, _ = speak("other.mp4", "--label", "en", "--cue", "morse")
    assert told["cache"]["clip"] == "miss"


def test_exit_codes_of_verify(speak, cli, tmp_path, monkeypatch, home):
    _, clip = speak("a.mp4")
    assert cli("verify", flipped(clip, tmp_path / "bad.mp4")).code == ALTERED_CODE
    lost = remuxed(clip, tmp_path / "lost.mkv")
    assert "this machine made it" in cli("verify", lost).out
    monkeypatch.setenv("PERSONARE_HOME", str(tmp_path / "elsewhere"))
    elsewhere = cli("verify", lost)
    assert elsewhere.code == NOTHING_SAYS_CODE
    assert "may be generated all the same" in elsewhere.out
    (tmp_path / "text.mp4").write_text("no clip")
    assert cli("verify", tmp_path / "text.mp4").code == 3


@pytest.mark.skipif(not is_installed(), reason="pip install 'personare[provenance]'")
def test_signed_on_delivery_and_no_key_in_any_log(speak, cli, home):
    speak("first.mp4")
    setup = cli("marks", "setup", "--development", "-vv")
    assert (setup.code, "DEVELOPMENT" in setup.out, "trials" in setup.err) == (0, True, True)
    ended, clip = speak("signed.mp4", "-vv", "--debug")
    assert ended["cache"]["clip"] == "hit"
    assert ended["marks"]["c2pa"] == "development"
    found = cli("verify", clip, "-vv", "--trust", home / "marks" / "development-root.pem")
    assert "trusted" in found.out
    secret = (home / "marks" / "development-key.pem").read_text().splitlines()[1]
    for text in (setup.out, setup.err, str(ended), found.out, found.err, cli("marks", "show", "--json").out):
        assert secret not in text
        assert "PRIVATE KEY" not in text
    assert secret.encode() not in clip.read_bytes()
    told, _ = speak("off.mp4", "--marks", "off", "--marks-reason", "test")
    assert "c2pa" not in told["marks"]


def test_consent_is_kept_told_and_ends(speak, cli, portrait, short, tmp_path, home):
    day = datetime.now(UTC).date()
    create = (
        "avatar",
        "create",
        "anna",
        portrait,
        "--set",
        "size=256",
        "--replace",
        "--consent",
        "Anna, for us",
    )
    assert cli(*create, "--consent-until", day.isoformat()).code == 0
    _, clip = speak("anna.mp4", who="anna")
    assert "Anna, for us" in cli("avatar", "show", "anna").out
    assert len(cli("verify", clip, "--json").json["xmp"]["personare:consent"]) == 64
    assert cli("avatar", "export", "anna", tmp_path / "anna.avatar").code == 0
    assert cli("avatar", "import", tmp_path / "anna.avatar", "--name", "twin").code == 0
    kept = cli("avatar", "show", "twin", "--json").json["consent"]
    assert kept == {"text": "Anna, for us", "until": day.isoformat()}
    assert cli(*create, "--consent-until", (day - timedelta(days=1)).isoformat()).code == 0
    refused = cli("speak", "anna", short, "-o", tmp_path / "late.mp4")
    assert refused.code == 3
    assert "consent" in error_lines(refused)[0]
    assert not (tmp_path / "late.mp4").exists()
    assert cli(*create, "--consent-until", "soon").code == 3
