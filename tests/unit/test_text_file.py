"""Texts of other programs: read as what they are, or refused; never read as something else
without a word.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from personare.errors import UnreadableMedia
from personare.media.text_file import MAX_BYTES, decode_text, read_text_file

GERMAN = "Grüße aus München, schöne Straße."
CHINESE = "你好，世界。今天天气很好。"


@pytest.mark.parametrize("text", ["Good morning.", GERMAN, CHINESE, "😀 \r\n x"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_and_without_its_mark(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding), "a.txt") == text


@pytest.mark.parametrize(
    "text_encoding", ["utf-16-be", "utf-16-le"]
)  # fmt: skip
def test_utf_16_without_its_mark_shows_by_its_zeros(text_encoding: str) -> None:
    assert decode_text(GERMAN.encode(text_encoding), "a.txt") == GERMAN
    mark = {"utf-16-be": b"\xfe\xff", "utf-16-le": b"\xff\xfe"}[text_encoding]
    assert decode_text(mark + CHINESE.encode(text_encoding), "a.txt") == CHINESE


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"), ("Déjà vu à l'été. “Oui” — 5 €", "cp1252"), ("¿Cómo? El niño.", "cp1252"),
        (CHINESE, "gbk"), ("欢迎来到上海办公室，请坐。 Welcome!", "gbk"),
    ],
)  # fmt: skip
def test_two_old_encodings_are_read_with_a_warning(
    text: str, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("personare").propagate = True
    assert decode_text(text.encode(encoding), "a.txt") == text
    assert "no UTF-8 text" in caplog.text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Привет, как дела?", "cp1251"), ("Привет, как дела?", "koi8-r"),
        ("今日は東京へ行きます。", "shift-jis"), ("今日は東京へ行きます。", "euc-jp"),
        ("안녕하세요 세계 여러분", "euc-kr"), ("歡迎來到台北，請坐。", "big5"),
        ("Zażółć gęślą jaźń", "cp1250"), ("Καλημέρα κόσμε", "cp1253"), ("مرحبا بالعالم", "cp1256"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused_and_never_guessed(text: str, encoding: str) -> None:
    with pytest.raises(UnreadableMedia, match="cannot be told") as caught:
        decode_text(text.encode(encoding), "a.txt")
    assert "UTF-8" in caught.value.hint


def test_a_mark_that_lies_is_refused() -> None:
    with pytest.raises(UnreadableMedia, match="UTF-16-LE and is not"):
        decode_text(b"\xff\xfea\x00b", "a.txt")


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(3 << 30)
    ended = []
    for file in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "sparse"):
        with pytest.raises(UnreadableMedia) as caught:
            read_text_file(file)
        ended.append(caught.value.message)
    assert len(ended) == 3
    assert "larger than" in ended[2]


def test_stdin_is_read_up_to_the_limit(cli, portrait: Path, tmp_path: Path, monkeypatch) -> None:
    reader, writer = os.pipe()

    def fill() -> None:
        with open(writer, "wb") as pipe:  # noqa: PTH123
            for _ in range(MAX_BYTES // 65536 + 1):
                pipe.write(b"a" * 65536)

    threading.Thread(target=fill, daemon=True).start()
    with open(reader, encoding="utf-8") as stdin:  # noqa: PTH123
        monkeypatch.setattr("sys.stdin", stdin)
        ended = cli("speak", portrait, "--text-file", "-", "-o", tmp_path / "a.mp4")
        assert ended.code == 3
        assert "stdin holds more" in ended.err
        stdin.buffer.read()


@pytest.mark.slow
def test_phones_and_texts_that_are_pipes(cli, portrait: Path, voice: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for given in (tmp_path / "pipe", "/dev/zero"):
        assert cli("score", voice, "--phones", given).code == 3
        assert cli("speak", portrait, "--text-file", given, "-o", tmp_path / "a.mp4").code == 3
