"""Where known sounds lie in a recording: Viterbi through a network's posteriors.

Two uses: a transcript's sounds are found in a recording (`align`), and the boundaries of labels
that jitter are moved to where a network hears them (`move_boundaries`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shards import UNKNOWN, Labels, Power, speech_level

from personare.voice.visemes import VISEME, VISEMES, visemes_of

Posteriors = NDArray[np.float32]

_SURELY_QUIET, _LOUD = 0.01, 0.1
"""Mean power, relative to speech: 20 and 10 dB under it."""
_SHORTEST_CLOSURE, _SHORTEST_SOUND = 3, 2
_LOST_BELOW = 0.12
_REACH = 4
_NEVER = -1e9


@dataclass(frozen=True)
class Aligned:
    """label: viseme per frame, UNKNOWN where the sound does not bear out the text. quality:
    mean log posterior in speech.
    """

    label: Labels
    quality: float


def align(heard: Mapping[str, Posteriors], power: Power, words: Sequence[Sequence[str]]) -> Aligned | None:
    """heard: what a network answers ("far" and "near", [n, 20] each) for the mel power [n, 40]
    of a recording. words: the IPA sounds of each. Silence may lie between words; None if the
    text is too long for the sound.
    """
    mixed = 0.6 * heard["far"] + 0.4 * heard["near"]
    posteriors, closed = mixed[:, : len(VISEMES)], (heard["far"] + heard["near"])[:, len(VISEMES)] / 2
    posteriors[:, VISEME["PP"]] = np.maximum(
        posteriors[:, VISEME["PP"]], np.where(closed > 0.3, 0.7 * closed, 0)
    )
    loudness = power.mean(axis=1) / speech_level(power)
    # a breath is silence even if the network takes it for a sound
    posteriors[:, 0] = np.maximum(posteriors[:, 0], np.where(loudness < _SURELY_QUIET, 0.5, 0.1))
    segments = _segments(words)
    found = _viterbi(np.log(posteriors + 0.01), segments)
    if found is None:
        return None
    label = np.array([viseme for viseme, _ in segments])[found].astype(np.int8)
    in_speech = label > 0
    quality = (
        float(np.log(posteriors + 0.01)[np.arange(len(label)), label][in_speech].mean())
        if in_speech.any()
        else -9.0
    )
    doubtful = np.zeros(len(label), bool)
    for segment in np.unique(found[label == VISEME["PP"]]):
        frames = np.flatnonzero(found == segment)
        if closed[frames].max() < _LOST_BELOW:
            doubtful[max(0, frames[0] - 2) : frames[-1] + 3] = True
    untold = (label == 0) & (posteriors[:, 0] < 0.3) & (loudness > _LOUD)
    doubtful |= np.convolve(untold, np.ones(15), "same") >= 12
    label[doubtful] = UNKNOWN
    return Aligned(label, quality)


def _segments(words: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """(viseme, least frames) in order; silence before, after and between words may be left out."""
    segments = [(VISEME["sil"], 2)]
    for word in words:
        for sound in word:
            for viseme, share in visemes_of(sound):
                least = _SHORTEST_CLOSURE if viseme == VISEME["PP"] else _SHORTEST_SOUND if share > 0.5 else 1
                if viseme != VISEME["sil"]:
                    segments.append((viseme, least))
        segments.append((VISEME["sil"], 2))
    return segments


def _viterbi(log_posteriors: Posteriors, segments: Sequence[tuple[int, int]]) -> NDArray[np.int64] | None:
    """The segment of each frame. A segment of least n frames is n states, of which only the
    last may be held.
    """
    segment = np.repeat(np.arange(len(segments)), [least for _, least in segments])
    viseme = np.array([viseme for viseme, _ in segments])[segment]
    states, frames = len(segment), len(log_posteriors)
    if states > frames:
        return None
    first = np.flatnonzero(np.diff(segment, prepend=-1))
    held = np.diff(segment, append=len(segments)) > 0
    leaps_from = np.full(states, -1)
    for k in range(2, len(segments)):
        if segments[k - 1][0] == VISEME["sil"]:
            leaps_from[first[k]] = first[k - 1] - 1
    emitted, index = log_posteriors[:, viseme], np.arange(states)
    score = np.full(states, _NEVER)
    score[[0, first[min(1, len(first) - 1)]]] = emitted[0, [0, first[min(1, len(first) - 1)]]]
    back = np.empty((frames, states), np.int32)
    for t in range(1, frames):
        ways = np.stack(
            [
                np.where(held, score, _NEVER),
                np.concatenate([[_NEVER], score[:-1]]),
                np.where(leaps_from >= 0, score[leaps_from] - 0.5, _NEVER),
            ]
        )
        chosen = ways.argmax(axis=0)
        back[t] = np.choose(chosen, [index, index - 1, leaps_from])
        score = ways.max(axis=0) + emitted[t]
    state = max((states - 1, first[-1] - 1), key=lambda end: score[end])
    path = np.empty(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = segment[state]
        state = back[t, state]
    return path


def move_boundaries(posteriors: Posteriors, label: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(boundaries, move of each, at most 40 ms): the moves that fit the posteriors [n, 15] best
    and keep the order.

    Closures were put on their dips already, so their boundaries are stiffer.
    """
    cuts = np.flatnonzero(np.diff(label)) + 1
    if not len(cuts):
        return cuts, cuts
    visemes = label[np.concatenate([[0], cuts])].astype(int)
    frames = len(label)
    total = np.concatenate([np.zeros((1, len(VISEMES))), np.cumsum(np.log(posteriors + 0.01), axis=0)])
    total = np.concatenate([total, np.zeros((frames + 1, 1))], axis=1)  # UNKNOWN costs nothing
    moves = np.arange(-_REACH, _REACH + 1)
    score, before, back = np.zeros(len(moves)), np.full(len(moves), -1), []
    for k, cut in enumerate(cuts):
        at = np.clip(cut + moves, 1, frames - 1)
        stiffness = 0.4 if VISEME["PP"] in visemes[k : k + 2] else 0.05
        ways = np.where(before[None, :] < at[:, None], score[None, :], _NEVER)
        back.append(ways.argmax(axis=1))
        score = ways.max(axis=1) + total[at, visemes[k]] - total[at, visemes[k + 1]] - stiffness * moves**2
        before = at
    chosen = [int(score.argmax())]
    for choices in reversed(back[1:]):
        chosen.append(int(choices[chosen[-1]]))
    return cuts, moves[chosen[::-1]]
