"""What a mouth does to make the sound that is heard: speech in pieces of any size, viseme
posteriors at 100 Hz out.

A causal network (0.8 M parameters, trained by tools/articulation on synthetic and real speech
in twelve languages) runs on onnxruntime with its state kept outside. It answers for a frame
after hearing 80 ms more; it hears sounds, not words, in any language.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError, WeightsMismatch, WeightsMissing
from personare.ground.onnx import Session, open_session
from personare.types import Samples
from personare.voice.features import (
    MELS,
    SAMPLES_AFTER,
    SILENT_INPUT,
    MelStream,
    RunningLevel,
    level_dbfs,
    network_input,
)
from personare.voice.visemes import FRAME_SAMPLES, VISEMES
from personare.weights.resident import Lease, NetworkKey, lease

NETWORK = Path(__file__).parent / "networks" / "articulation.onnx"
NETWORK_SHA256 = NETWORK.with_name("SHA256SUMS").read_text(encoding="utf-8").split()[0]

CLOSED, LABIODENTAL, ROUNDED, OPEN, VOICE = range(len(VISEMES), len(VISEMES) + 5)
"""Columns of the flags in the network's output, after the visemes."""

OUTPUTS = len(VISEMES) + 5

_LOOKAHEAD_FRAMES = 8
_PRIMING_FRAMES = 96
"""The network remembers 91 frames."""

_BLOCK_FRAMES = 32
"""Frames that one call of the network hears at most. From 2 to so many, how many they are does
not change a bit: onnxruntime adds up each frame's products in one order. With 1 it takes
another way, with more than 32 it cuts the sums in two.
"""

LOOKAHEAD_SAMPLES = _LOOKAHEAD_FRAMES * FRAME_SAMPLES + SAMPLES_AFTER
"""Frame t, which covers [160 t, 160 (t + 1)), is settled once the samples before 160 t +
LOOKAHEAD_SAMPLES are known (97.5 ms).
"""


@dataclass(frozen=True, slots=True)
class ArticulationFrames:
    """n consecutive frames of 10 ms, the first of which is frame `first` of the utterance.

    probabilities: float32 [n, 20], 15 visemes that sum to 1 and five flags that do not.
    level_dbfs: float32 [n], speech-weighted level. known: bool [n], true where phones say what
    is spoken and nobody had to listen.
    """

    first: int
    probabilities: NDArray[np.float32]
    level_dbfs: NDArray[np.float32]
    known: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, part: slice) -> ArticulationFrames:
        begin = range(len(self))[part].start
        return ArticulationFrames(
            self.first + begin, self.probabilities[part], self.level_dbfs[part], self.known[part]
        )

    @property
    def visemes(self) -> NDArray[np.float32]:
        """[n, 15], in the order of VISEMES."""
        return self.probabilities[:, : len(VISEMES)]

    @property
    def closed(self) -> NDArray[np.float32]:
        """[n]: the lips meet."""
        return self.probabilities[:, CLOSED]

    @property
    def labiodental(self) -> NDArray[np.float32]:
        """[n]: the lower lip is at the upper teeth."""
        return self.probabilities[:, LABIODENTAL]

    @property
    def rounded(self) -> NDArray[np.float32]:
        """[n]: the lips are rounded."""
        return self.probabilities[:, ROUNDED]

    @property
    def open(self) -> NDArray[np.float32]:
        """[n]: the mouth is open."""
        return self.probabilities[:, OPEN]

    @property
    def voice(self) -> NDArray[np.float32]:
        """[n]: speech, rather than pause or noise."""
        return self.probabilities[:, VOICE]


