"""A person is found in the generator: first the styles that look most like the photo, then the
generator itself, tuned until the picture is the photo's (Roich et al. 2021, "pivotal tuning").

Both loops are written so that they can stop after any step: what they save is all that the rest
depends on. Whoever continues comes to the same bytes.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from personare.cache.checkpoint import Workspace
from personare.engines.nerffacespeech.networks.generator import Generator
from personare.ground.progress import Steps

Features = Callable[[Tensor], Tensor]
"""Pictures [1, 3, H, W] become vectors [1, n] whose squared distance says how they differ."""
Show = Callable[[str, Tensor], None]

STYLE_SEED, STYLE_SAMPLES = 123, 600
PROJECTION_RATE, TUNING_RATE = 0.01, 3e-4
SEEN_PX = 256
"""Side of the pictures that are compared in the projection."""
ALIKE = 0.06
"""LPIPS at which tuning ends."""
SHOW_EVERY = 50


@dataclass(frozen=True, slots=True)
class Found:
    """What the projection found: w [w], z [z] of the background, and the loss of each step."""

    w: NDArray[np.float32]
    z: NDArray[np.float32]
    losses: list[float]


def style_statistics(generator: Generator) -> tuple[Tensor, float]:
    """The middle of the styles [1, w], and how far they spread."""
    config = generator.config
    z = np.random.RandomState(STYLE_SEED).randn(STYLE_SAMPLES, config.z).astype(np.float32)
    with torch.no_grad():
        styles = generator.mapping(torch.from_numpy(z).to(generator.mapping.w_avg))
        middle = styles.mean(0, keepdim=True)
        spread = math.sqrt(float((styles - middle).square().sum()) / STYLE_SAMPLES)
    return middle, spread


def projection_rate(part: float) -> float:
    """Learning rate after a part, 0 to 1, of the projection."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - part) / 0.25))
    return PROJECTION_RATE * down * min(1.0, part / 0.05)


def noise_scale(part: float, spread: float) -> float:
    """How far styles are moved at random, after a part of the projection."""
    return spread * 0.05 * max(0.0, 1 - part / 0.75) ** 2


