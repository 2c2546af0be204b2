"""Lists of jobs: read, or refused as a whole with the line that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personare.cache.keys import file_digest
from personare.errors import Busy, InvalidOption, PersonareError, UnreadableMedia
from personare.work.jobs import Defaults, folder_jobs, read_jobs
from personare.work.journal import Journal, alone

DEFAULTS = Defaults(engine="puppet", voice="en", options={"size": "256", "seed": "1"})


@pytest.fixture
def read(tmp_path):
    def call(*lines):
        path = tmp_path / "jobs.jsonl"
        text = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"\n".join(text) + b"\n")
        return read_jobs(path, tmp_path.resolve(), DEFAULTS)

    return call


def test_a_line_is_a_job_and_defaults_fill_it(read, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    lines = (
        {"portrait": "a.jpg", "speech": "v.wav", "output": "one.mp4"},
        b"  ",
        {
            "portrait": "anna",
            "text": "Hello.",
            "output": "sub/two.mov",
            "engine": "float",
            "voice": "de",
            "options": {"seed": 2},
        },
    )
    one, two = read(*lines)
    first, second = one.order, two.order
    assert (first.portrait, first.speech, first.text) == (tmp_path / "a.jpg", tmp_path / "v.wav", None)
    assert (first.engine, first.voice, first.options) == ("puppet", None, {"size": "256", "seed": "1"})
    assert (second.avatar, second.text, second.engine, second.voice) == ("anna", "Hello.", "float", "de")
    assert second.options == {"size": "256", "seed": 2}
    assert (second.output, two.name, two.where) == (
        tmp_path.resolve() / "sub" / "two.mov",
        "sub/two.mov",
        "jobs.jsonl line 3",
    )


def test_a_line_may_have_a_guide_instead_of_a_voice(read, tmp_path):
    (job,) = read({"portrait": "a.jpg", "guide": "dance.mp4", "output": "one.mp4", "engine": "mimicmotion"})
    assert (job.order.guide, job.order.kind) == (tmp_path / "dance.mp4", "guide")
    with pytest.raises(InvalidOption, match="exactly one of speech, text and guide"):
        read({**GOOD, "guide": "dance.mp4"})


def test_a_folder_without_voices_is_one_of_guides(tmp_path):
    for name in ("a.mp4", "b.mov", "b.png", "note.md"):
        (tmp_path / name).write_bytes(b"")
    given = (tmp_path, tmp_path.resolve() / "clips", Defaults(engine="mimicmotion"))
    alone = folder_jobs(*given, "me.jpg")
    assert [(job.order.guide.name, job.name) for job in alone] == [("a.mp4", "a.mp4"), ("b.mov", "b.mp4")]
    pairs = folder_jobs(*given)
    assert [job.order.portrait.name for job in pairs] == ["a.jpg", "b.png"]
    (tmp_path / "c.wav").write_bytes(b"")
    assert [job.order.speech.name for job in folder_jobs(*given, "me.jpg")] == ["c.wav"]


GOOD = {"portrait": "a.jpg", "speech": "v.wav", "output": "one.mp4"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({**GOOD, "portait": "x"}, "unknown field 'portait'"),
        ({"speech": "v.wav", "output": "one.mp4"}, "portrait"),
        ({**GOOD, "text": "both"}, "exactly one of speech, text and guide"),
        ({"portrait": "a.jpg", "output": "one.mp4"}, "exactly one of speech, text and guide"),
        ({**GOOD, "voice": "de"}, "voice is for text"),
        ({**GOOD, "output": "../one.mp4"}, "outside"),
        ({**GOOD, "output": "/etc/one.mp4"}, "outside"),
        ({**GOOD, "output": "a/../../one.mp4"}, "outside"),
        ({**GOOD, "output": "link/one.mp4"}, "outside"),
        ({**GOOD, "output": "."}, "outside"),
        ({**GOOD, "output": "one.exe"}, "does not end in"),
        ({**GOOD, "output": "one\u0000.mp4"}, "is not a path"),
        ({**GOOD, "output": "one\n.mp4"}, "is not a path"),
        ({**GOOD, "output": ""}, "output"),
        ({**GOOD, "speech": "v\u0000.wav"}, "is not a path"),
        ({**GOOD, "portrait": 7}, "portrait"),
        ({**GOOD, "options": [1]}, "options"),
        ({**GOOD, "options": {"size": [1]}}, "options"),
        ([1], "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"\xff\xfe", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"portrait":"a.jpg","portrait":"b.jpg","speech":"v.wav","output":"o.mp4"}', "given twice"),
        (
            b'{"portrait":"a.jpg","speech":"v.wav","output":"o.mp4","options":{"size":NaN}}',
            "not a JSON object",
        ),
    ],
)
def test_a_bad_line_is_named_in_one_line(read, tmp_path, line, said):
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(InvalidOption) as caught:
        read({**GOOD, "output": "zero.mp4"}, line)
    assert caught.value.message.startswith("jobs.jsonl line 2: ")
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_outputs_are_each_jobs_own_and_no_ones_input(read):
    with pytest.raises(InvalidOption, match=r"line 2 and jobs.jsonl line 1 have the same output"):
        read(GOOD, {**GOOD, "output": "x/../ONE.mp4"})
    with pytest.raises(InvalidOption, match=r"is read by jobs.jsonl line 2"):
        read(GOOD, {**GOOD, "speech": "one.mp4", "output": "two.mp4"})
    with pytest.raises(InvalidOption, match="no jobs"):
        read(b"")


def test_a_folder_is_voices_with_one_portrait_or_pairs(tmp_path):
    for name in ("b.wav", "a.wav", "a.jpg", "b.png", "c.txt", "old.mp4", ".hidden.wav"):
        (tmp_path / name).write_bytes(b"x")
    target = (tmp_path / "clips").resolve()
    jobs = folder_jobs(tmp_path, target, DEFAULTS, "anna")
    assert [(job.where, job.order.avatar, job.name) for job in jobs] == [
        ("a.wav", "anna", "a.mp4"),
        ("b.wav", "anna", "b.mp4"),
        ("c.txt", "anna", "c.mp4"),
    ]
    assert (jobs[0].order.voice, jobs[2].order.voice, jobs[2].order.text_file) == (
        None,
        "en",
        tmp_path / "c.txt",
    )
    pairs = folder_jobs(tmp_path, target, DEFAULTS)
    assert [job.order.portrait.name for job in pairs] == ["a.jpg", "b.png", "c.jpg"]
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InvalidOption, match=r"a.wav has more than one portrait: a.jpg and a.png"):
        folder_jobs(tmp_path, target, DEFAULTS)
    (tmp_path / "a.mp3").write_bytes(b"x")
    with pytest.raises(InvalidOption, match="the same output"):
        folder_jobs(tmp_path, target, DEFAULTS, "anna")
    with pytest.raises(UnreadableMedia):
        folder_jobs(tmp_path / "none", target, DEFAULTS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidOption, match="no voice"):
        folder_jobs(tmp_path / "empty", target, DEFAULTS)


def test_a_portrait_is_never_overwritten_by_its_own_clip(tmp_path):
    for name in ("a.wav", "a.mp4"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InvalidOption, match="is read by"):
        folder_jobs(tmp_path, tmp_path.resolve(), DEFAULTS)


def test_the_journal_believes_only_whole_lines_and_unchanged_clips(tmp_path):
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    one.write_bytes(b"clip one")
    two.write_bytes(b"clip two")
    journal = Journal(tmp_path, file_digest)
    journal.add("k1", one)
    journal.add("k2", two)
    journal.path.write_bytes(journal.path.read_bytes()[:-20])
    again = Journal(tmp_path, file_digest)
    assert again.has("k1", one)
    assert not again.has("k1 of other options", one)
    assert not again.has("k2", two)
    again.add("k2", two)
    last = Journal(tmp_path, file_digest)
    assert last.has("k1", one)
    assert last.has("k2", two)
    one.write_bytes(b"changed")
    two.unlink()
    assert not last.has("k1", one)
    assert not last.has("k2", two)


@pytest.mark.parametrize(
    "text", [b"[1]\n\x00\xff\n", b'{"output": 1}\n', b"[" * 70_000, b'{"output":"a","key":{},"digest":[]}\n']
)
def test_a_strange_journal_is_no_journal(tmp_path, text):
    (tmp_path / ".personare-batch.jsonl").write_bytes(text)
    (tmp_path / "a").write_bytes(b"x")
    assert not Journal(tmp_path, file_digest).has("k", tmp_path / "a")


def test_two_batches_do_not_share_a_folder(tmp_path):
    with alone(tmp_path), pytest.raises(Busy), alone(tmp_path):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(PersonareError), alone(tmp_path / "file"):
        pass


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_other_programs(tmp_path, encoding, end):
    """PowerShell writes UTF-16 with `>`."""
    path = tmp_path / "jobs.jsonl"
    lines = [{**GOOD, "output": f"语{i}.mp4"} for i in range(3)]
    path.write_bytes(end.join(json.dumps(line, ensure_ascii=False) for line in lines).encode(encoding))
    assert [job.name for job in read_jobs(path, tmp_path.resolve(), DEFAULTS)] == [
        line["output"] for line in lines
    ]


def test_a_pipe_or_a_device_is_no_list(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UnreadableMedia, match="not a regular file"):
            read_jobs(place, tmp_path.resolve(), DEFAULTS)


@pytest.mark.parametrize("fps", ["1e99999999", "1e-99999999"])
def test_a_rate_with_an_exponent_is_refused_by_the_engine(fps):
    from personare.engines.engine import load_engine

    with pytest.raises(InvalidOption, match="frame rate"):
        load_engine("puppet").read_options({"fps": fps})


@pytest.mark.parametrize("fps", [None, [25], {"rate": 25}])
def test_what_is_no_rate_at_all_is_refused_by_the_engine(fps):
    from personare.engines.engine import load_engine

    with pytest.raises(InvalidOption, match="a frame rate is a number or a text"):
        load_engine("float").read_options({"fps": fps})


def test_a_comma_at_the_end_of_a_line_is_named(read):
    with pytest.raises(InvalidOption) as caught:
        read(b'{"portrait": "p.jpg", "speech": "a.wav", "output": "a.mp4"},')
    assert "no comma at its end" in caught.value.hint
