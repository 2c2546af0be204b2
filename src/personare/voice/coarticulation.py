"""From visemes to a mouth that moves: neighbouring sounds share their gestures, closed lips
stay closed.

Cohen and Massaro (1993), "Modeling coarticulation in synthetic visual speech", applied to
posteriors p_v at 100 Hz: for each group of curves g

    F_g(t) = sum_v a_gv (K_gv * p_v)(t) T_gv / sum_v a_gv (K_gv * p_v)(t)

with targets T, strengths a and kernels K = half Gaussian (sigma .85 h), half 2^(-|t| / h). The
kernels here look only 30 ms ahead and their past side is .3 times as long: whole kernels
smooth too much, and what is left of weight is the jaw's (jaw.py).

Targets, strengths and gains were chosen in the rig and on decoded clips
(benchmarks/quality.py): the rendered opening follows the phones of espeak-ng voices with r of
about .8, reaches as far as people's mouths do and correlates with the mouth's width and the
chin as theirs do, with every closure kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.motion import ARKIT_UNITS, UNIT
from personare.voice.articulation import ArticulationFrames
from personare.voice.contact import AHEAD_FRAMES, Contact
from personare.voice.jaw import Jaw
from personare.voice.prosody import Prosody, ProsodyFrame, RunningQuantile
from personare.voice.visemes import VISEMES

LOOKAHEAD_FRAMES = AHEAD_FRAMES
"""Curves of frame t are settled once the articulation of frame t + 3 is known."""

_TONGUE = len(ARKIT_UNITS)
_CHANNELS = len(ARKIT_UNITS) + 1


def _channels(*names: str) -> list[int]:
    """Positions of ARKit units; a name without a side means both sides; "tongue" is the channel
    after them.
    """
    known = {**UNIT, "tongue": _TONGUE}
    return [
        known[full]
        for name in names
        for full in ((name,) if name in known else (f"{name}Left", f"{name}Right"))
    ]


_JAW, _SHUTTING = _channels("jawOpen"), _channels("mouthClose")
_ROUNDING = _channels("mouthFunnel", "mouthPucker", "mouthStretch", "mouthSmile", "mouthDimple")
_CORNERS = _channels("mouthStretch", "mouthDimple")
_LIFTS = _channels("mouthLowerDown", "mouthUpperUp")
_LIFTED = np.array([1.35, 1.35, 0.65, 0.65])
"""How much of what lips open by themselves is the lower one's, left and right, and the upper's."""
_PARTING = _channels("mouthLowerDown", "mouthUpperUp", "mouthFunnel")
"""What must be zero for lips to meet, but for the jaw."""

_TARGETS: Mapping[str, Mapping[str, float]] = {
    "sil": {},
    "PP": {"mouthPress": 0.14, "mouthRollLower": 0.20, "mouthRollUpper": 0.16},
    "FF": {"jawOpen": 0.05, "mouthRollLower": 0.45, "mouthUpperUp": 0.22},
    "TH": {"jawOpen": 0.06, "mouthLowerDown": 0.18, "mouthUpperUp": 0.10, "tongue": 0.8},
    "DD": {
        "jawOpen": 0.06,
        "mouthLowerDown": 0.16,
        "mouthUpperUp": 0.10,
        "mouthStretch": 0.14,
        "tongue": 0.9,
    },
    "kk": {"jawOpen": 0.12, "mouthLowerDown": 0.16, "mouthUpperUp": 0.10, "tongue": 0.1},
    "CH": {
        "jawOpen": 0.04,
        "mouthFunnel": 0.44,
        "mouthPucker": 0.30,
        "mouthLowerDown": 0.16,
        "mouthUpperUp": 0.12,
        "tongue": 0.5,
    },
    "SS": {
        "jawOpen": 0.03,
        "mouthStretch": 0.28,
        "mouthSmile": 0.10,
        "mouthLowerDown": 0.34,
        "mouthUpperUp": 0.18,
        "tongue": 0.5,
    },
    "nn": {
        "jawOpen": 0.07,
        "mouthLowerDown": 0.16,
        "mouthUpperUp": 0.06,
        "mouthStretch": 0.14,
        "tongue": 1.0,
    },
    "RR": {"jawOpen": 0.03, "mouthFunnel": 0.32, "mouthPucker": 0.28, "mouthLowerDown": 0.12, "tongue": 0.4},
    "aa": {
        "jawOpen": 0.78,
        "mouthStretch": 0.20,
        "mouthDimple": 0.14,
        "mouthLowerDown": 0.50,
        "mouthUpperUp": 0.22,
    },
    "E": {
        "jawOpen": 0.42,
        "mouthStretch": 0.32,
        "mouthSmile": 0.16,
        "mouthLowerDown": 0.44,
        "mouthUpperUp": 0.20,
        "tongue": 0.1,
    },
    "ih": {
        "jawOpen": 0.19,
        "mouthStretch": 0.42,
        "mouthSmile": 0.22,
        "mouthLowerDown": 0.38,
        "mouthUpperUp": 0.18,
        "tongue": 0.3,
    },
    "oh": {"jawOpen": 0.44, "mouthFunnel": 0.36, "mouthPucker": 0.30, "mouthLowerDown": 0.10},
    "ou": {"jawOpen": 0.04, "mouthPucker": 0.80, "mouthFunnel": 0.42},
}
"""The mouth of each viseme, as ARKit weights, if it were held."""

_STRENGTHS = np.array([
    # sil   PP    FF    TH    DD    kk    CH    SS    nn    RR    aa    E     ih    oh    ou
    [0.60, 1.10, 1.10, 0.80, 0.80, 0.55, 0.95, 1.30, 0.80, 0.80, 1.20, 1.00, 0.80, 1.00, 0.90],
    [0.40, 0.25, 0.25, 0.20, 0.20, 0.15, 1.10, 0.50, 0.20, 0.80, 0.50, 0.60, 0.70, 1.30, 1.60],
    [0.50, 3.50, 2.50, 0.80, 0.70, 0.40, 0.90, 0.90, 0.60, 0.60, 0.80, 0.80, 0.80, 0.80, 0.90],
])  # fmt: skip
"""How firmly each viseme claims the jaw, the rounding and spreading of the lips, and the rest
of the lips.
"""

_HALF_LIVES_MS = np.array([
    [72, 36, 40, 40, 40, 48, 48, 44, 40, 48, 64, 60, 52, 60, 56],
    [110, 60, 60, 60, 60, 60, 90, 70, 60, 90, 80, 80, 80, 110, 130],
    [70, 30, 32, 40, 40, 45, 45, 45, 40, 45, 55, 55, 50, 55, 55],
])  # fmt: skip
_PAST_FRAMES = 32
_PAST_LENGTH = 0.30
_CONTRAST = 1.5
"""Posteriors of an unsure network (mean top .55) are raised to this power, or the mouth would
stay in the average.
"""

_JAW_QUIET, _JAW_LOUD, _JAW_BASE, _JAW_SLOPE = 0.50, 0.99, 0.65, 0.36
"""Loud syllables open the jaw further, quiet ones less; not by much: people's openings hardly
follow their loudness.
"""
_JAW_KNEE, _KNEE_BENDS = 0.78, 4
"""However much is asked of the jaw, it comes nearer and nearer to this and never stays at a
limit; more looks dislocated on a face that smiles. The higher the power, the longer it goes as
far as it is asked.
"""
_SPEAKS_PARTED = 0.05
"""Lips that speak and do not meet stay apart by about this weight of the jaw: people's are
hardly ever seen shut at s, d or n.
"""
_REACH_QUANTILE, _USUAL_REACH, _REACH_STEP = 0.90, 0.36, 0.004
"""The widest tenth of a voice's frames usually opens the jaw this far before loudness; how fast
it is learnt, per frame.
"""
_CORNERS_PER_JAW = 0.80
"""Corners go out and up as the mouth opens, by this weight per weight of jaw (the jaw alone
draws them in and down): people's opening and width correlate by .6.
"""
_MOST_GAIN, _EMPHASIS_GAIN, _EMPHASIS_FRAMES, _USUAL_EMPHASIS = 1.45, 0.40, 40.0, 0.25
"""Stress opens the jaw further over a phrase, not in each of its frames."""
_CLOSING, _CLOSED = 0.47, 0.62
_BITING, _BITTEN_BY = 0.35, 0.50
"""Probabilities at which a contact begins and is complete."""
_PARTED: Mapping[str, float] = {"jawOpen": 0.045, "mouthLowerDown": 0.12, "mouthUpperUp": 0.06}
_PARTED_FRAMES, _PARTED_EASES_FRAMES, _PARTED_AFTER_FRAMES, _PARTED_WELL = 60, 25, 40, 0.9
"""The mouth of a short pause, as people's: a little open, unless it shut for the last sound;
for so long, then it shuts, over so many frames. Only a voice that spoke as long as the third
leaves it so, not a noise; a mouth that is parted by less than the fourth shuts sooner.
"""
_SOUNDS = 0.5
"""Probability of silence below which a frame is of a sound."""
_BITE_LEAVES_FUNNEL = 0.4
_BLOCK_FRAMES = 32
"""So many are worked out at a time: what that takes fits in a processor's cache."""


