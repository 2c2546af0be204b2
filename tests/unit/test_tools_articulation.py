"""The labels that the voice network is trained on: painting, closures on their dips, forced
alignment.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

from personare.types import Phone
from personare.voice.visemes import FRAME_SAMPLES, VISEME, VISEMES

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "articulation"))
from alignment import align, move_boundaries
from shards import UNKNOWN, Utterance, closures_on_dips, load, mel_power, paint, save, speech_level


def phones(*said: tuple[str, int]) -> list[Phone]:
    """(symbol, frames) one after the other."""
    ends = np.cumsum([frames for _, frames in said]) * FRAME_SAMPLES
    return [
        Phone(symbol, int(end) - frames * FRAME_SAMPLES, int(end))
        for (symbol, frames), end in zip(said, ends, strict=True)
    ]


def speech_with_dip(first: int, last: int, frames: int = 60) -> np.ndarray:
    power = np.ones((frames, 40), np.float32)
    power[first:last] = 1e-3
    return power


def certain(label: np.ndarray) -> dict[str, np.ndarray]:
    """A network that hears exactly this."""
    answers = np.full((len(label), len(VISEMES) + 5), 1e-3, np.float32)
    answers[np.arange(len(label)), label] = 1
    answers[:, len(VISEMES)] = label == VISEME["PP"]
    return {"far": answers, "near": answers.copy()}


def test_phones_become_classes_and_an_unknown_sound_stays_unknown() -> None:
    label = paint(phones(("", 3), ("m", 4), ("aɪ", 10), ("☃", 2)), 20)
    expected = (
        [VISEME["sil"]] * 3
        + [VISEME["PP"]] * 4
        + [VISEME["aa"]] * 6
        + [VISEME["ih"]] * 4
        + [UNKNOWN] * 2
        + [VISEME["sil"]]
    )
    assert label.tolist() == expected


def test_a_closure_moves_onto_its_dip_and_no_further() -> None:
    label = paint(phones(("a", 28), ("b", 6), ("a", 26)), 60)
    moved = closures_on_dips(speech_with_dip(30, 36), label)
    assert np.flatnonzero(moved == VISEME["PP"]).tolist() == list(range(30, 36))
    assert set(moved.tolist()) == {VISEME["PP"], VISEME["aa"]}
    assert (closures_on_dips(speech_with_dip(45, 50), label) == label).all()
    assert (closures_on_dips(np.ones((60, 40), np.float32), label) == label).all()


def test_a_shard_gives_back_what_was_saved(tmp_path: Path) -> None:
    power = mel_power(np.random.default_rng(0).normal(0, 0.05, 4800).astype(np.float32))
    label = np.arange(30, dtype=np.int8) % len(VISEMES)
    save(
        tmp_path / "s.npz",
        "prompts",
        [Utterance(power, label, 7), Utterance(power[:20], label[:20], 8)],
        [label, label[:20]],
    )
    source, [first, second] = load(tmp_path / "s.npz")
    assert (source, first.voice, second.voice, len(second.power)) == ("prompts", 7, 8, 20)
    assert first.label.tolist() == label.tolist()
    assert first.power == pytest.approx(power, rel=5e-3, abs=1e-6)
    assert speech_level(first.power) == pytest.approx(speech_level(power), rel=1e-2)


def test_a_transcript_is_found_where_it_sounds_with_a_pause_between_words() -> None:
    truth = paint(phones(("", 12), ("m", 6), ("a", 9), ("", 15), ("p", 5), ("i", 8), ("", 10)), 65).astype(
        int
    )
    power = np.where(truth == VISEME["sil"], 1e-3, 1.0)[:, None] * np.ones((1, 40), np.float32)
    aligned = align(certain(truth), power, [["m", "a"], ["p", "i"]])
    assert aligned is not None
    assert aligned.label.tolist() == truth.tolist()
    assert aligned.quality > -0.1


def test_a_closure_that_nobody_hears_is_unknown_and_a_text_too_long_is_refused() -> None:
    heard = paint(
        phones(
            ("a", 30),
        ),
        30,
    ).astype(int)
    power = np.ones((30, 40), np.float32)
    aligned = align(certain(heard), power, [["a", "p", "a"]])
    assert aligned is not None
    assert (aligned.label == UNKNOWN).any()
    assert VISEME["PP"] not in aligned.label
    assert align(certain(heard), power, [["a", "t"] * 20]) is None


def test_boundaries_move_to_where_they_are_heard_in_order() -> None:
    said = paint(phones(("a", 20), ("t", 10), ("i", 20)), 50)
    heard = paint(phones(("a", 23), ("t", 5), ("i", 22)), 50).astype(int)
    cuts, moves = move_boundaries(certain(heard)["near"][:, : len(VISEMES)], said)
    assert (cuts + moves).tolist() == [23, 28]
    nothing, still = move_boundaries(certain(heard)["near"][:, : len(VISEMES)], np.zeros(50, np.int8))
    assert len(nothing) == len(still) == 0
