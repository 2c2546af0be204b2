"""The person in the generator: looked for, taken over from the published program, or made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import StageInputs
from personare.engines.nerffacespeech import taken_over
from personare.engines.nerffacespeech.stages import (
    ALIGNED,
    POSE,
    PROJECTION,
    Wanted,
)
from personare.types import Feature

if TYPE_CHECKING:
    from torch import Tensor


Floats = NDArray[np.float32]

TRUNCATION = 0.7
"""Of a person that is made up."""


def projection(wanted: Wanted, inputs: StageInputs) -> Feature:
    import torch

    from personare.engines.nerffacespeech.inversion import drawn, project

    target, camera = _target(wanted, inputs)
    steps, seed = int(inputs.parameters["steps"]), int(inputs.parameters["seed"])
    with wanted.networks.generator() as generator, wanted.networks.likeness("vgg") as vgg:
        config = generator.config
        found = project(
            generator,
            camera,
            (target + 1) / 2 * 255,
            lambda pictures: vgg(pictures / 127.5 - 1),
            steps=steps,
            begin=drawn(seed, "background", 0, config.z_background),
            noise=lambda step: drawn(seed, "style", step, config.w),
            workspace=inputs.workspace,
            show=_shows(inputs),
        )
        styles = generator.styles(torch.from_numpy(found.w)[None])[0].numpy().copy()
    return Feature({"w": styles, "z": found.z, "losses": np.array(found.losses, np.float32)})


def tuning(wanted: Wanted, inputs: StageInputs) -> Feature:
    import torch

    from personare.engines.nerffacespeech.inversion import tune

    target, camera = _target(wanted, inputs)
    steps = int(inputs.parameters["steps"])
    with wanted.networks.generator() as generator, wanted.networks.likeness("alex") as alex:
        w, z = latents(wanted, inputs)
        with torch.no_grad():
            features = alex(target)
        tuned = tune(
            generator,
            w,
            z,
            camera,
            target,
            lambda picture: (alex(picture) - features).square().sum(),
            steps=steps,
            workspace=inputs.workspace,
            show=_shows(inputs),
        )
    losses = np.array(tuned.losses, np.float32).reshape(-1, 3)
    return Feature({**tuned.tensors, "losses": losses})


def _target(wanted: Wanted, inputs: StageInputs) -> tuple[Tensor, Tensor]:
    """The photo [1, 3, S, S] in [-1, 1], and the camera [1, 4, 4] that sees it."""
    import torch

    picture = torch.from_numpy(np.array(inputs.features[ALIGNED].arrays["picture"]))
    target = picture.permute(2, 0, 1)[None].float() / 255 * 2 - 1
    camera = torch.from_numpy(np.array(inputs.features[POSE].arrays["camera"]))[None]
    return target.to(wanted.networks.device), camera.to(wanted.networks.device)


def latents(wanted: Wanted, inputs: StageInputs) -> tuple[Tensor, Tensor]:
    import torch

    arrays = inputs.features[PROJECTION].arrays
    w, z = (torch.from_numpy(np.array(arrays[name]))[None].to(wanted.networks.device) for name in "wz")
    return w, z


def _shows(inputs: StageInputs) -> Callable[[str, Tensor], None]:
    from personare.engines.nerffacespeech.render import to_bytes

    return lambda what, pictures: inputs.show(what, to_bytes(pictures)[0])


def taken_styles(wanted: Wanted, folder: Path, inputs: StageInputs) -> Feature:  # noqa: ARG001
    with wanted.networks.generator() as generator:
        held = taken_over.read(folder, generator.config)
    facts = {"remark": taken_over.NOT_KNOWN}
    return Feature({"w": held.w.copy(), "z": held.z.copy(), "losses": np.zeros(0, np.float32)}, facts)


def taken_generator(wanted: Wanted, folder: Path, inputs: StageInputs) -> Feature:  # noqa: ARG001
    with wanted.networks.generator() as generator:
        held = taken_over.read(folder, generator.config)
    return Feature({**held.tensors, "losses": np.zeros((0, 3), np.float32)})


def taken_fit(wanted: Wanted, folder: Path, inputs: StageInputs) -> Feature:  # noqa: ARG001
    with wanted.networks.generator() as generator:
        held = taken_over.read(folder, generator.config)
    return Feature({"coefficients": held.coefficients, "landmarks": np.zeros((68, 2), np.float32)})


def drawn_styles(wanted: Wanted, inputs: StageInputs) -> Feature:
    """The published law of the camera is not known: normal about the middle of the generator's
    ranges, their half widths one standard deviation.
    """
    import torch

    from personare.engines.nerffacespeech.inversion import drawn
    from personare.engines.nerffacespeech.networks.rays import camera_at, middle_of

    seed = int(inputs.parameters["seed"])
    with wanted.networks.generator() as generator, torch.inference_mode():
        config, device = generator.config, wanted.networks.device
        z = torch.from_numpy(np.random.RandomState(seed).randn(1, config.z).astype(np.float32))
        w = generator.styles(generator.mapping(z.to(device), TRUNCATION))[0].cpu().numpy()
        (u, u_half), (v, v_half) = middle_of(config.range_u), middle_of(config.range_v)
        turn, tip = drawn(seed, "camera", 0, 2)[0].tolist()
        camera = camera_at(u + u_half * turn, v + v_half * tip, config.radius)[0].numpy()
        background = drawn(seed, "background", 0, config.z_background)[0].numpy()
    arrays = {"w": w.copy(), "z": background.copy(), "losses": np.zeros(0, np.float32), "camera": camera}
    return Feature(arrays)
