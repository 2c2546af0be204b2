"""The face model is fitted to a picture: first how the head is held, by landmarks alone; then
identity, expression, colours and light as well, by the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from personare.cache.checkpoint import Workspace
from personare.engines.nerffacespeech.face_model import PICTURE_PX, FaceModel
from personare.engines.nerffacespeech.networks.config import (
    ANGLES,
    COEFFICIENTS,
    EXPRESSION,
    IDENTITY,
    LIGHT,
    PLACE,
    TEXTURE,
)
from personare.engines.nerffacespeech.shading import TorchFace
from personare.ground.progress import Steps

RATE = 0.01
LANDMARK_WEIGHT, IDENTITY_WEIGHT, EXPRESSION_WEIGHT, TEXTURE_WEIGHT = 100.0, 1e-3, 0.8e-3, 1.7e-6
REFLECTANCE_WEIGHT, PHOTO_WEIGHT = 1.0, 1.6
_PARTS = (ANGLES, PLACE, IDENTITY, EXPRESSION, LIGHT, TEXTURE)
"""Of the coefficients, each a parameter of its own: those of the pose first."""


def landmark_weights() -> NDArray[np.float32]:
    """[68], of sum 1: ten times as much for nose tip and mouth."""
    weights = np.ones(68, np.float32)
    weights[28:31] = weights[48:] = 10
    return np.asarray(weights / weights.sum(), np.float32)


def landmark_loss(found: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """How far landmarks [68, 2] are from where they belong."""
    return (weights * (found - wanted).square().sum(1)).sum() / PICTURE_PX**2


def photo_loss(drawn: Tensor, photo: Tensor) -> Tensor:
    """How far the covered pixels' colours [n, 3], 0 to 255, are from the photo's."""
    squared = (drawn - photo).square().sum(1)
    # The root of 0 has an infinite derivative.
    away = torch.where(squared > 0, torch.sqrt(squared.clamp(min=1e-12)), squared)
    return away.sum() / 255 / max(1, len(drawn))


def reflectance_loss(texture: Tensor, skin: Tensor) -> Tensor:
    """How far the skin [N] is from being of one colour."""
    total = skin.sum()
    middle = (texture * skin[:, None]).sum(0) / total
    return ((texture - middle) * skin[:, None] / 255).square().sum() / total


@dataclass(frozen=True, slots=True)
class Fitted:
    """coefficients: float32 [257]. landmarks: where the face model has them, [68, 2] px of the
    picture of 224. losses: of each step.
    """

    coefficients: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    losses: list[float]


def fit(
    model: FaceModel,
    photo: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    *,
    pose_steps: int,
    steps: int,
    workspace: Workspace | None = None,
    device: torch.device | str = "cpu",
) -> Fitted:
    """The face model's coefficients for a picture.

    photo: uint8 [224, 224, 3]. landmarks: [68, 2] px of it, y down. pose_steps, steps: of the
    two loops.
    """
    workspace = workspace or Workspace()
    face = TorchFace(model, device)
    wanted = torch.from_numpy(landmarks.astype(np.float32)).to(device)
    weights = torch.from_numpy(landmark_weights()).to(device)
    colours = torch.from_numpy(photo.astype(np.float32)).to(device)
    parts = [torch.zeros(part.stop - part.start, device=device, requires_grad=True) for part in _PARTS]
    pose = torch.optim.Adam(parts[:2], lr=RATE)
    whole = torch.optim.Adam(parts, lr=RATE)
    first, losses = _resumed(workspace, parts, (pose, whole), pose_steps)
    loop = Steps(workspace.progress, "fit", pose_steps + steps, first)
    for step in loop:
        optimiser = pose if step < pose_steps else whole
        if step < pose_steps:
            loss = LANDMARK_WEIGHT * landmark_loss(face.mean_landmarks(*parts[:2]), wanted, weights)
        else:
            loss = _whole_loss(face, _joined(parts), wanted, weights, colours)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
        loop.note(loss=losses[-1])
        if workspace.due():
            _save(workspace, parts, optimiser, losses, step + 1, pose_steps + steps)
    with torch.no_grad():
        coefficients = _joined(parts)
        found = face.landmarks(face.mesh(coefficients))
    return Fitted(coefficients.cpu().numpy().copy(), found.cpu().numpy().copy(), losses)


def _whole_loss(
    face: TorchFace, coefficients: Tensor, wanted: Tensor, weights: Tensor, photo: Tensor
) -> Tensor:
    mesh = face.mesh(coefficients)
    drawn, covered = face.drawn(mesh)
    seen = photo[torch.from_numpy(covered).to(photo.device)]
    return (
        LANDMARK_WEIGHT * landmark_loss(face.landmarks(mesh), wanted, weights)
        + IDENTITY_WEIGHT * coefficients[IDENTITY].square().sum()
        + EXPRESSION_WEIGHT * coefficients[EXPRESSION].square().sum()
        + TEXTURE_WEIGHT * coefficients[TEXTURE].square().sum()
        + REFLECTANCE_WEIGHT * reflectance_loss(mesh.texture, face.skin)
        + PHOTO_WEIGHT * photo_loss(drawn, seen)
    )


def _joined(parts: list[Tensor]) -> Tensor:
    """The parts in their places: [257]."""
    order = sorted(range(len(_PARTS)), key=lambda n: _PARTS[n].start)
    joined = torch.cat([parts[n] for n in order])
    assert len(joined) == COEFFICIENTS
    return joined


def _save(
    workspace: Workspace,
    parts: list[Tensor],
    optimiser: torch.optim.Adam,
    losses: list[float],
    step: int,
    steps: int,
) -> None:
    arrays: dict[str, NDArray[np.generic]] = {"losses": np.array(losses, np.float64)}
    for n, part in enumerate(parts):
        arrays[f"value{n}"] = part.detach().cpu().numpy()
        if state := optimiser.state.get(part):
            arrays[f"first{n}"] = state["exp_avg"].cpu().numpy()
            arrays[f"second{n}"] = state["exp_avg_sq"].cpu().numpy()
    workspace.save(arrays, step=step, steps=steps)


def _resumed(
    workspace: Workspace,
    parts: list[Tensor],
    optimisers: tuple[torch.optim.Adam, torch.optim.Adam],
    pose_steps: int,
) -> tuple[int, list[float]]:
    if (kept := workspace.load()) is None:
        return 0, []
    # The second loop begins with fresh moments: those kept belong to the loop that saved them.
    saved_by = optimisers[0] if kept.step <= pose_steps else optimisers[1]
    taken = kept.step if kept.step <= pose_steps else kept.step - pose_steps
    with torch.no_grad():
        for n, part in enumerate(parts):
            part.copy_(torch.from_numpy(np.array(kept.arrays[f"value{n}"])))
            if f"first{n}" in kept.arrays:
                saved_by.state[part] = {
                    "step": torch.tensor(float(taken)),
                    "exp_avg": torch.from_numpy(np.array(kept.arrays[f"first{n}"])).to(part),
                    "exp_avg_sq": torch.from_numpy(np.array(kept.arrays[f"second{n}"])).to(part),
                }
    return kept.step, [float(loss) for loss in kept.arrays["losses"]]