class ArticulationStream:
    """The articulation of one utterance.

    The pieces in which speech arrives do not change a bit. Streams share one network and may
    run in different threads; a stream belongs to one.
    """

    def __init__(self) -> None:
        self._listener = _Listener(*_primed())
        self._mel = MelStream()
        self._running_level = RunningLevel()
        self._levels_dbfs = np.empty(0, np.float32)
        self._samples = 0
        self._settled = 0
        self._unanswered = _LOOKAHEAD_FRAMES
        self._finished = False

    def push(self, samples: Samples) -> ArticulationFrames:
        """All frames that are settled by now and were not returned before. samples: float32
        [n], any n >= 0.
        """
        if self._finished:
            raise EngineError("this articulation stream is finished; open a new one for the next utterance")
        self._samples += len(samples)
        return self._hear(samples)

    def finish(self) -> ArticulationFrames:
        """The remaining frames, as if silence followed: over the utterance, ceil(samples / 160)
        of them.
        """
        remaining = math.ceil(self._samples / FRAME_SAMPLES) - self._settled
        self._finished = True
        frames = self._hear(np.zeros(remaining * FRAME_SAMPLES + LOOKAHEAD_SAMPLES, np.float32))
        return frames[:remaining]

    def _hear(self, samples: Samples) -> ArticulationFrames:
        power = self._mel.push(samples)
        mean_power = power.mean(axis=1).tolist()
        levels = np.array([self._running_level.push(mean) for mean in mean_power], np.float32)
        inputs = network_input(power, levels[:, None])
        levels_dbfs = np.array([level_dbfs(mean) for mean in mean_power], np.float32)
        answers = self._listener.hear(inputs)[min(self._unanswered, len(power)) :]
        self._unanswered = max(0, self._unanswered - len(power))
        self._levels_dbfs = np.concatenate([self._levels_dbfs, levels_dbfs])
        first, n = self._settled, len(answers)
        self._settled += n
        frames = ArticulationFrames(first, answers, self._levels_dbfs[:n], known=np.zeros(n, np.bool_))
        self._levels_dbfs = self._levels_dbfs[n:].copy()
        return frames


class _Listener:
    """The network and what it remembers, for any number of frames at a time.

    A frame that comes alone is heard beside itself, and once more with the one that follows:
    never alone, which would be other arithmetic.
    """

    def __init__(self, network: Session, state: NDArray[np.float32]) -> None:
        """state: float32 [1, n], before the first frame."""
        self.state = state
        self._network = network
        self._alone = np.empty((0, MELS), np.float32)

    def hear(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The answers float32 [n, 20] to `network_input`s float32 [n, 40]."""
        answers = np.empty((len(self._alone) + len(inputs), OUTPUTS), np.float32)
        heard = len(self._alone)
        inputs, self._alone = np.concatenate([self._alone, inputs]), self._alone[:0]
        for start in range(0, len(inputs), _BLOCK_FRAMES):
            block = inputs[start : start + _BLOCK_FRAMES]
            if len(block) > 1:
                answers[start : start + len(block)], self.state = self._run(block)
            else:
                self._alone = block.copy()
                answers[start] = self._run(block.repeat(2, axis=0))[0][0]
        return answers[heard:]

    def _run(self, block: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        near, state = self._network.run(["near", "state_out"], {"x": block[None], "state": self.state})
        return near[0], state


@cache
def _network() -> Lease[Session]:
    """Never given back: every voice needs it."""
    key = NetworkKey((NETWORK_SHA256,), "voice/articulation")
    return lease(key, lambda: open_network(NETWORK, NETWORK_SHA256), lambda _: NETWORK.stat().st_size)


@cache
def _primed() -> tuple[Session, NDArray[np.float32]]:
    """The network, and its state after listening to silence: the zero state does not look like
    silence to it.
    """
    listener = _Listener(network := _network().network, np.zeros(network.get_inputs()[1].shape, np.float32))
    listener.hear(np.full((_PRIMING_FRAMES, MELS), SILENT_INPUT, np.float32))
    listener.state.setflags(write=False)
    return network, listener.state


def open_network(path: Path, sha256: str) -> Session:
    """An onnxruntime session of a verified file.

    Raises WeightsMissing if there is no such file, WeightsMismatch if it is not the one with
    this checksum.
    """
    reinstall = "reinstall personare: this file is part of the package"
    try:
        network = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(
            f"cannot read the articulation network {path}: {error.strerror}", reinstall
        ) from error
    if hashlib.sha256(network).hexdigest() != sha256:
        raise WeightsMismatch(f"{path} is damaged: its sha256 is not {sha256[:12]}…", reinstall)
    return open_session(network)
