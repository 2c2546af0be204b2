"""What was heard becomes motion: latents [frames, width] at 25 frames a second, sampled 50 at a
time by flow matching.

Each chunk is conditioned on the last frames of the chunk before. Within a chunk, what does not
depend on the time of the flow is embedded once; frames that share a condition share its row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from personare.engines.float.networks.transformer import FlowTransformer

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Guidance:
    """How far the velocity is pushed from that without a voice towards that with it, and on
    towards that with an emotion:

        v = U + audio (A - U) + emotion (E - A)

    with U: no voice, no emotion; A: the voice; E: both (classifier-free guidance, Ho & Salimans
    2022, twice in a row).
    """

    audio: float = 2.0
    emotion: float = 1.0

    def branches(self) -> list[tuple[float, bool, bool]]:
        """(weight, hears the voice, knows the emotion) of every evaluation that counts: at most
        three, often fewer.
        """
        weighed = [
            (1 - self.audio, False, False),
            (self.audio - self.emotion, True, False),
            (self.emotion, True, True),
        ]
        return [branch for branch in weighed if branch[0] != 0]


@dataclass(frozen=True, slots=True)
class Continuation:
    """All that the next chunk needs of those before: latents and voice of the last frames
    [previous, width], and its number.
    """

    motion: Floats
    voice: Floats
    chunk: int = 0


class MotionSampler:
    """One utterance of one person: chunks of voice in, chunks of motion out.

    points: the flow is evaluated at this many times of [0, 1] but the last ("nfe" as
        published): points - 1 Euler steps.
    seed: noise is fresh in every chunk but reproducible, and the same on all devices.
    fixed: every chunk begins with the noise of the first, as published.
    continuation: to go on where another sampler stopped.
    """

    def __init__(
        self,
        network: FlowTransformer,
        reference: Floats,
        emotion: Floats,
        *,
        points: int = 10,
        guidance: Guidance = Guidance(),
        seed: int = 15,
        fixed: bool = False,
        continuation: Continuation | None = None,
    ) -> None:
        import torch

        config = network.config
        self._network = network
        self._weight = network.c_embedder.weight
        self._reference, self._emotion = self._tensor(reference), self._tensor(emotion)
        self._branches = guidance.branches()
        self._seed, self._fixed = seed, fixed
        nothing = np.zeros((config.previous, config.width), np.float32)
        self.continuation = continuation or Continuation(nothing, nothing)
        with torch.inference_mode():
            times = torch.linspace(0, 1, points)
            self._steps = (times[1:] - times[:-1]).tolist()
            self._times = network.time(times[:-1].to(self._weight.device))  # (steps, hidden)

    def noise(self, chunk: int) -> Floats:
        """Where the chunk of this number begins: standard normal float32 [chunk, width]."""
        import torch

        seed = self._seed if self._fixed or chunk == 0 else _mixed(self._seed, chunk)
        generator = torch.Generator("cpu").manual_seed(seed)
        config = self._network.config
        return np.asarray(
            torch.randn(1, config.chunk, config.width, generator=generator)[0].numpy(), np.float32
        )

    def sample(self, voice: Floats, noise: Floats | None = None) -> Floats:
        """The motion [n, width] of the next frames, whose voice is [n, width]. n is a whole
        chunk, but less in the last one.
        """
        import torch

        config, frames = self._network.config, len(voice)
        if not 1 <= frames <= config.chunk:
            raise ValueError(f"a chunk has 1 to {config.chunk} frames, not {frames}")
        # The last chunk is filled up with its last frame.
        filled = np.concatenate([voice, np.repeat(voice[-1:], config.chunk - frames, axis=0)])
        noise = self.noise(self.continuation.chunk) if noise is None else noise
        with torch.inference_mode():
            motion = self._integrated(self._tensor(filled), torch.from_numpy(noise).to(self._weight.device))
            made = np.asarray(motion.cpu().numpy(), np.float32)
        self.continuation = Continuation(
            made[-config.previous :], filled[-config.previous :], self.continuation.chunk + 1
        )
        return made[:frames]

    def chunks(self, voice: Floats) -> Iterator[Floats]:
        """The motion of all frames of a voice [n, width], chunk by chunk, as each is sampled."""
        for first in range(0, len(voice), self._network.config.chunk):
            yield self.sample(voice[first : first + self._network.config.chunk])

    def _integrated(self, voice: Tensor, x: Tensor) -> Tensor:
        import torch

        rows, index = self.conditions(voice)
        before = torch.from_numpy(np.array(self.continuation.motion)).to(x)
        for step, time in zip(self._steps, self._times, strict=True):
            x = x + step * self.velocity(torch.cat([before, x]), rows + time, index, len(x))
        return x

    def velocity(self, latents: Tensor, rows: Tensor, index: Tensor, last: int) -> Tensor:
        """Guided velocity float32 [last, width] of the last frames of latents [previous +
        chunk, width].
        """
        batch = latents.to(self._weight.dtype).expand(len(self._branches), -1, -1)
        made = self._network(batch, rows, index, last).float()
        guided: Tensor = made[0] * self._branches[0][0]
        for branch, (weight, _, _) in zip(made[1:], self._branches[1:], strict=True):
            guided = guided + branch * weight
        return guided

    def conditions(self, voice: Tensor) -> tuple[Tensor, Tensor]:
        """Distinct conditions [n, hidden] and which of them each frame of each branch has [B,
        previous + chunk].

        The voice of context frames is heard in every branch; new frames without a voice are all
        alike.
        """
        import torch

        config = self._network.config
        before, silence = self._tensor(self.continuation.voice), torch.zeros_like(voice[:1])
        parts: dict[tuple[str, bool], tuple[int, int]] = {}
        rows: list[Tensor] = []

        def place(which: str, audio: Tensor, knows: bool, frames: int) -> Tensor:
            if (which, knows) not in parts:
                emotion = self._emotion if knows else torch.zeros_like(self._emotion)
                parts[which, knows] = (sum(map(len, rows)), len(audio))
                rows.append(self._network.condition(self._reference, audio, emotion))
            first, count = parts[which, knows]
            return (
                torch.arange(first, first + count).expand(frames)
                if count == 1
                else torch.arange(first, first + count)
            )

        index = []
        for _, hears, knows in self._branches:
            new = (
                place("voice", voice, knows, config.chunk)
                if hears
                else place("silence", silence, knows, config.chunk)
            )
            index.append(torch.cat([place("before", before, knows, config.previous), new]))
        return torch.cat(rows), torch.stack(index).to(voice.device)

    def _tensor(self, array: Floats) -> Tensor:
        import torch

        return torch.from_numpy(np.array(array, np.float32)).to(self._weight)


def _mixed(seed: int, chunk: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{chunk}".encode()).digest()[:7], "big")
