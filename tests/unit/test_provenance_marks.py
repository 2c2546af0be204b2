"""Marks in files: written beside the media, read back by ourselves and by FFmpeg, and the
verdict on whatever others made of the file.
"""

from __future__ import annotations

import io
import json
import struct

import av
import numpy as np
import pytest

from personare.errors import InvalidOption, UnreadableMedia
from personare.media.iso_boxes import claims_too_much
from personare.provenance.boxes import C2PA, XMP, boxes, read_embedded, with_marks
from personare.provenance.content import content_of
from personare.provenance.ledger import Ledger, Made
from personare.provenance.marks import (
    AIGC,
    SOURCE_TYPE,
    checked_producer,
    content_id,
    now,
    read_aigc,
    read_xmp,
    says_generated,
    time_text,
)
from personare.provenance.verify import verify
from tests.conftest import MADE_AT
from tests.unit.marked_clips import (
    decoded,
    flipped,
    mark_of,
    reencoded,
    remuxed,
    write_marked,
    write_plain,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("marked")


@pytest.fixture(scope="module", params=["faststart", "fragmented"])
def plain(request, folder):
    return write_plain(folder / f"{request.param}.mp4", fragmented=request.param == "fragmented")


@pytest.fixture(scope="module")
def marked(plain):
    return write_marked(plain.with_suffix(".marked.mp4"), plain)


def kinds(path):
    with path.open("rb") as file:
        return [box.kind for box in boxes(file, 0, path.stat().st_size)]


def test_ffmpeg_reads_the_marks(marked, plain):
    mark = mark_of(plain)
    with av.open(str(marked), options={"export_xmp": "1"}) as container:
        aigc = json.loads(container.metadata[AIGC])
        assert container.metadata["xmp"].strip("\0") == mark.xmp().decode()
    assert aigc == {
        "Label": "1", "ContentProducer": "Bärbel & <Co>", "ProduceID": mark.id, "ReservedCode1": "",
        "ContentPropagator": "", "PropagateID": "", "ReservedCode2": "",
    }  # fmt: skip
    xmp = read_xmp(mark.xmp())
    assert xmp["xmp:CreateDate"] == "2026-11-28T12:00:00Z"
    assert xmp["Iptc4xmpExt:DigitalSourceType"] == SOURCE_TYPE
    assert xmp["photoshop:Credit"] == "Bärbel & <Co>"


def test_pictures_sound_and_seeking_are_as_before(marked, plain):
    assert content_of(marked) == content_of(plain)
    assert np.array_equal(decoded(marked), decoded(plain))
    with av.open(str(marked)) as container:
        container.seek(2_000_000)
        assert next(container.decode(video=0)).time > 0
    with marked.open("rb") as file:
        assert not claims_too_much(file)


def test_the_layout_stays(marked, plain):
    before, after = kinds(plain), kinds(marked)
    assert after.index(b"moov") < after.index(b"mdat")
    assert [kind for kind in after if kind != b"uuid"] == before
    assert (after[-1] == b"mfra") == (before[-1] == b"mfra")


def test_a_file_that_has_another_layout_is_not_marked(tmp_path):
    with pytest.raises(Exception, match="no single index"):
        with_marks(io.BytesIO(struct.pack(">I4s", 8, b"free")), io.BytesIO(), {}, b"")


def test_a_stream_tells_it_in_its_first_bytes(tmp_path, folder):
    class Pipe:
        data = b""

        def write(self, piece):
            self.data += piece
            return len(piece)

    mark = mark_of(write_plain(folder / "any.mp4"))
    pipe = Pipe()
    write_plain(pipe, metadata=mark.stream_tags())
    beginning = pipe.data[: pipe.data.index(b"moof") - 4]
    with io.BytesIO(beginning) as file:
        found = read_embedded(file)
    assert read_aigc(found.tags[AIGC])["ProduceID"] == mark.id
    path = tmp_path / "stream.mp4"
    path.write_bytes(pipe.data)
    assert verify(path).xmp["xmpMM:DocumentID"] == mark.id


def test_verdicts(marked, plain, tmp_path):
    def told(path):
        found = verify(path)
        return found.verdict, found.generated, found.content_fits

    assert told(marked) == ("marked", True, True)
    assert told(plain) == ("unmarked", None, None)
    assert told(remuxed(marked, tmp_path / "r.mp4")) == ("unmarked", None, None)
    assert told(remuxed(marked, tmp_path / "k.mkv", keeping=(AIGC,))) == ("marked", True, True)
    assert told(remuxed(marked, tmp_path / "c.mp4", until=2)) == ("unmarked", None, None)
    assert told(remuxed(marked, tmp_path / "t.mp4", keeping=(AIGC,), until=2)) == ("altered", True, False)
    assert told(reencoded(marked, tmp_path / "e.mp4")) == ("unmarked", None, None)
    assert told(flipped(marked, tmp_path / "f.mp4")) == ("altered", True, False)
    (tmp_path / "short.mp4").write_bytes(marked.read_bytes()[:-3000])
    assert told(tmp_path / "short.mp4")[0] in ("altered", "marked")


def test_a_clip_of_this_machine_is_known_by_its_content_when_its_marks_are_lost(marked, tmp_path):
    made = Made(
        content_id(content_of(marked).digest), "2026-11-28T12:00:00Z", "me.mp4", "puppet 6", "", "e" * 64,
        3.0, "on", "",
    )  # fmt: skip
    Ledger().add(made)
    lost = verify(remuxed(marked, tmp_path / "r.mkv"))
    assert (lost.verdict, lost.made) == ("known", made)
    assert verify(reencoded(marked, tmp_path / "e.mp4")).verdict == "unmarked"


def test_marks_of_strangers_are_read_and_not_held_to_our_ids(folder, tmp_path):
    plain = write_plain(folder / "strange.mp4")
    other = '{"Label":"1","ContentProducer":"Somebody","ProduceID":"42"}'
    for tags, xmp, verdict, generated in (
        ({AIGC: other}, b"<broken", "marked", True),
        ({AIGC: '{"Label":"0"}'}, b"", "marked", False),
        ({AIGC: "[" * 5000}, b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "unmarked", None),
        ({"title": "holiday"}, b"<x/>", "unmarked", None),
    ):
        with plain.open("rb") as source, (tmp_path / "s.mp4").open("w+b") as target:
            with_marks(source, target, tags, xmp)
        found = verify(tmp_path / "s.mp4")
        assert (found.verdict, found.generated, found.content_fits) == (verdict, generated, None)
    (tmp_path / "text.mp4").write_text("no clip")
    with pytest.raises(UnreadableMedia):
        verify(tmp_path / "text.mp4")


def box(kind, content=b"", size=None):
    return struct.pack(">I4s", len(content) + 8 if size is None else size, kind) + content


@pytest.mark.parametrize(
    "hostile",
    [
        box(b"moov", size=0xFFFFFFFF),
        box(b"moov", box(b"meta", box(b"keys", bytes(8) + box(b"mdta", size=0) * 50) + box(b"ilst", size=0))),
        box(b"uuid", XMP, size=1) + bytes(8),
        box(b"uuid", XMP + b"x" * 100, size=1 << 30),
        box(b"uuid", C2PA[:3]),
        box(b"free") * 200_000,
        box(
            b"moov",
            box(b"meta", box(b"keys", bytes(8)) + box(b"ilst", box(b"\xff\xff\xff\xff", box(b"data")))),
        ),
        box(b"free", size=7) + b"\0" * 100,
    ],
    ids=["endless", "keys", "long size", "claims a gigabyte", "cut uuid", "many", "no such key", "too small"],
)
def test_hostile_boxes_come_to_nothing(hostile):
    found = read_embedded(io.BytesIO(hostile))
    assert (found.tags, found.xmp, found.signed) == ({}, None, False)


def test_a_table_that_claims_gigabytes_of_keys_is_refused_and_a_text_with_the_word_is_not(folder, tmp_path):
    plain = write_plain(folder / "keys.mp4")
    told = write_plain(folder / "told.mp4", metadata={"comment": "my keys are here, the keys abc"})
    assert verify(told).content
    data = bytearray(write_marked(folder / "many.mp4", plain).read_bytes())
    struct.pack_into(">I", data, data.index(b"keys") + 8, 100_000_000)
    (tmp_path / "many.mp4").write_bytes(data)
    with pytest.raises(UnreadableMedia, match="claims more"):
        verify(tmp_path / "many.mp4")


def test_the_time_can_be_pinned_and_the_producer_is_checked(monkeypatch):
    assert now().timestamp() == int(MADE_AT)
    assert time_text(now()) == "2026-09-21T14:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(InvalidOption, match="SOURCE_DATE_EPOCH"):
        now()
    assert checked_producer("  Anna \n Berg ") == "Anna Berg"
    for name in ("", " ", "a\0b", "x" * 201):
        with pytest.raises(InvalidOption, match="producer"):
            checked_producer(name)


def test_only_marks_of_generated_media_say_so():
    assert says_generated(None, {"Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE})
    camera = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    assert not says_generated(None, {"Iptc4xmpExt:DigitalSourceType": camera})
    assert not says_generated(None, None)
