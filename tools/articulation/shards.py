"""What passes between the scripts of this folder: labelled speech as log-mel frames, one .npz
per source.

mel float16 [n, 40] natural log of mel power · label int8 [n] viseme per 10 ms, -1 unknown ·
aligned int8 [n] the same with boundaries moved to where a network hears them (refine.py; absent
before) · utterances int32 [m, 3] first frame, frames, voice · source str. Frames and features
are those of `personare.voice.features`, so what is trained is what is heard later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personare.types import Phone, Samples
from personare.voice.features import MelStream
from personare.voice.visemes import FRAME_SAMPLES, VISEME, visemes_of

UNKNOWN = -1
_SMALLEST_POWER = 1e-7
_CONSONANT_BANDS = slice(12, 34)
"""600 to 5000 Hz: p, b and m leave a dip there."""

Power = NDArray[np.float32]
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class Utterance:
    """power: mel power [n, 40]; label: viseme per frame [n]; voice: a number per speaker."""

    power: Power
    label: Labels
    voice: int


def mel_power(samples: Samples) -> Power:
    """[len(samples) // 160, 40]: what the product's own front end hears, all of it."""
    frames = len(samples) // FRAME_SAMPLES
    return MelStream().push(np.concatenate([samples, np.zeros(3 * FRAME_SAMPLES, np.float32)]))[:frames]


def speech_level(power: Power) -> float:
    """Mean power of the frames within 30 dB of the loud ones."""
    per_frame = power.mean(axis=1)
    return float(per_frame[per_frame >= np.percentile(per_frame, 95) * 1e-3].mean()) + 1e-9


def paint(phones: Sequence[Phone], frames: int) -> Labels:
    """Classes per frame from phones with times; a sound that the table lacks is UNKNOWN."""
    label = np.zeros(frames, np.int8)
    for phone in phones:
        done, parts = 0.0, visemes_of(phone.symbol) or [(UNKNOWN, 1.0)]
        for viseme, share in parts:
            first, last = (
                round((phone.start + (phone.end - phone.start) * part) / FRAME_SAMPLES)
                for part in (done, done + share)
            )
            label[max(first, 0) : max(last, 0)] = viseme
            done += share
    return label


def save(
    path: Path, source: str, utterances: Sequence[Utterance], aligned: Sequence[Labels] | None = None
) -> None:
    lengths = [len(utterance.label) for utterance in utterances]
    table = np.stack([np.cumsum([0, *lengths[:-1]]), lengths, [u.voice for u in utterances]], axis=1)
    arrays = {
        "mel": np.concatenate([np.log(u.power + _SMALLEST_POWER).astype(np.float16) for u in utterances]),
        "label": np.concatenate([u.label for u in utterances]),
        "utterances": table.astype(np.int32),
        "source": np.array(source),
    }
    if aligned is not None:
        arrays["aligned"] = np.concatenate(list(aligned))
    np.savez_compressed(path, **arrays)


def load(path: Path) -> tuple[str, list[Utterance]]:
    """(source, utterances); labels are the aligned ones, or else the raw ones with closures
    moved onto their dips.
    """
    with np.load(path) as shard:
        mel, table = shard["mel"], shard["utterances" if "utterances" in shard else "utt"][:, :3]
        refined = "aligned" in shard
        label, source = shard["aligned" if refined else "label"], str(shard["source"])
    utterances = []
    for first, frames, voice in table:
        power = np.exp(mel[first : first + frames].astype(np.float32))
        own = label[first : first + frames]
        utterances.append(Utterance(power, own if refined else closures_on_dips(power, own), int(voice)))
    return source, utterances


def closures_on_dips(power: Power, label: Labels) -> Labels:
    """A copy in which each p, b, m away from pauses lies on the energy dip near it: phone times
    jitter by 20 ms.

    The dip must be 9 dB deep; a closure ends where half of its depth is climbed, at most 40 ms
    from where it was.
    """
    level_db = 10 * np.log10(power[:, _CONSONANT_BANDS].sum(axis=1) + 1e-5)
    moved = label.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], label == VISEME["PP"], [0]]).astype(int)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        in_speech = (
            first >= 15
            and last <= len(label) - 15
            and label[first - 8 : first].all()
            and label[last : last + 8].all()
        )
        if not in_speech or (label[first - 6 : first] == VISEME["PP"]).any():
            continue
        bottom = first - 3 + int(level_db[first - 3 : last + 3].argmin())
        low = level_db[bottom]
        depth = min(level_db[bottom - 10 : bottom + 1].max(), level_db[bottom : bottom + 11].max()) - low
        if depth < 9:
            continue
        begin = end = bottom
        while begin > bottom - 10 and level_db[begin] < low + 0.5 * depth:
            begin -= 1
        while end < bottom + 10 and level_db[end] < low + 0.5 * depth:
            end += 1
        begin, end = max(begin + 1, first - 4), min(end, last + 4)
        if end - begin >= 2:
            moved[first:last] = np.where(np.arange(first, last) < begin, label[first - 1], label[last])
            moved[begin:end] = VISEME["PP"]
    return moved