def _kernels() -> NDArray[np.float64]:
    """a K / sqrt(h) as [3 groups, history, 15]; the history runs from the oldest frame to
    LOOKAHEAD_FRAMES ahead.
    """
    ms = np.arange(-_PAST_FRAMES, LOOKAHEAD_FRAMES + 1)[None, :, None] * 10.0
    scale = _HALF_LIVES_MS[:, None, :] * np.where(ms < 0, _PAST_LENGTH, 1.0)
    shape = 0.5 * np.exp(-0.5 * (ms / (0.85 * scale)) ** 2) + 0.5 * np.exp2(-np.abs(ms) / scale)
    strength = _STRENGTHS / np.sqrt(_HALF_LIVES_MS)
    return np.asarray(strength[:, None, :] * shape)


def _target(viseme: str) -> NDArray[np.float64]:
    return _target_of(_TARGETS[viseme])


def _target_of(weights: Mapping[str, float]) -> NDArray[np.float64]:
    target = np.zeros(_CHANNELS)
    for name, weight in weights.items():
        target[_channels(name)] = weight
    return target


def _targets() -> NDArray[np.float64]:
    """[3 groups, 15, 53], zero for channels of other groups."""
    targets = np.stack([_target(viseme) for viseme in VISEMES])
    group = np.full(_CHANNELS, 2)
    group[_JAW], group[_ROUNDING] = 0, 1
    return np.stack([np.where(group == g, targets, 0) for g in range(3)])


