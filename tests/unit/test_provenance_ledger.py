"""The clips of this machine: found by content, and by how the mouth moves."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.motion import ARKIT, FLAME, Space
from personare.provenance.fingerprint import Fingerprint, MouthSeen
from personare.provenance.ledger import Ledger, Made
from personare.provenance.marks import content_id


def mouth(seed, seconds, fps=25.0):
    """Something like the opening of a mouth: smooth, never twice the same."""
    steps = np.random.default_rng(seed).normal(size=int(seconds * fps) + 10)
    return np.convolve(steps, np.hanning(8), "same")[: int(seconds * fps)]


def made(seed):
    return Made(content_id(f"{seed:032x}"), "2026", f"{seed}.mp4", "puppet 6", "", "", 1.0, "on", "")


@pytest.fixture
def ledger(tmp_path):
    kept = Ledger(tmp_path)
    for seed in range(12):
        kept.add(made(seed), Fingerprint.of_series(mouth(seed, 12), 25).to_bytes())
    return kept


def test_found_by_content(ledger):
    assert ledger.find(content_id(f"{7:032x}")) == made(7)
    assert ledger.find(content_id("f" * 64)) is None
    assert ledger.find("") is None


def test_a_stretch_at_another_rate_and_scale_with_noise_is_found(ledger):
    whole = mouth(7, 12, 25)
    seen = np.interp(np.arange(0, 8, 1 / 30), np.arange(len(whole)) / 25 - 2.4, whole)
    seen = 0.03 * seen + 0.004 * np.random.default_rng(0).normal(size=len(seen))
    seen[50:55] = np.nan
    found = ledger.most_like(Fingerprint.of_series(seen, 30))
    assert found is not None
    assert found[0] == made(7)
    assert found[1] < 1


def test_another_mouth_a_short_one_and_a_still_one_are_not_found(ledger):
    for series in (mouth(99, 12), mouth(7, 3), np.zeros(300), np.full(300, np.nan), np.zeros(0)):
        assert ledger.most_like(Fingerprint.of_series(series, 25)) is None


def test_a_second_making_keeps_the_time_and_the_mouth(ledger):
    again = Made(content_id(f"{7:032x}"), "2027", "again.mp4", "puppet 6", "", "", 1.0, "off", "a test")
    ledger.add(again)
    kept = ledger.find(again.id)
    assert (kept.time, kept.name, kept.marks, kept.reason) == ("2026", "again.mp4", "off", "a test")
    assert ledger.most_like(Fingerprint.of_series(mouth(7, 12), 25))[0].name == "again.mp4"


def test_a_damaged_ledger_stops_nothing(ledger, tmp_path, caplog):
    (tmp_path / "made.sqlite").write_bytes(b"no database" * 100)
    ledger.add(made(1))
    assert ledger.find(made(1).id) is None
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("space", [ARKIT, FLAME])
def test_a_mouth_is_read_from_motion_in_any_cut(space):
    column = ARKIT.columns.index("jawOpen") if space is ARKIT else FLAME.columns.index("jawX")
    rows = np.zeros((200, space.width), np.float32)
    rows[:, column] = mouth(3, 8)
    whole, cut = MouthSeen(space, Fraction(25)), MouthSeen(space, Fraction(25))
    whole.see(rows)
    for piece in np.array_split(rows, 7):
        cut.see(piece)
    assert whole.to_bytes() == cut.to_bytes()
    assert Fingerprint.of_bytes(whole.to_bytes()).likeness(Fingerprint.of_series(mouth(3, 8), 25)) > 0.99


def test_motion_whose_mouth_is_not_known_leaves_no_fingerprint():
    for space in (None, Space("other", ("a",))):
        seen = MouthSeen(space, Fraction(25))
        seen.see(np.ones((50, 1), np.float32))
        assert seen.to_bytes() == b""