def drawn(seed: int, what: str, step: int, width: int) -> Tensor:
    """Standard normal [1, width], the same on all machines, whatever was drawn before."""
    mixed = hashlib.sha256(f"{seed}:{what}:{step}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(mixed[:7], "big"))
    return torch.randn(1, width, generator=generator)


def project(
    generator: Generator,
    camera: Tensor,
    target: Tensor,
    features: Features,
    *,
    steps: int,
    begin: Tensor,
    noise: Callable[[int], Tensor],
    until: int | None = None,
    workspace: Workspace | None = None,
    show: Show | None = None,
) -> Found:
    """The styles and the background that look like a picture.

    camera: [1, 4, 4] that sees the photo. target: [1, 3, S, S], 0 to 255. features: of such
    pictures. steps: that the schedule is made for. begin: of the background's latent [1, z].
    noise: of each step, standard normal [1, w]. until: stop after so many steps.
    """
    workspace = workspace or Workspace()
    middle, spread = style_statistics(generator)
    device = middle.device
    w, z = middle.clone().requires_grad_(), begin.to(device).clone().requires_grad_()
    optimiser = torch.optim.Adam([w, z], lr=PROJECTION_RATE, betas=(0.9, 0.999))
    wanted = features(seen_small(target)).detach()
    first, losses = _resumed(workspace, optimiser, {"w": w, "z": z})
    loop = Steps(workspace.progress, "projection", steps if until is None else until, first)
    for step in loop:
        part = step / steps
        for group in optimiser.param_groups:
            group["lr"] = projection_rate(part)
        moved = w + noise(step).to(device) * noise_scale(part, spread)
        picture = generator.synthesis(generator.styles(moved), z, camera)
        loss = (features(seen_small((picture + 1) * 127.5)) - wanted).square().sum()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
        loop.note(loss=losses[-1])
        _shown(show, "projection", step, picture)
        _kept(workspace, optimiser, {"w": w, "z": z}, losses, step + 1, steps)
    with torch.no_grad():
        return Found(w[0].cpu().numpy().copy(), z[0].detach().cpu().numpy().copy(), losses)


def seen_small(picture: Tensor) -> Tensor:
    """A picture at the size at which it is compared."""
    if picture.shape[-1] <= SEEN_PX:
        return picture
    return functional.interpolate(picture, size=(SEEN_PX, SEEN_PX), mode="area")


@dataclass(frozen=True, slots=True)
class Tuned:
    """A generator that was tuned, and (total, squared, perceptual) loss of each step."""

    generator: Generator
    losses: list[tuple[float, float, float]]

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What became other than it was: all parameters of the synthesis, by name."""
        named = self.generator.synthesis.named_parameters()
        return {name: np.asarray(p.detach().cpu().numpy(), np.float32) for name, p in named}


def tune(
    generator: Generator,
    w: Tensor,
    z: Tensor,
    camera: Tensor,
    target: Tensor,
    distance: Callable[[Tensor], Tensor],
    *,
    steps: int,
    workspace: Workspace | None = None,
    show: Show | None = None,
) -> Tuned:
    """The generator, tuned on one photo; the given one stays as it is. Buffers do not change.

    w: [1, styles, w]. z: [1, z]. target: [1, 3, S, S] in [-1, 1]. distance: of a picture to it,
    perceptually: [1, 3, S, S] -> scalar.
    """
    workspace = workspace or Workspace()
    generator = copy.deepcopy(generator)
    named = dict(generator.synthesis.named_parameters())
    for parameter in named.values():
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(named.values(), lr=TUNING_RATE)
    first, losses = _resumed(workspace, optimiser, named)
    loop = Steps(workspace.progress, "tuning", steps, first)
    for step in loop:
        picture = generator.synthesis(w, z, camera)
        squared, perceptual = functional.mse_loss(picture, target), distance(picture)
        loss = squared + perceptual
        losses.append((loss.item(), squared.item(), perceptual.item()))
        if losses[-1][2] <= ALIKE:
            break
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        loop.note(loss=losses[-1][0], lpips=losses[-1][2])
        _shown(show, "tuning", step, picture)
        _kept(workspace, optimiser, named, losses, step + 1, steps)
    return Tuned(generator.requires_grad_(False), [tuple(row) for row in losses])


def with_tensors(generator: Generator, tensors: Mapping[str, NDArray[Any]]) -> Generator:
    """A generator whose synthesis has these parameters. Raises KeyError, RuntimeError."""
    made = copy.deepcopy(generator)
    own = dict(made.synthesis.named_parameters())
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(np.array(tensors[name], np.float32)).view_as(parameter))
    return made


# ---------------------------------------------------------------- what is kept


def _kept(
    workspace: Workspace,
    optimiser: torch.optim.Adam,
    named: Mapping[str, Tensor],
    losses: list[Any],
    step: int,
    steps: int,
) -> None:
    if not workspace.due():
        return
    arrays: dict[str, NDArray[Any]] = {"losses": np.array(losses, np.float64)}
    for name, parameter in named.items():
        state = optimiser.state[parameter]
        arrays[f"value.{name}"] = parameter.detach().cpu().numpy()
        arrays[f"first.{name}"] = state["exp_avg"].cpu().numpy()
        arrays[f"second.{name}"] = state["exp_avg_sq"].cpu().numpy()
    workspace.save(arrays, step=step, steps=steps)


def _resumed(
    workspace: Workspace, optimiser: torch.optim.Adam, named: Mapping[str, Tensor]
) -> tuple[int, list[Any]]:
    kept = workspace.load()
    if kept is None:
        return 0, []
    with torch.no_grad():
        for name, parameter in named.items():
            parts = [
                torch.from_numpy(kept.arrays[f"{part}.{name}"]).to(parameter).view_as(parameter).clone()
                for part in ("value", "first", "second")
            ]
            parameter.copy_(parts[0])
            optimiser.state[parameter] = {
                "step": torch.tensor(float(kept.step)),
                "exp_avg": parts[1],
                "exp_avg_sq": parts[2],
            }
    return kept.step, kept.arrays["losses"].tolist()


def _shown(show: Show | None, what: str, step: int, picture: Tensor) -> None:
    if show is not None and step % SHOW_EVERY == 0:
        show(what, picture.detach())