_KERNELS = _kernels()
_TARGETS_BY_GROUP = _targets().reshape(3 * len(VISEMES), _CHANNELS)
_PRESSED, _BITTEN = _target("PP"), _target("FF")
_AJAR = _target_of(_PARTED)
_MEETING = [VISEMES.index(viseme) for viseme in ("sil", "PP", "FF")]
_AT_REST = np.eye(1, len(VISEMES))
_PRESSING = np.flatnonzero(_PRESSED)
_LIPS = [place for place in range(_CHANNELS) if place not in {*_ROUNDING, *_JAW, *_SHUTTING}]


@dataclass(frozen=True, slots=True)
class MouthCurves:
    """n consecutive frames of 10 ms, the first of which is frame `first` of the utterance.

    curves: float32 [n, 52] ARKit weights, only jaw and mouth units non-zero, all exactly zero
        at rest.
    tongue: float32 [n], 0 (down) .. 1 (tip at the upper teeth).
    loudness, emphasis: float32 [n], 0 .. 1.
    """

    first: int
    curves: NDArray[np.float32]
    tongue: NDArray[np.float32]
    loudness: NDArray[np.float32]
    emphasis: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.curves)


class Coarticulation:
    """The mouth of one utterance.

    closure_reach: frames by which a closure is held, 1 or 2; half a video frame, so that none
    is lost between two. expressiveness: scale of all but closures, 0.5 ..
    1.5. Works frame by frame: the pieces do not change a bit.
    """

    def __init__(self, closure_reach: int, expressiveness: float) -> None:
        self._expressiveness = expressiveness
        self._history = np.repeat(_AT_REST, _PAST_FRAMES + 1 + LOOKAHEAD_FRAMES, axis=0)
        self._lips, self._bite = (
            Contact(_CLOSING, _CLOSED, closure_reach),
            Contact(_BITING, _BITTEN_BY, closure_reach),
        )
        self._prosody = Prosody()
        self._reach = RunningQuantile(_REACH_QUANTILE, _USUAL_REACH, _REACH_STEP)
        self._unsettled = LOOKAHEAD_FRAMES
        self._jaw = Jaw()
        self._stressed = 0.0
        self._ajar, self._paused, self._presence = 0.0, 0, 0.0

    def push(self, frames: ArticulationFrames) -> MouthCurves:
        """The curves that these frames settle: of frames first - 3 .. first + n - 4, from frame
        0 on.
        """
        n = len(frames)
        channels = np.empty((n, _CHANNELS), np.float32)
        melody = np.empty((n, 2), np.float32)
        visemes = frames.visemes.astype(np.float64)
        dominance = self._dominance(visemes)
        for t in range(n):
            prosody = self._prosody.push(
                float(frames.voice[t]),
                float(visemes[t, 0]),
                float(frames.level_dbfs[t]),
                bool(frames.known[t]),
            )
            closed, bitten = (
                self._lips.push(float(frames.closed[t])),
                self._bite.push(float(frames.labiodental[t])),
            )
            channels[t] = self._shape(dominance[t], prosody, closed, bitten, visemes[t, 0] < _SOUNDS)
            melody[t] = prosody.loudness, prosody.emphasis
        early = min(self._unsettled, n)
        self._unsettled -= early
        channels, melody = channels[early:], melody[early:]
        first = frames.first + early - LOOKAHEAD_FRAMES
        return MouthCurves(first, channels[:, :_TONGUE], channels[:, _TONGUE], melody[:, 0], melody[:, 1])

    def _dominance(self, visemes: NDArray[np.float64]) -> NDArray[np.float64]:
        """What share each viseme [n, 15] has in each group of curves, [n, 3, 15], in the frames
        LOOKAHEAD_FRAMES before these.

        Many at a time: of each frame the same products are added up in the same order.
        """
        contrasted = visemes**_CONTRAST
        contrasted /= contrasted.sum(axis=1, keepdims=True)
        heard = np.concatenate([self._history, contrasted])
        self._history = heard[len(heard) - len(self._history) :]
        around = np.lib.stride_tricks.sliding_window_view(heard, len(self._history), axis=0)[1:]
        dominance = np.empty((len(visemes), *_STRENGTHS.shape))
        for start in range(0, len(visemes), _BLOCK_FRAMES):
            block = around[start : start + _BLOCK_FRAMES].transpose(0, 2, 1)[:, None]
            dominance[start : start + _BLOCK_FRAMES] = (_KERNELS * block).sum(axis=2)
        dominance /= dominance.sum(axis=2, keepdims=True)
        return dominance

    def _shape(
        self,
        dominance: NDArray[np.float64],
        prosody: ProsodyFrame,
        closed: float,
        bitten: float,
        sounds: bool,
    ) -> NDArray[np.float64]:
        """All channels [53] of the frame LOOKAHEAD_FRAMES before this one."""
        self._stressed += (prosody.emphasis - self._stressed) / _EMPHASIS_FRAMES
        ajar = self._rest(prosody.presence, closed, sounds)
        if prosody.presence == 0 and ajar == 0:
            self._jaw = Jaw()
            return np.zeros(_CHANNELS)
        channels: NDArray[np.float64] = dominance.reshape(-1) @ _TARGETS_BY_GROUP
        loud = min(_JAW_LOUD, max(_JAW_QUIET, _JAW_BASE + _JAW_SLOPE * prosody.relative_level))
        asked = loud * self._liveliness(float(channels[_JAW[0]]), prosody) * float(channels[_JAW[0]])
        channels[:_TONGUE] *= self._expressiveness
        channels *= prosody.presence
        channels += ajar * _AJAR
        parted = _SPEAKS_PARTED * (1 - float(dominance[0, _MEETING].sum()))
        asked = _kneed(math.hypot(asked, parted) * self._expressiveness) * prosody.presence
        opened = self._jaw.push(asked + ajar * _AJAR[_JAW[0]], closed, bitten)
        channels[_JAW], channels[_SHUTTING] = opened.jaw, opened.close
        channels[_LIFTS] += _LIFTED * opened.lift
        channels[_CORNERS] += _CORNERS_PER_JAW * opened.opening
        return np.minimum(_close(_bite(channels, bitten), closed), 1)

    def _rest(self, presence: float, closed: float, sounds: bool) -> float:
        """How far the mouth is as in a short pause, 0..1."""
        if presence == 1:
            self._paused = 0
            self._ajar = min(1 - closed, self._ajar + sounds / _PARTED_AFTER_FRAMES)
        elif presence < self._presence or presence == 0:
            self._paused += 1
        self._presence = presence
        lasts = _PARTED_FRAMES * min(1.0, self._ajar / _PARTED_WELL)
        left = min(1.0, max(0.0, 1 - (self._paused - lasts) / _PARTED_EASES_FRAMES))
        if left == 0:
            self._ajar = 0.0
        return self._ajar * (1 - presence) * left * left * (3 - 2 * left)

    def _liveliness(self, jaw: float, prosody: ProsodyFrame) -> float:
        """Gain of the jaw: on stressed syllables, and for voices of which the network is so
        unsure that their vowels stay small.
        """
        if prosody.presence == 1:
            self._reach.push(jaw)
        unsure = min(_MOST_GAIN, max(1.0, _USUAL_REACH / max(self._reach.value, 1e-3)))
        return unsure * (1 + _EMPHASIS_GAIN * (self._stressed - _USUAL_EMPHASIS))


def _kneed(jaw: float) -> float:
    return jaw / math.pow(1 + (max(jaw, 0.0) / _JAW_KNEE) ** _KNEE_BENDS, 1 / _KNEE_BENDS)


def _bite(channels: NDArray[np.float64], contact: float) -> NDArray[np.float64]:
    bitten = channels.copy()
    bitten[_LIPS] += contact * (_BITTEN - channels)[_LIPS]
    bitten[UNIT["mouthFunnel"]] *= 1 - contact * (1 - _BITE_LEAVES_FUNNEL)
    return bitten


def _close(channels: NDArray[np.float64], contact: float) -> NDArray[np.float64]:
    closed = channels.copy()
    closed[_PARTING] *= 1 - contact
    closed[_PRESSING] += contact * (_PRESSED - channels)[_PRESSING]
    return closed
