"""From phones to visemes, painted on the frames of a clip."""

import pytest

from personare.types import Phone
from personare.voice.visemes import VISEME, VISEMES, PhonePainter, visemes_of


@pytest.mark.parametrize(
    ("symbol", "names"),
    [
        ("p", ["PP"]),
        ("ˈb", ["PP"]),
        ("pʰ", ["PP"]),
        ("v", ["FF"]),
        ("pf", ["PP", "FF"]),
        ("tʃ", ["CH"]),
        ("tɕʰ", ["CH"]),
        ("dz", ["SS"]),
        ("ɑː", ["aa"]),
        ("ˈaɪ", ["aa", "ih"]),
        ("oʊ", ["oh", "ou"]),
        ("ɔːɹ", ["oh", "RR"]),
        ("aɪə", ["aa", "ih", "E"]),
        ("ɜːɹ", ["RR"]),
        ("ɚ", ["RR"]),
        ("ä", ["aa"]),
        ("ɑ̃", ["aa"]),
        ("ç", ["kk"]),
        ("", ["sil"]),
        (",", ["sil"]),
        ("。", ["sil"]),
        ("☃", []),
    ],
)
def test_sounds_become_visemes(symbol: str, names: list[str]) -> None:
    parts = visemes_of(symbol)
    assert [VISEMES[viseme] for viseme, _ in parts] == names
    assert not parts or sum(share for _, share in parts) == pytest.approx(1)


def test_painting_shares_the_frame_at_a_boundary() -> None:
    painter = PhonePainter()
    painter.add([Phone("a", 160, 400), Phone("s", 400, 640)])
    painted = painter.paint(0, 4)
    assert painted.covered.tolist() == [0, 1, 1, 1]
    assert painted.visemes[:, VISEME["aa"]].tolist() == [0, 1, 0.5, 0]
    assert painted.visemes[:, VISEME["SS"]].tolist() == [0, 0, 0.5, 1]


def test_a_diphthong_is_split_in_time() -> None:
    painter = PhonePainter()
    painter.add([Phone("aɪ", 0, 1600)])
    visemes = painter.paint(0, 10).visemes
    assert visemes[:6, VISEME["aa"]].tolist() == [1] * 6
    assert visemes[6:, VISEME["ih"]].tolist() == [1] * 4


@pytest.mark.parametrize("start", range(0, 160, 13))
def test_the_shortest_closure_fills_two_frames(start: int) -> None:
    painter = PhonePainter()
    painter.add([Phone("b", 800 + start, 801 + start), Phone("a", 801 + start, 3200)])
    closed = painter.paint(0, 20).closed
    assert closed.sum() >= 2
    assert closed.sum() <= 3


def test_painting_does_not_depend_on_how_far_ahead_phones_are_known_or_how_many_frames_are_asked() -> None:
    phones = [
        Phone(symbol, 230 * i, 230 * (i + 1))
        for i, symbol in enumerate(["m", "aɪ", "", "f", "oʊ", "pf", "ɹ"])
    ]
    whole, slow = PhonePainter(), PhonePainter()
    whole.add(phones)
    at_once = whole.paint(0, 12)
    for frame in range(12):
        slow.add([phone for phone in phones if frame * 160 <= phone.start < (frame + 1) * 160])
        one = slow.paint(frame, 1)
        for name in ("visemes", "closed", "labiodental", "covered"):
            assert getattr(one, name)[0].tobytes() == getattr(at_once, name)[frame].tobytes()


def test_overlapping_phones_share_a_frame_and_empty_ones_are_ignored() -> None:
    painter = PhonePainter()
    painter.add([Phone("a", 0, 160), Phone("s", 0, 160), Phone("p", 50, 50)])
    painted = painter.paint(0, 1)
    assert painted.visemes.sum() == 1
    assert painted.closed[0] == 0
