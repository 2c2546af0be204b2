"""Steps of the noise level, and how a sample goes from one to the next (SPEC d.5, e.7).

`euler` is what MimicMotion was released with. `align_your_steps` takes Nvidia's levels for the
same network, `lcm` samples as AnimateLCM-SVD does. All share one noise model: at noise level s,
x0 = x / (s^2 + 1) - s / sqrt(s^2 + 1) * v.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Scheduler = Literal["euler", "lcm", "align_your_steps"]

HIGHEST, LOWEST, RHO = 700.0, 0.002, 7.0
LCM_TRAINED_STEPS = 40
_ALIGNED = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Noise levels float32 [steps + 1], falling to 0, and the networks' times float32 [steps]."""

    kind: Scheduler
    sigmas: Tensor
    timesteps: Tensor

    @property
    def steps(self) -> int:
        return len(self.timesteps)

    @property
    def first_scale(self) -> float:
        """What noise of variance 1 is multiplied with to be the first sample."""
        return float((self.sigmas[0] ** 2 + 1) ** 0.5)

    def scaled(self, sample: Tensor, step: int) -> Tensor:
        """The sample as the network sees it."""
        return sample / ((self.sigmas[step] ** 2 + 1) ** 0.5)

    def next(self, sample: Tensor, v: Tensor, step: int, generator: torch.Generator | None = None) -> Tensor:
        """The sample after a step, in float32. generator: of the noise that `lcm` adds."""
        import torch

        sigma, following = self.sigmas[step], self.sigmas[step + 1]
        x, v = sample.float(), v.float()
        clean = v * (-sigma / (sigma**2 + 1) ** 0.5) + x / (sigma**2 + 1)
        if self.kind == "lcm":
            if self.steps == 1:
                return clean
            noise = torch.randn(sample.shape, generator=generator, dtype=torch.float32)
            return clean + noise.to(sample.device) * following
        return x + (x - clean) / sigma * (following - sigma)


def make_schedule(kind: Scheduler, steps: int) -> Schedule:
    """The levels of a sampler. euler: diffusers' EulerDiscreteScheduler with the released
    settings.
    """
    import torch

    if kind == "euler":
        levels = _karras(np.arange(steps) / max(1, steps - 1))
    elif kind == "lcm":
        levels = _karras(np.arange(steps) * (LCM_TRAINED_STEPS // steps) / (LCM_TRAINED_STEPS - 1))
    else:
        places = np.linspace(0, 1, steps + 1)
        logs = np.interp(places, np.linspace(0, 1, len(_ALIGNED)), np.log(_ALIGNED))
        levels = np.exp(logs)[:-1]
    sigmas = torch.from_numpy(np.append(levels, 0.0).astype(np.float32))
    times = torch.from_numpy((0.25 * np.log(levels)).astype(np.float32))
    return Schedule(kind, sigmas, times)


def _karras(ramp: np.ndarray) -> np.ndarray:
    """Levels of Karras et al. (2022) at places 0 .. 1, float64."""
    high, low = HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO)
    return np.asarray((high + ramp * (low - high)) ** RHO)
